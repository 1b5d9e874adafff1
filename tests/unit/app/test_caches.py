import msgspec
import pytest

from builders import job, pod, running_gang, with_status
from ganger.api.observed import Claim, Metadata, NetworkPolicy, Service
from ganger.api.status import TrainingJobStatus
from ganger.app.caches import Caches
from ganger.kube.resources import CLAIMS, PODS, SERVICES, TRAINING_JOBS, TRAINING_PROFILES
from ganger.plan.seen import Refusal
from ganger.runtime.cache import Undecodable
from ganger.runtime.silence import NO_METRICS


@pytest.fixture
def caches():
    return Caches()


def service(name, namespace="team"):
    return Service(metadata=Metadata(name=name, namespace=namespace, uid=f"uid-{name}-{namespace}"))


def policy(name, namespace="team"):
    return NetworkPolicy(metadata=Metadata(name=name, namespace=namespace, uid=f"uid-{name}-{namespace}"))


def claim(name, namespace="team"):
    return Claim(metadata=Metadata(name=name, namespace=namespace, uid=f"uid-{name}-{namespace}"))


def test_a_job_sees_its_own_pods_alone(caches):
    mine, other = job(), job(name="other", uid="uid-2")
    for found in (*running_gang(mine), *running_gang(other)):
        caches.pods.put(found)

    assert {"digits-0-0", "digits-0-1"} == {found.metadata.name for found in caches.seen(mine).pods}


def test_a_job_sees_what_is_of_its_names_in_its_namespace(caches):
    for found in (service("digits-gang"), service("digits-gang", "other"), service("x-gang")):
        caches.services.put(found)
    for found in (claim("digits-checkpoints"), claim("digits-checkpoints", "other")):
        caches.claims.put(found)
    for found in (policy("digits-gang", "other"), policy("digits-gang")):
        caches.policies.put(found)
    seen = caches.seen(job())

    assert ("team", "digits-gang") == (seen.service.metadata.namespace, seen.service.metadata.name)
    assert ("team", "digits-checkpoints") == (seen.claim.metadata.namespace, seen.claim.metadata.name)
    assert ("team", "digits-gang") == (seen.policy.metadata.namespace, seen.policy.metadata.name)


def test_a_job_without_children_sees_nothing(caches):
    seen = caches.seen(job())

    assert ((), None, None, (), None) == (seen.pods, seen.service, seen.claim, seen.squatters, seen.refusal)
    assert seen.policy is None


def test_a_pod_of_a_predecessor_that_holds_a_needed_name_is_a_squatter_and_not_ours(caches):
    caches.pods.put(pod(job(), 1, owner_uid="uid-of-the-job-before"))
    seen = caches.seen(job())

    assert ("digits-0-1",) == seen.squatters
    assert () == seen.pods


def test_only_names_of_the_present_attempt_and_of_wanted_workers_are_needed(caches):
    third = with_status(job(), TrainingJobStatus(attempt=3))
    caches.pods.put(pod(job(), 0, attempt=0, owner_uid="stranger"))
    caches.pods.put(pod(job(), 7, attempt=3, owner_uid="stranger"))

    assert () == caches.seen(third).squatters


def test_a_pod_that_lost_its_owner_reference_is_a_squatter(caches):
    lost = pod(job(), 0)
    caches.pods.put(msgspec.structs.replace(lost, metadata=msgspec.structs.replace(lost.metadata, owner_references=())))

    assert ("digits-0-0",) == caches.seen(job()).squatters


def test_what_a_pass_met_is_added_to_what_is_cached(caches):
    caches.pods.put(pod(job(), 0, owner_uid="stranger"))
    refusal = Refusal(reason="QuotaExceeded", message="m")
    seen = caches.seen(job(), squatters=("digits-0-1",), refusal=refusal)

    assert ("digits-0-0", "digits-0-1") == seen.squatters
    assert refusal is seen.refusal


def test_a_stranger_that_a_pass_met_is_seen_where_no_cache_holds_one(caches):
    stranger = Metadata(name="digits-gang", namespace="team", uid="uid-of-a-stranger")
    assert stranger is caches.seen(job(), stranger_service=stranger).service.metadata
    assert stranger is caches.seen(job(), stranger_claim=stranger).claim.metadata
    assert stranger is caches.seen(job(), stranger_policy=stranger).policy.metadata
    caches.services.put(service("digits-gang"))

    assert stranger is not caches.seen(job(), stranger_service=stranger).service.metadata


@pytest.fixture
def woken(caches):
    keys = []
    caches.on_change(keys.append)
    return keys


def test_a_change_of_a_job_wakes_it(caches, woken):
    caches.jobs.put(job())
    caches.jobs.remove(job().metadata)

    assert [("team", "digits")] * 2 == woken


def test_an_undecodable_job_is_woken_too(caches, woken):
    caches.jobs.put(Undecodable(job().metadata, "Expected `int`, got `str` - at `$.spec.workers`"))

    assert [("team", "digits")] == woken


def test_a_change_of_a_child_wakes_the_job_that_its_label_names(caches, woken):
    # The owner is another job: the end of a predecessor's pod is news for its successor.
    stranger = pod(job(), 0, owner_uid="uid-of-the-job-before")
    caches.pods.put(stranger)
    caches.pods.remove(stranger.metadata)
    labelled = Metadata(name="s", namespace="team", uid="s", labels={"ganger.dev/job": "digits"})
    caches.services.put(Service(metadata=labelled))
    caches.claims.put(Claim(metadata=labelled))
    caches.policies.put(NetworkPolicy(metadata=labelled))

    assert [("team", "digits")] * 5 == woken


def test_a_child_that_names_no_job_wakes_nobody(caches, woken):
    caches.services.put(service("x"))

    assert [] == woken


@pytest.mark.parametrize(
    ("namespaces", "scopes", "of_profiles"), [((), {""}, {""}), (("a", "b"), {"a", "b"}, {"a", "b", "ganger-system"})]
)
def test_each_resource_is_reflected_once_for_each_namespace(namespaces, scopes, of_profiles):
    reflectors = Caches("ganger-system").reflectors(cluster=None, namespaces=namespaces, metrics=NO_METRICS)
    found = [(reflector.resource, reflector.namespace) for reflector in reflectors]

    wanted = {(resource, scope) for resource in (TRAINING_JOBS, PODS, SERVICES, CLAIMS) for scope in scopes}
    wanted |= {(TRAINING_PROFILES, scope) for scope in of_profiles}
    assert wanted == set(found)
    assert len(wanted) == len(found)
