"""What workers report reaches the status: soon at first, then every ten seconds, and never without news."""

from datetime import timedelta

import msgspec
import pytest

from builders import at, job, pod, with_status
from ganger.plan import progress
from ganger.plan.decide import decide
from ganger.plan.live import AttemptSeconds, Live, LiveReport
from ganger.plan.report import ReportedCheckpoint
from ganger.plan.seen import Seen

PLAIN = job(workers=1)


def said(step=None, *, when=20.0, phase="Training", **more):
    more.setdefault("seconds", AttemptSeconds(starting=5.0, productive=max(0.0, when - 6.0)))
    report = LiveReport(attempt=more.pop("attempt", 0), worker=0, sequence=1, phase=phase, step=step, **more)
    return Live(report=report, at=at(when))


def seen(job_, live=None, **pod_):
    return Seen(pods=(pod(job_, 0, **pod_),), live=live)


def running(live=None, when=10.0):
    """The job after the pass that saw its worker run."""
    decision = decide(PLAIN, seen(PLAIN, live), at(when))
    return with_status(PLAIN, decision.status)


def test_the_first_report_is_written_at_once():
    before = running()
    decision = decide(before, seen(before, said(7, total_steps=40, loss=0.5, epoch=1)), at(20))

    told = decision.status.progress
    assert (7, 40, "17%", 1, "0.5") == (told.step, told.total_steps, told.percent, told.epoch, told.loss)
    assert at(20) == told.updated_time
    assert decision.status.conditions == before.status.conditions
    assert () == decision.events


def test_news_waits_until_ten_seconds_have_passed():
    before = with_status(running(), decide(running(), seen(PLAIN, said(7)), at(20)).status)
    early = decide(before, seen(before, said(8, when=23)), at(24))
    late = decide(before, seen(before, said(9, when=29)), at(30))

    assert early.status is None
    assert pytest.approx(6.0) == early.requeue_after_seconds
    assert 9 == late.status.progress.step


def test_nothing_new_is_never_written():
    before = with_status(running(), decide(running(), seen(PLAIN, said(7)), at(20)).status)
    decision = decide(before, seen(before, said(7, when=3600, samples_per_second=3.0)), at(3600))

    assert decision.status is None
    assert decision.requeue_after_seconds is None


def test_a_clock_that_was_set_back_delays_news_by_ten_seconds_at_most():
    before = with_status(running(), decide(running(), seen(PLAIN, said(7)), at(20)).status)
    decision = decide(before, seen(before, said(8)), at(20) - timedelta(hours=1))

    assert decision.status is None
    assert progress.WRITE_SECONDS == decision.requeue_after_seconds


def test_a_checkpoint_is_news():
    before = with_status(running(), decide(running(), seen(PLAIN, said(7)), at(20)).status)
    point = ReportedCheckpoint(step=6, bytes=100, kept=2, verified=True, saved_at=at(25))
    decision = decide(before, seen(before, said(7, checkpoint=point)), at(31))

    assert (6, at(25), True) == (
        decision.status.checkpoint.latest_step,
        decision.status.checkpoint.latest_time,
        decision.status.checkpoint.verified,
    )


def test_a_later_checkpoint_of_a_smaller_step_is_the_newest():
    old = progress.told(PLAIN.status, said(9, checkpoint=ReportedCheckpoint(step=9, saved_at=at(5))), at(6))
    new = progress.told(old, said(5, checkpoint=ReportedCheckpoint(step=5, saved_at=at(9))), at(10))
    again = progress.told(new, said(5, checkpoint=ReportedCheckpoint(step=9, saved_at=at(5))), at(11))

    assert (5, 5) == (new.checkpoint.latest_step, again.checkpoint.latest_step)


def test_a_worker_that_knows_no_step_changes_nothing_but_the_account_of_time():
    before = running()
    decision = decide(before, seen(before, said(None, phase="Starting")), at(20))

    assert decision.status is None


def test_what_was_reported_outlives_a_worker_that_left_no_last_word():
    before = running()
    lost = seen(before, said(30, total_steps=40), phase="Failed", exit_code=137)
    decision = decide(before, lost, at(40))

    assert 1 == decision.status.attempt
    assert 30 == decision.status.progress.step
    assert 30 == decision.status.goodput.lost_steps


def test_a_script_that_ended_well_is_as_far_as_it_last_said():
    before = with_status(running(), decide(running(), seen(PLAIN, said(31, total_steps=40)), at(20)).status)
    decision = decide(before, seen(before, said(40, total_steps=40, when=24), exit_code=0), at(25))

    assert ("Complete", 40, "100%") == (
        decision.status.phase,
        decision.status.progress.step,
        decision.status.progress.percent,
    )
    assert decision.status.progress.eta_time is None


def test_a_last_word_beats_the_newest_report():
    before = running()
    word = {"outcome": "Failed", "reason": "Exception", "step": 33, "totalSteps": 40}
    decision = decide(before, seen(before, said(30), exit_code=1, said=word), at(40))

    assert 33 == decision.status.progress.step


def test_every_status_accounts_for_the_time_up_to_its_write():
    now, current = 10.0, running()
    for step in (5, 9, 14):
        now += 11.0
        decision = decide(current, seen(current, said(step, when=now)), at(now))
        current = with_status(current, decision.status)
        parts = msgspec.structs.asdict(current.status.goodput.seconds)

        assert at(now) == current.status.goodput.accounted_time
        assert pytest.approx(now, abs=1e-6) == sum(parts.values())


def test_the_last_lines_of_a_worker_that_died_without_a_word_are_in_event_and_status():
    before = running()
    word = {"outcome": "Failed", "reason": "ProcessKilled", "lastLines": ["a", "b", "terminate called", "core dumped"]}
    decision = decide(before, seen(before, exit_code=134, said=word), at(40))

    assert ("a", "b", "terminate called", "core dumped") == decision.status.restarts.last.last_lines
    assert "b / terminate called / core dumped" in decision.events[0].message


def test_the_end_of_a_traceback_is_kept():
    before = running()
    trace = "\n".join(f"line {number}" for number in range(30))
    word = {"outcome": "Failed", "reason": "Exception", "message": "boom", "traceback": trace}
    decision = decide(before, seen(before, exit_code=1, said=word), at(40))

    assert tuple(f"line {number}" for number in range(20, 30)) == decision.status.restarts.last.last_lines
