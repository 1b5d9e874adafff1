"""The ledger, fact by fact; that it always sums is shown in tests/property/plan/test_ledger.py."""

import msgspec

from builders import at, job, pod, with_status
from ganger.api.observed import Condition, ContainerState, ContainerStatus, Running
from ganger.api.status import CheckpointStatus, Failure, Goodput, GoodputSeconds, Restarts, TrainingJobStatus
from ganger.contract import CONTAINER
from ganger.plan.gang import gang
from ganger.plan.ledger import account, lose, lost
from ganger.plan.live import AttemptSeconds, Live, LiveReport
from ganger.plan.report import ReportedCheckpoint

CHECKPOINT = {"volume": {"size": "1Gi"}, "everySteps": 10}
UP = Condition(type="PodsReady", status="True", reason="AllWorkersRun", last_transition_time=at(4))


def worker(job_, index, *, made=1.0, placed=2.0, started=3.0, attempt=0):
    """A pod whose times are known, in seconds; None for what has not happened."""
    plain = pod(job_, index, attempt=attempt, phase="Running" if started is not None else "Pending")
    scheduled = Condition(type="PodScheduled", status="True", last_transition_time=at(placed or 0))
    running = ContainerState(running=Running(started_at=at(started))) if started is not None else ContainerState()
    status = msgspec.structs.replace(
        plain.status,
        conditions=(scheduled,) if placed is not None else (),
        container_statuses=(ContainerStatus(name=CONTAINER, state=running),),
    )
    metadata = msgspec.structs.replace(plain.metadata, creation_timestamp=at(made))
    return msgspec.structs.replace(plain, metadata=metadata, status=status)


def members(job_, *pods):
    return gang(pods, job_.status.attempt, job_.spec.workers)


def told(seconds=None, *, phase="Training", when=20.0, **report):
    report = {"attempt": 0, "worker": 0, "sequence": 1} | report
    return Live(report=LiveReport(phase=phase, seconds=seconds, **report), at=at(when))


def spent(goodput):
    """The parts that are not zero."""
    return {cause: seconds for cause, seconds in msgspec.structs.asdict(goodput.seconds).items() if seconds}


def accounted(seconds, **parts):
    return Goodput(seconds=GoodputSeconds(**parts), accounted_time=at(seconds))


def test_way_up_is_told_by_the_last_worker():
    a_job = job()
    pods = worker(a_job, 0), worker(a_job, 1, made=1.5, placed=6.0, started=9.25)

    goodput = account(a_job, members(a_job, *pods), None, at(10))

    assert {"queued": 1.0, "scheduling": 5.0, "image": 3.25, "productive": 0.75} == spent(goodput)
    assert at(10) == goodput.accounted_time
    assert 0.075 == goodput.ratio


def test_gang_that_lacks_a_pod_waits_for_nodes():
    a_job = job()

    assert {"queued": 1.0, "scheduling": 9.0} == spent(account(a_job, members(a_job, worker(a_job, 0)), None, at(10)))


def test_pod_without_conditions_counts_as_placed_when_it_starts():
    a_job = job(workers=1)

    goodput = account(a_job, members(a_job, worker(a_job, 0, placed=None)), None, at(10))

    assert {"queued": 1.0, "scheduling": 2.0, "productive": 7.0} == spent(goodput)


def test_worker_tells_when_it_began_to_train():
    a_job = job(workers=1)
    live = told(AttemptSeconds(starting=4, restoring=2, productive=9, checkpointing=1))

    goodput = account(a_job, members(a_job, worker(a_job, 0)), live, at(23))

    expected = {"queued": 1.0, "scheduling": 1.0, "image": 1.0, "starting": 4.0, "restoring": 2.0}
    assert expected | {"productive": 13.0, "checkpointing": 1.0} == spent(goodput)


