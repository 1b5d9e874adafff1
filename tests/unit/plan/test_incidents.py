"""Rollbacks, damaged checkpoints and saves that fail reach the status, once, and people in an event each."""

import msgspec
import pytest

from builders import at, job, pod, with_status
from ganger.plan.decide import decide
from ganger.plan.incidents import CHECKPOINT_STALLED, STALLED_AFTER
from ganger.plan.live import AttemptSeconds, CheckpointTrouble, Live, LiveReport
from ganger.plan.report import ReportedCheckpoint, ReportedRollbacks
from ganger.plan.seen import Seen

JOB = job(workers=1, failurePolicy={"nonFinite": "Rollback", "maxRollbacks": 5})
SAVED = ReportedCheckpoint(step=30)


def told(before, when, **said):
    """The decision of the pass that hears a worker say so."""
    report = LiveReport(attempt=before.status.attempt, worker=0, sequence=1, phase="Training", **said)
    seen = Seen(pods=(pod(before, 0, attempt=before.status.attempt),), live=Live(report=report, at=at(when)))
    return decide(before, seen, at(when))


def after(before, when, **said):
    return with_status(before, told(before, when, **said).status)


@pytest.fixture
def running():
    return with_status(JOB, decide(JOB, Seen(pods=(pod(JOB, 0),)), at(10)).status)


def trouble(in_a_row):
    return CheckpointTrouble(in_a_row=in_a_row, reason="ENOSPC", message="step_40: No space left on device")


def test_a_rollback_is_counted_in_the_status_and_told_once(running):
    rolled = ReportedRollbacks(count=1, step=33, to_step=30)
    decision = told(running, 20, step=31, rollbacks=rolled)

    found = decision.status.rollbacks
    assert (1, 33, 30, at(20)) == (found.count, found.last_step, found.to_step, found.time)
    assert [("RolledBack", True)] == [(event.reason, event.warning) for event in decision.events]
    assert "at step 33: went back to the checkpoint of step 30" in decision.events[0].message
    assert "rollback 1 of at most 5" in decision.events[0].message
    later = with_status(running, decision.status)
    again = told(later, 40, step=35, rollbacks=rolled)
    assert () == again.events
    assert found == again.status.rollbacks


@pytest.mark.parametrize(
    "said, lost_seconds",
    [
        ({"seconds": AttemptSeconds(starting=2, productive=17)}, 1.5),  # 34 steps were done for step 31, 0.5 s each
        ({}, 19 * 3 / 33),  # nobody told the seconds of a step: 19 of productive time for 33 steps
    ],
)
def test_the_steps_between_the_checkpoint_and_the_nan_are_lost_once(running, said, lost_seconds):
    rolled = ReportedRollbacks(count=1, step=33, to_step=30)
    running = after(running, 20, step=30, checkpoint=SAVED)
    before = running.status.goodput
    first = after(running, 40, step=31, checkpoint=SAVED, rollbacks=rolled, **said)
    again = after(first, 60, step=35, checkpoint=SAVED, rollbacks=rolled, **said)

    assert (0, 0.0, 19.0) == (before.lost_steps, before.seconds.lost, before.seconds.productive)
    assert (3, round(lost_seconds, 3)) == (first.status.goodput.lost_steps, first.status.goodput.seconds.lost)
    assert (3, round(lost_seconds, 3)) == (again.status.goodput.lost_steps, again.status.goodput.seconds.lost)
    assert 60.0 == pytest.approx(sum(msgspec.structs.astuple(again.status.goodput.seconds)))


def test_a_failure_after_a_rollback_loses_only_what_came_after_it(running):
    rolled = ReportedRollbacks(count=1, step=33, to_step=30)
    said = {"checkpoint": SAVED, "rollbacks": rolled, "seconds": AttemptSeconds(productive=17)}
    kept = msgspec.structs.replace(
        running, spec=job(workers=1, checkpoint={"everySteps": 10, "volume": {"claimName": "c"}}).spec
    )
    before = after(kept, 40, step=31, **said)
    ended = pod(before, 0, exit_code=1, ended=50, said={"outcome": "Failed", "step": 31, "checkpoint": {"step": 30}})
    report = LiveReport(attempt=0, worker=0, sequence=2, phase="Training", step=31, **said)
    status = decide(before, Seen(pods=(ended,), live=Live(report=report, at=at(49))), at(55)).status

    assert (3 + 1, 1.5 + 0.5) == (status.goodput.lost_steps, status.goodput.seconds.lost)


