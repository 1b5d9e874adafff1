"""One pass of the controller, as facts."""

import msgspec
import pytest

from builders import at, job, pod, running_gang, with_spec, with_status
from ganger.api.observed import Metadata, OwnerReference, Service
from ganger.plan.decide import decide
from ganger.plan.seen import Seen

SERVICE = Service(
    metadata=Metadata(name="digits-gang", owner_references=(OwnerReference(uid="uid-1", controller=True),))
)
CHECKPOINT = {"volume": {"size": "1Gi"}, "everySteps": 10}


def running(job_):
    """The job after the pass that saw its whole gang run."""
    return with_status(job_, decide(job_, Seen(pods=running_gang(job_)), at(2)).status)


def names_of(manifests):
    return [manifest["metadata"]["name"] for manifest in manifests]


def test_new_job_gets_its_volume_and_all_its_pods_in_one_pass():
    decision = decide(job(checkpoint=CHECKPOINT), Seen(), at(0))

    assert ["digits-checkpoints"] == names_of(decision.shared)
    assert ["digits-0-0", "digits-0-1"] == names_of(decision.pods)


def test_service_comes_with_the_address_of_worker_0_and_not_before():
    a_job = job()
    pending, placed = pod(a_job, 0, phase="Pending"), pod(a_job, 0)

    assert () == decide(a_job, Seen(pods=(pending, pod(a_job, 1))), at(1)).shared
    assert ["digits-gang"] == names_of(decide(a_job, Seen(pods=(placed,)), at(1)).shared)


def test_service_that_somebody_deleted_comes_back_while_the_gang_runs():
    a_job = job()

    assert ["digits-gang"] == names_of(decide(running(a_job), Seen(pods=running_gang(a_job)), at(9)).shared)
    assert () == decide(running(a_job), Seen(pods=running_gang(a_job), service=SERVICE), at(9)).shared


def test_first_attempt_needs_no_status_write_before_its_pods():
    assert decide(job(), Seen(), at(0)).status_delay_seconds > 0


def test_single_worker_needs_no_service():
    assert () == decide(job(workers=1), Seen(), at(0)).shared


def test_only_missing_pods_are_created():
    a_job = job()

    assert ["digits-0-1"] == names_of(decide(a_job, Seen(pods=(pod(a_job, 0),)), at(1)).pods)


def test_complete_gang_is_running_at_once():
    a_job = job()
    decision = decide(a_job, Seen(pods=running_gang(a_job)), at(2))

    assert "Running" == decision.status.phase
    assert 0.0 == decision.status_delay_seconds
    assert "2/2" == decision.status.workers
    assert ["Running"] == [event.reason for event in decision.events]


def test_running_job_costs_nothing():
    a_job = running(job())

    assert decide(a_job, Seen(pods=running_gang(a_job), service=SERVICE), at(1000)).empty


def test_worker_that_ends_well_before_the_others_writes_nothing():
    a_job = running(job())

    assert decide(a_job, Seen(pods=(pod(a_job, 0, exit_code=0), pod(a_job, 1)), service=SERVICE), at(50)).empty


def test_all_workers_done_completes_the_job_with_what_worker_0_said():
    a_job = running(job())
    said = {
        "outcome": "Done",
        "step": 40,
        "totalSteps": 40,
        "loss": 0.25,
        "metrics": {"accuracy": 0.97},
        "checkpoint": {"step": 40, "bytes": 99, "kept": 3, "verified": True},
    }
    pods = (pod(a_job, 0, exit_code=0, said=said), pod(a_job, 1, exit_code=0))
    status = decide(a_job, Seen(pods=pods), at(60)).status

    assert ("Complete", True, at(60)) == (status.phase, status.is_true("Complete"), status.completion_time)
    assert (40, "100%", "0.25") == (status.progress.step, status.progress.percent, status.progress.loss)
    assert 40 == status.checkpoint.latest_step


