"""When a profile is read, what a job does without one, and what a crash before the first status leads to."""

import msgspec
import pytest

from builders import at, job, pod, running_gang, with_status
from ganger.api.observed import Metadata
from ganger.api.profile import TrainingProfile, digest, taken
from ganger.api.status import TrainingJobStatus
from ganger.api.types import profiled
from ganger.contract import ANNOTATION_EDITION, ANNOTATION_PROFILE
from ganger.plan import lifecycle, profile
from ganger.plan.decide import decide
from ganger.plan.edition import edition, has_other_values, outdated, values_mark
from ganger.plan.gang import gang
from ganger.plan.pods import pod as manifest_of
from ganger.plan.seen import Seen

SPEC = {"image": None, "profile": "gpu"}


def found(namespace="team", **spec):
    """A profile as the cache holds it."""
    return TrainingProfile(metadata=Metadata(name="gpu", namespace=namespace, generation=1), spec=spec)


GPU = found(image="gpu:v1", resources={"limits": {"nvidia.com/gpu": 8}})


def planned(job_, there=GPU):
    """The job as a pass takes it up, and what it sees of the profile."""
    reading = profile.read(job_, there, "ganger-system")
    return (profiled(job_, reading.taken) if reading.taken else job_), reading


def of_profile(job_, worker, there=GPU, **facts):
    """A pod that was made with that profile."""
    found_ = pod(job_, worker, **facts)
    annotations = {ANNOTATION_PROFILE: digest(there.spec)}
    return msgspec.structs.replace(found_, metadata=msgspec.structs.replace(found_.metadata, annotations=annotations))


def test_the_pods_of_a_new_job_have_the_values_and_the_status_that_comes_anyway_keeps_them():
    job_, reading = planned(job(**SPEC))
    decision = decide(job_, Seen(profile=reading), at(0))

    assert {"gpu:v1"} == {made["spec"]["containers"][0]["image"] for made in decision.pods}
    assert {digest(GPU.spec)} == {made["metadata"]["annotations"][ANNOTATION_PROFILE] for made in decision.pods}
    assert taken(GPU) == decision.status.profile
    # No write more than for any other job: it waits for company like that of a job without a profile.
    assert decide(job(), Seen(), at(0)).status_delay_seconds == decision.status_delay_seconds > 0


def test_a_job_without_a_profile_has_no_trace_of_one():
    decision = decide(job(), Seen(), at(0))

    assert decision.status.profile is None
    assert all(ANNOTATION_PROFILE not in made["metadata"]["annotations"] for made in decision.pods)


@pytest.mark.parametrize(
    ("spec", "status", "wanted"),
    [
        ({}, {}, False),
        (SPEC, {}, True),
        (SPEC, {"profile": taken(GPU)}, False),
        (SPEC | {"suspend": True}, {}, False),
        (SPEC | {"suspend": True}, {"profile": taken(GPU)}, False),
    ],
)
def test_a_profile_is_looked_at_before_the_job_starts_and_never_while_it_runs(spec, status, wanted):
    assert wanted == profile.is_wanted(with_status(job(**spec), TrainingJobStatus(**status)))


def test_a_resume_looks_at_it_anew_and_a_finished_job_never_again():
    members = gang((), 0, 2)
    kept = with_status(job(**SPEC), TrainingJobStatus(profile=taken(GPU)))
    suspended = with_status(kept, lifecycle.suspended(kept, members, at(5)))
    failed = with_status(kept, lifecycle.failed(kept, members, at(5), "X", ""))

    assert profile.is_wanted(suspended)
    assert not profile.is_wanted(failed)


@pytest.mark.parametrize(
    ("there", "reason", "said"),
    [
        (None, "WaitingForProfile", "profile gpu is neither in namespace team nor in ganger-system: create it there"),
        (found(resources={"limits": {"nvidia.com/gpu": "1.5"}}), "ProfileInvalid", "profile gpu of namespace team"),
    ],
)
def test_without_a_profile_that_fits_the_job_waits_and_says_what_to_do(there, reason, said):
    job_, reading = planned(job(**SPEC, elastic={"minWorkers": 1, "maxWorkers": 4}), there)
    decision = decide(job_, Seen(profile=reading), at(0))
    condition = decision.status.condition("PodsReady")

    assert ((), ()) == (decision.pods, decision.shared)
    assert ("False", reason) == (condition.status, condition.reason)
    assert condition.message.startswith(said)
    assert [(reason, True)] == [(event.reason, event.warning) for event in decision.events]
    # Told once: the same fact again is no news.
    again = decide(with_status(job_, decision.status), Seen(profile=reading), at(60))
    assert (None, ()) == (again.status, again.events)