def test_phase_is_believed_until_the_next_report():
    a_job = with_status(
        job(workers=1), TrainingJobStatus(conditions=(UP,), goodput=accounted(20, queued=3, starting=17))
    )
    cases = [
        ("Starting", "starting"),
        ("Restoring", "restoring"),
        ("Evaluating", "productive"),
        ("Stopping", "productive"),
    ]

    for phase, cause in cases:
        live = told(AttemptSeconds(starting=17), phase=phase)
        goodput = account(a_job, members(a_job, worker(a_job, 0)), live, at(25))
        assert {"queued": 3.0, "starting": 17.0} | {cause: 5.0 + 17.0 * (cause == "starting")} == spent(goodput)


def test_script_that_reports_a_phase_alone_is_believed_too():
    a_job = with_status(job(workers=1), TrainingJobStatus(conditions=(UP,), goodput=accounted(20, queued=20)))
    gang_ = members(a_job, worker(a_job, 0))

    assert {"queued": 20.0, "checkpointing": 5.0} == spent(account(a_job, gang_, told(phase="Checkpointing"), at(25)))
    assert {"queued": 20.0, "productive": 5.0} == spent(account(a_job, gang_, told(phase="Training"), at(25)))


def test_script_that_says_nothing_of_its_training_trains_as_far_as_anybody_knows():
    script = with_status(
        job(workers=1, task=None, script=["train.py"]),
        TrainingJobStatus(conditions=(UP,), goodput=accounted(20, queued=20)),
    )
    gang_ = members(script, worker(script, 0))

    assert {"queued": 20.0, "productive": 5.0} == spent(account(script, gang_, told(phase="Starting"), at(25)))
    told_a_step = told(phase="Starting", step=3)
    assert {"queued": 20.0, "starting": 5.0} == spent(account(script, gang_, told_a_step, at(25)))


def test_saving_of_the_first_attempt_is_what_the_worker_tells():
    goodput, live = accounted(20, productive=18, checkpointing=2), told(AttemptSeconds(productive=17, checkpointing=5))
    a_job = with_status(job(workers=1), TrainingJobStatus(conditions=(UP,), goodput=goodput))
    gang_ = members(a_job, worker(a_job, 0))

    assert {"productive": 20.0, "checkpointing": 5.0} == spent(account(a_job, gang_, live, at(25)))
    assert {"productive": 18.0, "checkpointing": 3.0} == spent(account(a_job, gang_, live, at(21)))


def test_saving_of_a_later_attempt_is_split_by_its_share():
    status = TrainingJobStatus(conditions=(UP,), attempt=1, goodput=accounted(20, queued=18, checkpointing=2))
    a_job = with_status(job(workers=1), status)
    live = told(AttemptSeconds(starting=1, productive=15, checkpointing=5), phase="Checkpointing", attempt=1)

    goodput = account(a_job, members(a_job, worker(a_job, 0, attempt=1)), live, at(28))

    assert {"queued": 18.0, "productive": 6.0, "checkpointing": 4.0} == spent(goodput)


def test_report_of_an_older_attempt_or_of_pods_before_a_suspension_says_nothing():
    a_job = job(workers=1)
    gang_ = members(a_job, worker(a_job, 0, made=30, placed=30, started=31))
    starting = AttemptSeconds(starting=50)

    for live in (told(starting, attempt=3, when=40), told(starting, when=29)):
        assert {"queued": 30.0, "image": 1.0, "productive": 9.0} == spent(account(a_job, gang_, live, at(40)))


def test_pod_that_vanished_from_a_running_gang_takes_no_training_time_with_it():
    status = TrainingJobStatus(conditions=(UP,), goodput=accounted(20, queued=20))
    a_job = with_status(job(), status)

    assert {"queued": 20.0, "productive": 5.0} == spent(account(a_job, members(a_job, worker(a_job, 0)), None, at(25)))