def test_failed_worker_opens_the_next_attempt_and_does_nothing_else():
    a_job = running(job())
    decision = decide(a_job, Seen(pods=(pod(a_job, 0), pod(a_job, 1, exit_code=137))), at(12))

    assert 1 == decision.status.attempt
    assert (1, 1) == (decision.status.restarts.counted, decision.status.restarts.total)
    assert "digits-0-1" == decision.status.restarts.last.pod
    assert ((), (), ()) == (decision.pods, decision.deletions, decision.shared)


def restarted(a_job, *pods, when=12):
    return with_status(a_job, decide(a_job, Seen(pods=pods), at(when)).status)


def test_new_attempt_waits_until_no_old_worker_can_run():
    old = running(job())
    a_job = restarted(old, pod(old, 0), pod(old, 1, exit_code=137))
    decision = decide(a_job, Seen(pods=(pod(old, 0), pod(old, 1, exit_code=137))), at(12))

    assert () == decision.pods
    assert ["digits-0-0"] == [deletion.metadata.name for deletion in decision.deletions]


def test_first_failure_is_replaced_at_once_and_the_failed_pod_keeps_its_logs():
    old = running(job())
    failed = pod(old, 1, exit_code=137)
    a_job = restarted(old, pod(old, 0), failed)
    decision = decide(a_job, Seen(pods=(failed,)), at(12))

    assert ["digits-1-0", "digits-1-1"] == names_of(decision.pods)
    assert () == decision.deletions


def test_second_failure_without_progress_waits_for_the_backoff():
    old = running(job())
    a_job = restarted(old, pod(old, 0), pod(old, 1, exit_code=1))
    a_job = with_status(a_job, decide(a_job, Seen(pods=running_gang(a_job, attempt=1)), at(20)).status)
    a_job = restarted(a_job, pod(a_job, 0, attempt=1, exit_code=1, ended=30), when=30)

    assert at(35) == a_job.status.restarts.next_attempt_time
    early = decide(a_job, Seen(), at(31))
    assert (0, 4.0) == (len(early.pods), early.requeue_after_seconds)
    assert 2 == len(decide(a_job, Seen(), at(35)).pods)


@pytest.mark.parametrize("step, next_time, in_a_row", [(None, at(35), 2), (10, None, 1)])
def test_ignored_failures_wait_for_the_backoff_until_there_is_progress_and_are_not_counted(step, next_time, in_a_row):
    rules = [{"name": "a", "onExitCodes": [1], "action": "Ignore"}]
    old = running(job(failurePolicy={"rules": rules, "maxRestarts": 0}))
    a_job = restarted(old, pod(old, 0), pod(old, 1, exit_code=1))
    a_job = with_status(a_job, decide(a_job, Seen(pods=running_gang(a_job, attempt=1)), at(20)).status)
    said = {"outcome": "Failed", "reason": "ProcessExited"} | ({"checkpoint": {"step": step}} if step else {})
    a_job = restarted(a_job, pod(a_job, 0, attempt=1, exit_code=1, said=said, ended=30), when=30)
    restarts = a_job.status.restarts

    assert next_time == restarts.next_attempt_time
    assert (0, 2, 0, in_a_row) == (
        restarts.counted,
        restarts.total,
        restarts.without_progress,
        restarts.ignored_without_progress,
    )


def test_checkpoint_progress_resets_the_backoff():
    old = running(job())
    a_job = restarted(old, pod(old, 0), pod(old, 1, exit_code=1))
    a_job = with_status(a_job, decide(a_job, Seen(pods=running_gang(a_job, attempt=1)), at(20)).status)
    said = {"outcome": "Failed", "reason": "Exception", "checkpoint": {"step": 10}}
    a_job = restarted(a_job, pod(a_job, 0, attempt=1, exit_code=1, said=said, ended=30), when=30)

    assert a_job.status.restarts.next_attempt_time is None
    assert (2, 1) == (a_job.status.restarts.counted, a_job.status.restarts.without_progress)


def test_spent_restarts_fail_the_job():
    a_job = running(job(failurePolicy={"maxRestarts": 0}))
    decision = decide(a_job, Seen(pods=(pod(a_job, 0), pod(a_job, 1, exit_code=1))), at(12))

    assert "MaxRestartsReached" == decision.status.condition("Failed").reason