def test_a_job_that_waits_for_its_profile_meets_its_start_deadline():
    job_, reading = planned(job(**SPEC, startDeadlineSeconds=30), None)

    assert 30 == decide(job_, Seen(profile=reading), at(0)).requeue_after_seconds
    late = decide(job_, Seen(profile=reading), at(31))
    assert late.status.is_true("Failed")


def test_pods_that_were_made_with_other_values_before_the_first_status_are_made_anew():
    """The operator died between the pods and the status, and the profile changed: nobody knows the old values."""
    job_, reading = planned(job(**SPEC), found(image="gpu:v2"))
    pods = tuple(of_profile(job_, worker, phase="Pending") for worker in range(2))
    decision = decide(job_, Seen(pods=pods, profile=reading), at(3))

    assert (1, "gpu:v2") == (decision.status.attempt, decision.status.profile.values["image"])
    assert decision.status.restarts is None
    assert ((), ()) == (decision.pods, decision.deletions)
    assert 0.0 == decision.status_delay_seconds
    assert ["ProfileChanged"] == [event.reason for event in decision.events]
    # The next pass removes the old ones, and makes none before they have stopped.
    after = decide(with_status(job_, decision.status), Seen(pods=pods), at(4))
    assert (2, ()) == (len(after.deletions), after.pods)


def test_pods_of_the_same_values_go_on_whoever_leads():
    job_, reading = planned(job(**SPEC))
    decision = decide(job_, Seen(pods=(of_profile(job_, 0),), profile=reading), at(3))

    assert ["digits-0-1"] == [made["metadata"]["name"] for made in decision.pods]
    assert (0, taken(GPU)) == (decision.status.attempt, decision.status.profile)


def test_a_profile_that_is_gone_before_the_first_status_takes_the_half_made_gang_down():
    job_, reading = planned(job(**SPEC), None)
    decision = decide(job_, Seen(pods=(of_profile(job_, 0),), profile=reading), at(3))

    assert ["digits-0-0"] == [deletion.metadata.name for deletion in decision.deletions]
    assert () == decision.pods


def test_a_gang_that_has_ended_well_is_complete_whatever_became_of_its_profile():
    job_, reading = planned(job(**SPEC), None)
    pods = tuple(of_profile(job_, worker, exit_code=0) for worker in range(2))

    assert decide(job_, Seen(pods=pods, profile=reading), at(9)).status.is_true("Complete")


def resumed(there, pods=()):
    """A job that was suspended and is to go on."""
    job_, _ = planned(job(**SPEC))
    stopped = with_status(job_, lifecycle.suspended(job_, gang((), 0, 2), at(5)))
    return decide(stopped, Seen(pods=pods, profile=profile.read(stopped, there, "ganger-system")), at(9))


def test_a_resume_takes_the_values_of_now():
    assert "gpu:v2" == resumed(found(image="gpu:v2")).status.profile.values["image"]


def test_a_resume_without_the_profile_forgets_the_old_values_and_then_waits():
    decision = resumed(None)
    job_ = with_status(job(**SPEC), decision.status)

    assert decision.status.profile is None
    after = decide(job_, Seen(profile=profile.read(job_, None, "")), at(10))
    assert "WaitingForProfile" == after.status.condition("PodsReady").reason


def test_a_resume_before_any_pod_was_touched_keeps_the_values_that_the_pods_have():
    job_, _ = planned(job(**SPEC))
    pods = tuple(of_profile(job_, worker) for worker in range(2))

    assert taken(GPU) == resumed(found(image="gpu:v2"), pods).status.profile
    assert taken(GPU) == resumed(None, pods).status.profile


def test_a_running_job_is_the_same_whatever_became_of_its_profile():
    job_, reading = planned(job(**SPEC))
    pods = tuple(of_profile(job_, worker) for worker in range(2))
    running = with_status(job_, decide(job_, Seen(pods=pods, profile=reading), at(2)).status)

    assert not profile.is_wanted(running)
    assert manifest_of(running, 1, 0)["spec"]["containers"][0]["image"] == "gpu:v1"


def test_the_digest_of_no_profile_is_none():
    assert {} == values_mark(None)
    assert not has_other_values(running_gang(job()), None)


def test_a_profile_that_comes_into_the_spec_with_the_first_status_makes_no_other_edition():
    """A free field that is edited afterwards must not restart the gang."""
    job_ = job(**SPEC)
    made = edition(job_)
    later, _ = planned(msgspec.structs.replace(job_, metadata=msgspec.structs.replace(job_.metadata, generation=2)))
    marked = of_profile(job_, 0)
    notes = marked.metadata.annotations | {ANNOTATION_EDITION: made}
    marked = msgspec.structs.replace(marked, metadata=msgspec.structs.replace(marked.metadata, annotations=notes))

    assert "gpu:v1" == later.spec.image
    assert not outdated(later, (marked,))