def test_time_after_the_first_failure_is_restarting():
    a_job = with_status(job(), TrainingJobStatus(conditions=(UP,), goodput=accounted(20, queued=20)))
    pods = pod(a_job, 0, exit_code=1, ended=24), pod(a_job, 1, exit_code=1, ended=22.5)

    goodput = account(a_job, members(a_job, *pods), None, at(25))

    assert {"queued": 20.0, "productive": 2.5, "restarting": 2.5} == spent(goodput)


def restarted(reason, **status):
    ready = Condition(type="PodsReady", status="False", reason=reason, last_transition_time=at(20))
    given = {"conditions": (ready,), "restarts": Restarts(total=1, last=Failure(time=at(20)))} | status
    return with_status(job(workers=1), TrainingJobStatus(attempt=1, goodput=accounted(20, queued=20), **given))


def test_restart_is_no_matter_of_nodes_and_images():
    a_job = restarted("Backoff")
    new = worker(a_job, 0, attempt=1, made=24, placed=27, started=29)

    goodput = account(a_job, members(a_job, new), None, at(30))

    assert {"queued": 20.0, "restarting": 9.0, "productive": 1.0} == spent(goodput)


def test_restart_that_a_quota_holds_back_is_queued():
    a_job = restarted("QuotaExceeded")

    assert {"queued": 25.0} == spent(account(a_job, members(a_job), None, at(25)))


def test_restart_that_a_queue_holds_back_is_queued():
    a_job = restarted("Starting", conditions=(Condition(type="Admitted", status="False"),))

    assert {"queued": 25.0} == spent(account(a_job, members(a_job), None, at(25)))


def test_resumed_job_comes_up_as_a_new_one_whatever_failed_before():
    resumed = Condition(type="Suspended", status="False", reason="Resumed", last_transition_time=at(20))
    a_job = restarted("Resumed", conditions=(resumed,), restarts=Restarts(last=Failure(time=at(9))))
    new = worker(a_job, 0, attempt=1, made=21, placed=22, started=None)

    assert {"queued": 21.0, "scheduling": 1.0, "image": 3.0} == spent(account(a_job, members(a_job, new), None, at(25)))


def test_suspended_job_is_suspended_whatever_its_pods_still_do():
    suspended = Condition(type="Suspended", status="True")
    a_job = with_status(job(workers=1), TrainingJobStatus(conditions=(suspended,), goodput=accounted(20, queued=20)))

    goodput = account(a_job, members(a_job, worker(a_job, 0)), told(), at(25))

    assert {"queued": 20.0, "suspended": 5.0} == spent(goodput)


def test_clock_that_steps_back_adds_nothing():
    goodput = accounted(20, queued=3, productive=17)
    a_job = with_status(job(), TrainingJobStatus(goodput=goodput))

    assert goodput == account(a_job, members(a_job), None, at(5))


def test_nothing_is_added_after_the_end():
    status = TrainingJobStatus(completion_time=at(22), goodput=accounted(20, queued=20), conditions=(UP,))
    a_job = with_status(job(workers=1), status)

    goodput = account(a_job, members(a_job, worker(a_job, 0)), None, at(99))

    assert {"queued": 20.0, "productive": 2.0} == spent(goodput)
    assert at(22) == goodput.accounted_time


def test_job_that_was_never_stored_has_no_account():
    nobody = msgspec.structs.replace(job(), metadata=msgspec.structs.replace(job().metadata, creation_timestamp=None))

    assert Goodput() == account(nobody, members(nobody), None, at(5))


def test_many_short_accounts_do_not_drift():
    goodput, live = accounted(0), told(AttemptSeconds(productive=2, checkpointing=1), attempt=1)
    for number in range(1, 2001):
        a_job = with_status(job(workers=1), TrainingJobStatus(conditions=(UP,), attempt=1, goodput=goodput))
        pods = worker(a_job, 0, started=0.0, attempt=1)
        goodput = account(a_job, members(a_job, pods), live, at(number * 0.1))

    assert {"productive": 134.0, "checkpointing": 66.0} == spent(goodput)
    assert at(200) == goodput.accounted_time