def test_deleted_pod_of_a_complete_gang_is_a_disruption_that_costs_no_restart():
    a_job = running(job())
    status = decide(a_job, Seen(pods=(pod(a_job, 0),)), at(12)).status

    assert (1, 0, "PodDeleted") == (status.attempt, status.restarts.counted, status.restarts.last.reason)


def test_leaving_pod_of_a_complete_gang_restarts_it_without_waiting_for_its_end():
    a_job = running(job())

    assert 1 == decide(a_job, Seen(pods=(pod(a_job, 0), pod(a_job, 1, leaving=True))), at(12)).status.attempt


def test_victim_waits_for_its_culprit():
    a_job = running(job())
    victim = pod(a_job, 0, exit_code=1, said={"outcome": "Failed", "reason": "PeerLost"}, ended=12)
    decision = decide(a_job, Seen(pods=(victim, pod(a_job, 1))), at(12))

    assert decision.status is None
    assert decision.requeue_after_seconds is not None


def test_culprit_is_named_although_its_victim_ended_first():
    a_job = running(job())
    victim = pod(a_job, 0, exit_code=1, said={"outcome": "Failed", "reason": "PeerLost"}, ended=12)
    culprit = pod(a_job, 1, exit_code=137, reason="OOMKilled", ended=13)
    last = decide(a_job, Seen(pods=(victim, culprit)), at(13)).status.restarts.last

    assert ("digits-0-1", "OOMKilled", 137) == (last.pod, last.reason, last.exit_code)


def test_suspended_job_says_so_before_it_deletes():
    a_job = with_spec(running(job()), suspend=True)
    pods = running_gang(a_job)
    first = decide(a_job, Seen(pods=pods), at(20))
    second = decide(with_status(a_job, first.status), Seen(pods=pods), at(20))

    assert ("Suspended", ()) == (first.status.phase, first.deletions)
    assert 2 == len(second.deletions)


def test_job_that_starts_suspended_creates_nothing():
    decision = decide(job(suspend=True), Seen(), at(0))

    assert ((), ()) == (decision.pods, decision.shared)


def test_resume_waits_for_the_stopping_pods_and_then_starts_the_same_attempt():
    a_job = with_spec(running(job()), suspend=True)
    a_job = with_status(a_job, decide(a_job, Seen(pods=running_gang(a_job)), at(20)).status)
    resumed = with_spec(a_job, suspend=False)
    stopping = tuple(pod(a_job, worker, leaving=True) for worker in range(2))

    assert decide(resumed, Seen(pods=stopping), at(21)).empty
    first = decide(resumed, Seen(), at(25))
    assert (False, 0.0) == (first.status.is_true("Suspended"), first.status_delay_seconds)
    second = decide(with_status(resumed, first.status), Seen(), at(25))
    assert ["digits-0-0", "digits-0-1"] == names_of(second.pods)


def test_resume_before_any_pod_was_touched_touches_none():
    a_job = with_spec(running(job()), suspend=True)
    a_job = with_status(a_job, decide(a_job, Seen(pods=running_gang(a_job)), at(20)).status)
    decision = decide(with_spec(a_job, suspend=False), Seen(pods=running_gang(a_job)), at(21))

    assert ((), (), "Running") == (decision.deletions, decision.pods, decision.status.phase)


@pytest.mark.parametrize("policy, expected", [("None", 0), ("Running", 1), ("All", 2)])
def test_clean_pod_policy_picks_the_pods_of_a_finished_job(policy, expected):
    a_job = running(job(cleanPodPolicy=policy, failurePolicy={"maxRestarts": 0}))
    pods = (pod(a_job, 0), pod(a_job, 1, exit_code=1))
    a_job = with_status(a_job, decide(a_job, Seen(pods=pods), at(12)).status)

    assert expected == len(decide(a_job, Seen(pods=pods), at(13)).deletions)


