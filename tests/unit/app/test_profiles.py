"""Profiles in the operator: which one a job gets, whom a change wakes, and what a pass makes of it."""

import json

import pytest

from builders import at, job, with_status
from ganger.api.observed import Metadata
from ganger.api.profile import TrainingProfile, taken
from ganger.api.status import TrainingJobStatus
from ganger.api.types import TrainingJob, decode
from ganger.app.caches import Caches
from ganger.app.reconcile import Reconciler
from ganger.kube.resources import TRAINING_JOBS
from ganger.runtime.cache import Undecodable
from ganger.runtime.silence import NO_METRICS
from ganger.runtime.wire import Codec
from unit.plan.queueing import queued, served

HOME = "ganger-system"


def profile(namespace="team", name="gpu", generation=1, **spec):
    meta = Metadata(name=name, namespace=namespace, uid=f"{namespace}/{name}", generation=generation)
    return TrainingProfile(metadata=meta, spec=spec or {"image": f"{namespace}:v{generation}"})


@pytest.fixture
def caches():
    return Caches(HOME)


def test_a_profile_of_the_jobs_namespace_stands_for_that_of_the_operators(caches):
    caches.profiles.put(profile(HOME))
    a_job = job(profile="gpu")

    assert HOME == caches.profile(a_job).metadata.namespace
    caches.profiles.put(profile("team"))
    assert "team" == caches.profile(a_job).metadata.namespace


def test_a_profile_of_any_other_namespace_is_none(caches):
    caches.profiles.put(profile("other"))
    caches.profiles.put(profile(name="cpu"))

    assert caches.profile(job(profile="gpu")) is None


@pytest.mark.parametrize(
    ("changed", "woken"), [("team", [("team", "waits")]), (HOME, [("team", "waits")]), ("other", [])]
)
def test_a_profile_wakes_the_jobs_that_wait_for_it_and_no_others(caches, changed, woken):
    told = []
    caches.jobs.put(job(name="waits", profile="gpu"))
    caches.jobs.put(job(name="has-none"))
    caches.jobs.put(job(name="names-another", profile="cpu"))
    caches.jobs.put(job(name="suspended", profile="gpu", suspend=True))
    begun = TrainingJobStatus(profile=taken(profile()))
    caches.jobs.put(with_status(job(name="has-begun", profile="gpu"), begun))
    caches.on_change(told.append)
    caches.profiles.put(profile(changed))

    assert woken == told


def test_a_profile_that_was_deleted_wakes_too_and_a_resync_does_not(caches):
    told = []
    caches.jobs.put(job(profile="gpu"))
    caches.profiles.put(profile())
    caches.on_change(told.append)
    caches.profiles.resync(scope="")
    assert [] == told

    caches.profiles.remove(profile().metadata)
    assert [("team", "digits")] == told


def test_the_watch_of_jobs_brings_them_with_the_values_that_they_have_begun_with(caches):
    (reflector,) = [one for one in caches.reflectors(None, (), NO_METRICS) if one.resource == TRAINING_JOBS]
    stored = {
        "metadata": {"name": "digits", "namespace": "team", "resourceVersion": "7"},
        "spec": {"task": "m:t", "profile": "gpu"},
        "status": {"profile": {"name": "gpu", "namespace": "team", "values": {"image": "gpu:v1"}}},
    }

    assert "gpu:v1" == reflector._codec.object(json.dumps(stored).encode()).spec.image


def test_values_that_this_version_cannot_read_make_the_job_undecodable_and_no_crash():
    stored = {
        "metadata": {"name": "digits", "namespace": "team"},
        "spec": {"task": "m:t", "profile": "gpu"},
        "status": {"profile": {"name": "gpu", "namespace": "team", "values": {"image": 7}}},
    }
    found = Codec(TrainingJob, decode).object(json.dumps(stored).encode())

    assert isinstance(found, Undecodable)
    assert "image" in found.error


class World:
    """A reconciler; what it would execute is kept."""

    def __init__(self, caches):
        self.executed = []
        self.caches = caches
        self.reconciler = Reconciler(caches, self, self, self, "default:v1", lambda key: None)

    def now(self):
        return at(60)

    def monotonic(self):
        return 100.0

    async def doubts(self, job_, decision, caches):
        return False

    async def execute(self, job_, decision, memory):
        self.executed.append(decision)

    async def sync(self, job_):
        self.caches.jobs.put(job_)
        await self.reconciler.sync(job_.key)
        return self.executed[-1]


async def test_a_pass_plans_with_the_profile_and_a_later_one_with_what_the_status_keeps(caches):
    world = World(caches)
    caches.profiles.put(profile())
    a_job = job(image=None, profile="gpu")
    first = await world.sync(a_job)
    caches.profiles.put(profile(generation=2))
    stored = {
        "metadata": {"name": "digits", "namespace": "team", "uid": "uid-1"},
        "spec": {"task": "m:t", "workers": 2, "profile": "gpu"},
        "status": {"profile": {"name": "gpu", "namespace": "team", "generation": 1, "values": {"image": "team:v1"}}},
    }
    later = await world.sync(decode(stored))

    images = [{made["spec"]["containers"][0]["image"] for made in one.pods} for one in (first, later)]
    assert [{"team:v1"}, {"team:v1"}] == images


async def test_without_its_profile_a_job_waits_and_asks_nobody(caches):
    decision = await World(caches).sync(job(image=None, profile="gpu"))

    assert () == decision.pods
    assert "WaitingForProfile" == decision.status.condition("PodsReady").reason
    assert f"nor in {HOME}" in decision.status.message


class AQueue:
    """What a queue is asked, with the job as it was then."""

    def __init__(self):
        self.asked = []

    async def seen(self, job_):
        self.asked.append(job_.spec.priority_class_name)
        return served()

    async def write(self, job_, change):
        self.asked.append(change.body["spec"]["podSets"][0]["template"]["spec"]["priorityClassName"])


async def test_a_queue_is_asked_for_the_job_that_the_profile_makes(caches):
    """Its priority is read for the class that the profile names, and its pods are those of the profile."""
    world, queue = World(caches), AQueue()
    world.reconciler = Reconciler(caches, world, world, world, "default:v1", lambda key: None, queues=queue)
    caches.profiles.put(profile(priorityClassName="high"))
    await world.sync(queued(profile="gpu"))

    assert ["high", "high"] == queue.asked


async def test_without_its_profile_a_job_in_a_queue_asks_for_nothing(caches):
    world, queue = World(caches), AQueue()
    world.reconciler = Reconciler(caches, world, world, world, "default:v1", lambda key: None, queues=queue)
    decision = await world.sync(queued(profile="gpu"))

    assert (None, [None]) == (decision.workload, queue.asked)