def test_a_new_attempt_that_knows_of_no_rollback_takes_none_away(running):
    before = after(running, 20, step=31, rollbacks=ReportedRollbacks(count=2, step=33, to_step=30))

    assert 2 == after(before, 40, step=36).status.rollbacks.count


def test_damaged_checkpoints_are_listed_beside_the_newest_and_each_is_told_once(running):
    first = told(running, 20, step=31, checkpoint=SAVED, quarantined=("step_20.corrupt",))
    before = with_status(running, first.status)
    second = told(before, 40, step=32, checkpoint=SAVED, quarantined=("step_20.corrupt", "step_25.corrupt"))

    assert (30, ("step_20.corrupt",)) == (first.status.checkpoint.latest_step, first.status.checkpoint.quarantined)
    assert ["CheckpointQuarantined"] == [event.reason for event in second.events]
    assert "step_25.corrupt" in second.events[0].message
    assert "step_20.corrupt" not in second.events[0].message
    removed = told(with_status(before, second.status), 60, step=33, checkpoint=SAVED, quarantined=())
    assert () == removed.status.checkpoint.quarantined
    silent = told(with_status(before, second.status), 60, step=33, checkpoint=ReportedCheckpoint(step=40))
    assert ("step_20.corrupt", "step_25.corrupt") == silent.status.checkpoint.quarantined


def test_the_last_word_of_a_job_without_a_valid_checkpoint_names_the_damaged_ones(running):
    said = {
        "outcome": "UserError", "reason": "NoValidCheckpoint", "message": "none is valid",
        "quarantined": ["step_10.corrupt", "step_20.corrupt"],
        "rollbacks": {"count": 1, "step": 12, "toStep": 10},
    }  # fmt: skip
    ended = pod(running, 0, phase="Failed", exit_code=65, said=said)
    decision = decide(running, Seen(pods=(ended,)), at(60))

    assert ("step_10.corrupt", "step_20.corrupt") == decision.status.checkpoint.quarantined
    assert 1 == decision.status.rollbacks.count
    assert {"NoValidCheckpoint", "RolledBack", "CheckpointQuarantined"} == {event.reason for event in decision.events}


def test_saves_that_fail_in_a_row_become_a_condition_that_the_next_commit_ends(running):
    fewer = after(running, 20, step=31, checkpoint=SAVED, checkpoint_trouble=trouble(STALLED_AFTER - 1))
    assert fewer.status.condition(CHECKPOINT_STALLED) is None
    decision = told(fewer, 21, step=31, checkpoint=SAVED, checkpoint_trouble=trouble(STALLED_AFTER))
    condition = decision.status.condition(CHECKPOINT_STALLED)
    assert ("True", "ENOSPC") == (condition.status, condition.reason)
    assert "3 saves in a row failed: step_40: No space left on device" in condition.message
    assert [CHECKPOINT_STALLED] == [event.reason for event in decision.events]

    stalled = with_status(fewer, decision.status)
    more = told(stalled, 22, step=31, checkpoint=SAVED, checkpoint_trouble=trouble(STALLED_AFTER + 9))
    assert more.status is None, "the count alone is not worth a write"
    restarted = told(stalled, 22, step=31)
    assert restarted.status is None, "a new attempt that has saved nothing proves nothing"
    mended = told(stalled, 23, step=31, checkpoint=ReportedCheckpoint(step=50))
    assert ("False", "Saved") == (
        mended.status.condition(CHECKPOINT_STALLED).status,
        mended.status.condition(CHECKPOINT_STALLED).reason,
    )
    assert () == mended.events


def test_names_and_counts_of_a_hostile_report_are_refused():
    body = {"attempt": 0, "worker": 0, "sequence": 1, "phase": "Training"}
    for bad in (
        {"quarantined": ["x" * 65]},
        {"quarantined": ["x"] * 21},
        {"rollbacks": {"count": -1, "step": 1, "toStep": 1}},
        {"checkpointTrouble": {"inARow": 1, "reason": "no reason"}},
    ):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(msgspec.json.encode(body | bad), type=LiveReport)