def test_finished_job_creates_nothing_whatever_is_seen():
    a_job = running(job())
    done = tuple(pod(a_job, worker, exit_code=0) for worker in range(2))
    a_job = with_status(a_job, decide(a_job, Seen(pods=done), at(20)).status)

    assert decide(a_job, Seen(), at(21)).empty


def test_time_to_live_deletes_the_job_when_it_is_over():
    a_job = running(job(ttlSecondsAfterFinished=60))
    done = tuple(pod(a_job, worker, exit_code=0) for worker in range(2))
    a_job = with_status(a_job, decide(a_job, Seen(pods=done), at(20)).status)

    assert 50.0 == decide(a_job, Seen(pods=done), at(30)).requeue_after_seconds
    assert decide(a_job, Seen(pods=done), at(80)).delete_job


def test_active_deadline_fails_a_job_that_is_not_complete():
    a_job = running(job(activeDeadlineSeconds=100))
    pods = running_gang(a_job)

    assert 50.5 == decide(a_job, Seen(pods=pods), at(50)).requeue_after_seconds
    assert "DeadlineExceeded" == decide(a_job, Seen(pods=pods), at(101)).status.condition("Failed").reason


def test_start_deadline_fails_a_gang_that_does_not_come_up_and_says_what_it_waited_for():
    a_job = job(startDeadlineSeconds=30)
    stuck = pod(a_job, 0, phase="Pending", waiting=("ImagePullBackOff", "no such image"))
    seen = Seen(pods=(stuck, pod(a_job, 1, phase="Pending")))
    first = decide(a_job, seen, at(1))
    failed = decide(with_status(a_job, first.status), seen, at(40)).status

    assert "ImagePullBackOff" == first.status.condition("PodsReady").reason
    assert "digits-0-0: image registry/trainer:v1: no such image" == first.status.condition("PodsReady").message
    assert "ImagePull" == failed.condition("Failed").reason
    assert "registry/trainer:v1" in failed.condition("Failed").message
    assert (0, None) == (failed.attempt, failed.restarts)
    assert "no such image" in failed.message


def test_start_deadline_does_not_touch_a_gang_that_runs():
    a_job = running(job(startDeadlineSeconds=30))

    assert decide(a_job, Seen(pods=running_gang(a_job), service=SERVICE), at(1000)).empty


def test_image_name_that_can_never_be_pulled_fails_at_once():
    a_job = job()
    stuck = pod(a_job, 0, phase="Pending", waiting=("InvalidImageName", "bad"))

    status = decide(a_job, Seen(pods=(stuck, pod(a_job, 1))), at(1)).status
    assert "InvalidImageName" == status.condition("Failed").reason


def test_unsupported_fields_fail_the_job_with_a_sentence():
    status = decide(job(), Seen(), at(0), ("spec.liveConfig: not supported yet",)).status

    assert ("Unsupported", "spec.liveConfig: not supported yet") == (status.condition("Failed").reason, status.message)


def test_job_of_another_controller_is_left_alone():
    assert decide(job(managedBy="kueue.x-k8s.io/multikueue"), Seen(), at(0)).empty


def test_deleted_job_is_left_to_the_garbage_collector():
    a_job = job()
    gone = msgspec.structs.replace(a_job, metadata=msgspec.structs.replace(a_job.metadata, deletion_timestamp=at(1)))

    assert decide(gone, Seen(), at(1)).empty


def test_attempt_of_the_pods_beats_an_older_status():
    a_job = job()

    assert 3 == decide(a_job, Seen(pods=running_gang(a_job, attempt=3)), at(1)).status.attempt


def test_pod_with_a_strange_attempt_label_is_treated_as_old():
    a_job = job()
    strange = pod(a_job, 0)
    labels = strange.metadata.labels | {"ganger.dev/attempt": "x"}
    strange = msgspec.structs.replace(strange, metadata=msgspec.structs.replace(strange.metadata, labels=labels))
    decision = decide(a_job, Seen(pods=(strange,)), at(1))

    assert (["digits-0-0"], ()) == ([deletion.metadata.name for deletion in decision.deletions], decision.pods)