def test_failure_moves_productive_time_to_lost():
    goodput = lose(accounted(20, queued=3, productive=17), steps=40, seconds=4.5)

    assert {"queued": 3.0, "productive": 12.5, "lost": 4.5} == spent(goodput)
    assert (40, 0.625, at(20)) == (goodput.lost_steps, goodput.ratio, goodput.accounted_time)


def test_failure_never_moves_more_than_there_is():
    assert {"lost": 17.0} == spent(lose(accounted(17, productive=17), steps=1, seconds=99))
    assert {"productive": 17.0} == spent(lose(accounted(17, productive=17), steps=-1, seconds=-9))


def test_steps_after_the_checkpoint_are_lost_at_the_attempts_own_pace():
    a_job = job(workers=1, checkpoint=CHECKPOINT)
    live = told(AttemptSeconds(productive=50), step=150, resumed_from_step=100, checkpoint=ReportedCheckpoint(step=120))

    assert (30, 30.0) == lost(a_job, members(a_job, worker(a_job, 0)), live)


def test_last_word_may_know_a_later_step_and_a_later_checkpoint():
    a_job = job(workers=1, checkpoint=CHECKPOINT)
    ended = pod(a_job, 0, exit_code=1, said={"outcome": "Failed", "step": 160, "checkpoint": {"step": 140}})
    live = told(AttemptSeconds(productive=75), step=150, checkpoint=ReportedCheckpoint(step=120))

    assert (20, 10.0) == lost(a_job, members(a_job, ended), live)


def test_checkpoint_that_the_status_knows_counts():
    status = TrainingJobStatus(checkpoint=CheckpointStatus(latest_step=140))
    a_job = with_status(job(workers=1, checkpoint=CHECKPOINT), status)

    assert (10, 5.0) == lost(a_job, members(a_job), told(AttemptSeconds(productive=75), step=150))


def test_checkpoint_that_the_attempt_could_not_go_on_from_keeps_nothing():
    status = TrainingJobStatus(checkpoint=CheckpointStatus(latest_step=1000))
    a_job = with_status(job(workers=1, checkpoint=CHECKPOINT), status)

    assert (150, 75.0) == lost(a_job, members(a_job), told(AttemptSeconds(productive=75), step=150))


def test_checkpoint_that_is_newer_than_the_last_reported_step_keeps_everything():
    live = told(AttemptSeconds(productive=75), step=149, checkpoint=ReportedCheckpoint(step=150))
    a_job = job(workers=1, checkpoint=CHECKPOINT)

    assert (0, 0.0) == lost(a_job, members(a_job), live)


def test_attempt_that_nothing_is_kept_of_is_lost_whole():
    live = told(AttemptSeconds(productive=75), step=150, checkpoint=ReportedCheckpoint(step=140))

    for checkpoint in (None, CHECKPOINT | {"resume": "Never"}):
        a_job = job(workers=1, checkpoint=checkpoint)
        assert (150, 75.0) == lost(a_job, members(a_job), live)


def test_without_the_workers_seconds_a_step_costs_what_it_cost_the_job():
    status = TrainingJobStatus(checkpoint=CheckpointStatus(latest_step=140), goodput=accounted(80, productive=80))
    a_job = with_status(job(workers=1, checkpoint=CHECKPOINT), status)
    ended = pod(a_job, 0, exit_code=1, said={"outcome": "Failed", "step": 160})

    assert (20, 10.0) == lost(a_job, members(a_job, ended), None)


def test_attempt_without_a_known_step_loses_nothing():
    a_job = job(workers=1, checkpoint=CHECKPOINT)

    assert (0, 0.0) == lost(a_job, members(a_job, pod(a_job, 0, exit_code=137)), None)
