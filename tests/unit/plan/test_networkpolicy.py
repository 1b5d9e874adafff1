"""The policy of an isolated job: what it says, when it is made, and what stands in its way."""

import pytest

from builders import at, job, running_gang
from ganger.api.observed import Metadata, NetworkPolicy, OwnerReference
from ganger.contract import METRICS_PORT
from ganger.plan import pods
from ganger.plan.decide import decide
from ganger.plan.networkpolicy import network_policy
from ganger.plan.seen import Refusal, Seen
from ganger.plan.site import Site

ISOLATING = Site(isolates=True)
UID = "ganger.dev/job-uid"


def policy(owner="uid-1"):
    """The policy of the job `digits`, or one of that name and another owner."""
    owners = (OwnerReference(uid=owner, controller=True),)
    return NetworkPolicy(metadata=Metadata(name="digits-gang", namespace="team", owner_references=owners))


def made(decision):
    """The kinds of what is made before the pods, and how many pods."""
    return [manifest["kind"] for manifest in decision.shared], len(decision.pods)


def is_selected(selector, labels):
    """What a selector by labels means."""
    return {"matchLabels"} == selector.keys() and selector["matchLabels"].items() <= labels.items()


def test_workers_are_reached_by_each_other_at_every_port_and_by_others_at_that_of_the_metrics():
    spec = network_policy(job())["spec"]
    gang, anybody = spec["ingress"]

    assert ["Ingress"] == spec["policyTypes"]
    assert {"from": [{"podSelector": spec["podSelector"]}]} == gang
    assert {"ports": [{"port": METRICS_PORT, "protocol": "TCP"}]} == anybody


def test_it_selects_every_worker_of_its_job_and_nobody_else():
    digits = job(elastic={"minWorkers": 1, "maxWorkers": 4})
    selector = network_policy(digits)["spec"]["podSelector"]
    worker, probe = pods.pod(digits, 3, 1)["metadata"]["labels"], pods.probe(digits, 3, 0)["metadata"]["labels"]

    assert is_selected(selector, worker)
    assert not is_selected(selector, probe)  # it sleeps, and listens nowhere
    assert not is_selected(selector, worker | {UID: "uid-of-a-namesake"})
    assert not is_selected(selector, {"ganger.dev/job": "digits"})


def test_it_goes_with_its_job():
    (owner,) = network_policy(job())["metadata"]["ownerReferences"]

    assert ("TrainingJob", "uid-1", True) == (owner["kind"], owner["uid"], owner["controller"])


@pytest.mark.parametrize("workers", [1, 2])
def test_it_is_made_in_the_pass_that_makes_the_pods_and_only_where_jobs_are_isolated(workers):
    assert (["NetworkPolicy"], workers) == made(decide(job(workers=workers), Seen(), at(0), site=ISOLATING))
    assert ([], workers) == made(decide(job(workers=workers), Seen(), at(0)))


def test_what_is_there_is_not_made_again():
    assert ([], 2) == made(decide(job(), Seen(policy=policy()), at(0), site=ISOLATING))


def test_a_policy_that_was_deleted_is_made_anew_while_the_gang_runs():
    seen = Seen(pods=running_gang(job()))

    assert "NetworkPolicy" in made(decide(job(), seen, at(9), site=ISOLATING))[0]
    assert "NetworkPolicy" not in made(decide(job(), seen, at(9)))[0]


def test_a_policy_of_another_owner_is_waited_for():
    decision = decide(job(), Seen(policy=policy(owner="uid-0")), at(0), site=ISOLATING)
    condition = decision.status.condition("PodsReady")

    assert ([], 0) == made(decision)
    assert "WaitingForPreviousPolicy" == condition.reason
    assert "NetworkPolicy digits-gang belongs to another owner" in condition.message


def test_a_gang_that_runs_already_is_not_disturbed_by_one():
    """As where jobs are isolated from now on: its next attempt waits."""
    plain = decide(job(), Seen(pods=running_gang(job())), at(9))
    met = decide(job(), Seen(pods=running_gang(job()), policy=policy(owner="uid-0")), at(9), site=ISOLATING)

    assert plain.status == met.status
    assert () == met.deletions


def test_a_policy_that_is_refused_holds_the_gang_back():
    refusal = Refusal(reason="QuotaExceeded", message="exceeded quota: policies")
    decision = decide(job(), Seen(refusal=refusal), at(0), site=ISOLATING)

    assert ([], 0) == made(decision)
    assert "QuotaExceeded" == decision.status.condition("PodsReady").reason
