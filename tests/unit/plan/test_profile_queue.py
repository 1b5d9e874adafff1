"""A job with a profile in a queue: it asks for the quota of what it will be, and for none before it knows that."""

import msgspec
import pytest

from builders import at, pod, with_spec, with_status
from ganger.api.observed import Metadata
from ganger.api.profile import TrainingProfile, digest, taken
from ganger.api.types import profiled
from ganger.contract import ANNOTATION_PROFILE
from ganger.plan import lifecycle, profile
from ganger.plan.decide import decide
from ganger.plan.gang import gang
from ganger.plan.quota import Quota
from ganger.plan.seen import Seen
from unit.plan.queueing import queued, served, workload


def version(generation: int, cpu: str = "") -> TrainingProfile:
    """The profile as it is in that generation: each asks for another number of CPUs."""
    meta = Metadata(name="gpu", namespace="team", generation=generation)
    return TrainingProfile(metadata=meta, spec={"resources": {"requests": {"cpu": cpu or str(generation)}}})


def new_job():
    return queued(profile="gpu")


def planned(job_, there, quota=None, pods=()):
    """What a pass decides, and the job as it was then: the values that are due are in it already."""
    reading = profile.read(job_, there, "", pods) if profile.is_wanted(job_) else None
    if reading is not None and reading.taken is not None and reading.is_due:
        job_ = profiled(job_, reading.taken)
    quota = quota(job_) if callable(quota) else quota or served()
    return job_, decide(job_, Seen(pods=pods, quota=quota, profile=reading), at(9))


def stored(job_, decision):
    """The job as it comes back from the API server after that decision."""
    written = with_status(new_job(), decision.status or job_.status)
    return profiled(written, written.status.profile) if written.status.profile is not None else written


def waiting():
    """A job that has asked for quota with the first version of its profile."""
    return stored(*planned(new_job(), version(1)))


def cpus(change):
    """How many CPUs the Workload that is made asks for, for each worker."""
    (pod_set,) = change.body["spec"]["podSets"]
    return pod_set["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"]


def admitted(job_):
    return served(workload(job_, admitted=True))


def suspended(job_):
    """The job when its user has suspended it and resumed it again, and the operator has seen both."""
    return with_status(job_, lifecycle.suspended(job_, gang((), 0, 2), at(5)))


@pytest.mark.parametrize(
    ("there", "reason"), [(None, "WaitingForProfile"), (version(1, cpu="a lot"), "ProfileInvalid")]
)
def test_a_job_that_waits_for_its_profile_asks_for_no_quota(there, reason):
    job_, decision = planned(new_job(), there)

    assert (None, ()) == (decision.workload, decision.pods)
    for type_ in ("PodsReady", "Admitted"):
        told = decision.status.condition(type_)
        assert ("False", reason) == (told.status, told.reason)
    assert not decision.status.is_true("Suspended")
    # Told once: the same fact again is no news.
    again = planned(stored(job_, decision), there)[1]
    assert (None, None, ()) == (again.status, again.workload, again.events)


def test_quota_is_asked_for_with_the_values_which_the_same_pass_keeps_in_the_status():
    _, decision = planned(new_job(), version(1))

    assert ("create", "1") == (decision.workload.verb, cpus(decision.workload))
    assert taken(version(1)) == decision.status.profile
    assert 0.0 == decision.status_delay_seconds
    assert digest(version(1).spec) == decision.workload.body["metadata"]["annotations"][ANNOTATION_PROFILE]


def test_a_job_that_waits_in_its_queue_keeps_the_values_that_it_has_asked_with():
    job_ = waiting()
    _, decision = planned(job_, version(2), lambda one: served(workload(one)))

    assert not profile.is_wanted(job_)
    assert (None, taken(version(1))) == (decision.workload, decision.status.profile)
    begun, decision = planned(job_, version(2), admitted)
    assert taken(version(1)) == decision.status.profile
    _, decision = planned(stored(begun, decision), version(2), admitted)
    assert ["1", "1"] == [made["spec"]["containers"][0]["resources"]["requests"]["cpu"] for made in decision.pods]


def test_a_resume_asks_anew_with_the_values_of_now():
    _, decision = planned(suspended(waiting()), version(2))

    assert ("create", "2") == (decision.workload.verb, cpus(decision.workload))
    assert taken(version(2)) == decision.status.profile
    assert "NotAdmitted" == decision.status.condition("Suspended").reason


def test_a_resume_before_the_quota_was_given_back_gives_it_back_if_the_profile_has_changed():
    old = waiting()
    _, decision = planned(suspended(old), version(2), admitted(old))
    same = planned(suspended(old), version(1), admitted(old))[1]

    assert ("delete", "SpecChanged") == (decision.workload.verb, decision.status.condition("Admitted").reason)
    assert (None, True) == (same.workload and same.workload.verb != "status", same.status.is_true("Admitted"))


def test_a_workload_of_other_values_is_replaced_whoever_lost_the_status():
    """A death between the Workload and the status that would keep the new values, and another change of the profile."""
    half = profiled(suspended(waiting()), taken(version(2)))
    job_, decision = planned(suspended(waiting()), version(3), admitted(half))

    assert ("delete", ()) == (decision.workload.verb, decision.pods)
    _, after = planned(stored(job_, decision), version(3))
    assert ("create", "3") == (after.workload.verb, cpus(after.workload))


def test_a_resume_without_the_profile_gives_the_quota_back_and_waits():
    old = waiting()
    job_, decision = planned(suspended(old), None, admitted(old))

    assert (None, "WaitingForProfile") == (decision.status.profile, decision.status.condition("PodsReady").reason)
    assert [("WaitingForProfile", True)] == [(event.reason, event.warning) for event in decision.events]
    _, after = planned(stored(job_, decision), None, admitted(old))
    assert ("delete", ()) == (after.workload.verb, after.events)


def test_a_gang_that_a_short_suspension_did_not_touch_goes_on_with_its_values_and_its_quota():
    old = waiting()
    pods = tuple(_marked(pod(old, worker), version(1)) for worker in range(2))
    _, decision = planned(suspended(old), version(2), admitted(old), pods)
    gone = planned(suspended(old), None, admitted(old), pods)[1]

    for one in (decision, gone):
        assert (taken(version(1)), (), True) == (one.status.profile, one.deletions, one.status.is_true("Running"))
        assert one.workload is None or one.workload.verb == "status"


def test_an_eviction_reads_nothing_anew():
    job_ = waiting()
    begun = stored(*planned(job_, version(1), admitted))
    evicted = served(workload(begun, admitted=True, evicted="Preempted"))
    held = stored(*planned(begun, version(2), evicted))

    assert held.status.is_true("Suspended")
    assert not profile.is_wanted(held)
    assert taken(version(1)) == planned(held, version(2), admitted)[1].status.profile


def test_a_resume_while_kueue_is_silent_is_remembered_and_mended_by_the_digest():
    old = waiting()
    job_, decision = planned(suspended(old), version(2), Quota())

    assert (taken(version(2)), None) == (decision.status.profile, decision.workload)
    _, after = planned(stored(job_, decision), version(2), admitted(old))
    assert "delete" == after.workload.verb


def test_a_job_that_names_another_profile_takes_nothing_of_the_one_that_it_kept():
    old = waiting()
    other = with_spec(with_status(new_job(), old.status), profile="cpu")

    assert profile.is_wanted(other)
    assert profile.read(other, version(1), "").is_due


def _marked(found, there):
    notes = found.metadata.annotations | {ANNOTATION_PROFILE: digest(there.spec)}
    return msgspec.structs.replace(found, metadata=msgspec.structs.replace(found.metadata, annotations=notes))
