"""The grace period that is needed reaches the status in steps, and a period that is too short is said once."""

import pytest

from builders import at, job, pod, with_spec, with_status
from ganger.plan.decide import decide
from ganger.plan.grace import TOO_SHORT
from ganger.plan.live import AttemptSeconds, Live, LiveReport
from ganger.plan.report import ReportedCheckpoint
from ganger.plan.seen import Seen

CHECKPOINT = {"volume": {"claimName": "disk"}, "everySteps": 10}


def train(job_, *needs, first=20.0):
    """Let a worker report one need after the other, a minute apart; return the job and what was decided each time."""
    decisions = []
    for number, needed in enumerate(needs):
        when = first + 60.0 * number
        report = LiveReport(
            attempt=0, worker=0, sequence=number, phase="Training", step=10 + number, grace_seconds_needed=needed,
            checkpoint=ReportedCheckpoint(step=10), seconds=AttemptSeconds(productive=when),
        )  # fmt: skip
        live = Live(report=report, at=at(when))
        decisions.append(decide(job_, Seen(pods=(pod(job_, 0),), live=live), at(when)))
        job_ = with_status(job_, decisions[-1].status)
    return job_, decisions


@pytest.mark.parametrize(
    ("measured", "said"), [(0.2, 1), (1.2, 2), (6.1, 8), (40.0, 40), (601.0, 900), (3601.0, 3600), (1e10, 3600)]
)
def test_the_need_is_rounded_up_to_a_step_of_a_ladder(measured, said):
    after, _ = train(job(workers=1, checkpoint=CHECKPOINT, terminationGracePeriodSeconds=3600), measured)
    assert said == after.status.checkpoint.grace_seconds_needed


def test_the_need_goes_up_at_once_and_down_only_by_half():
    start = job(workers=1, checkpoint=CHECKPOINT)
    after, decisions = train(start, 7.0, 9.0, 5.5, 4.1, None, 4.0)

    needs = [decision.status.checkpoint.grace_seconds_needed for decision in decisions]
    assert [8, 10, 10, 10, 10, 4] == needs
    assert after.status.condition(TOO_SHORT) is None


def test_a_period_that_is_too_short_is_warned_of_once_with_what_to_set():
    start = job(workers=1, checkpoint=CHECKPOINT, terminationGracePeriodSeconds=30)
    after, decisions = train(start, 23.0, 28.0, 29.0)

    condition = after.status.condition(TOO_SHORT)
    assert ("True", at(20)) == (condition.status, condition.last_transition_time)
    assert (
        "a stop with a checkpoint takes up to 30 s; spec.terminationGracePeriodSeconds is 30: set it to 60, or steps "
        "since the last checkpoint may be lost"
    ) == condition.message
    events = [event for decision in decisions for event in decision.events if event.reason == TOO_SHORT]
    assert [(True, 25)] == [(event.warning, int(event.message.split("up to ")[1].split(" s")[0])) for event in events]


def test_the_condition_goes_when_the_spec_is_changed():
    short, _ = train(job(workers=1, checkpoint=CHECKPOINT, terminationGracePeriodSeconds=30), 28.0)
    longer = with_spec(short, termination_grace_period_seconds=120)
    after, decisions = train(longer, 28.0, first=90.0)

    assert "False" == after.status.condition(TOO_SHORT).status
    assert [] == [event for decision in decisions for event in decision.events if event.reason == TOO_SHORT]


def test_the_need_outlives_the_attempt_that_measured_it():
    before, _ = train(job(workers=1, checkpoint=CHECKPOINT), 9.0)
    failed = pod(before, 0, exit_code=1, said={"outcome": "Failed", "step": 14, "checkpoint": {"step": 12}})
    status = decide(before, Seen(pods=(failed,)), at(300)).status

    assert (1, 12, 10) == (status.attempt, status.checkpoint.latest_step, status.checkpoint.grace_seconds_needed)


def test_the_same_need_costs_no_write():
    start = job(workers=1, checkpoint=CHECKPOINT, terminationGracePeriodSeconds=30)
    before, _ = train(start, 28.0)
    report = LiveReport(
        attempt=0, worker=0, sequence=9, phase="Training", step=10, grace_seconds_needed=26.0,
        checkpoint=ReportedCheckpoint(step=10), seconds=AttemptSeconds(productive=20.0),
    )  # fmt: skip
    live = Live(report=report, at=at(500))
    assert decide(before, Seen(pods=(pod(before, 0),), live=live), at(500)).status is None


def test_pods_and_workers_get_the_period_of_the_spec():
    start = job(workers=1, checkpoint=CHECKPOINT, terminationGracePeriodSeconds=240)
    (manifest,) = decide(start, Seen(), at(1)).pods
    environment = {entry["name"]: entry.get("value") for entry in manifest["spec"]["containers"][0]["env"]}

    assert 240 == manifest["spec"]["terminationGracePeriodSeconds"]
    assert "240" == environment["GANGER_GRACE_SECONDS"]


EVICTED = [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]
LOST = [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}]


@pytest.mark.parametrize(
    ("conditions", "other", "lost"),
    [
        (EVICTED, {}, 0),
        (EVICTED, {"exit_code": 143, "said": {"outcome": "Preempted", "step": 26, "checkpoint": {"step": 26}}}, 0),
        (EVICTED, {"exit_code": 1, "said": {"outcome": "Failed", "reason": "Exception", "step": 25}}, 15),
        (LOST, {}, 15),
    ],
)
def test_a_gang_that_is_told_to_stop_loses_no_step_and_one_that_cannot_loses_those_since_its_checkpoint(
    conditions, other, lost
):
    start = job(checkpoint=CHECKPOINT)
    both = (pod(start, 0), pod(start, 1))
    report = LiveReport(
        attempt=0, worker=0, sequence=1, phase="Training", step=25, checkpoint=ReportedCheckpoint(step=10),
        seconds=AttemptSeconds(productive=25.0),
    )  # fmt: skip
    live = Live(report=report, at=at(40))
    start = with_status(start, decide(start, Seen(pods=both, live=live), at(40)).status)
    evicted = pod(start, 0, leaving=True, conditions=conditions)
    status = decide(start, Seen(pods=(evicted, pod(start, 1, **other)), live=live), at(41)).status

    assert (1, lost) == (status.attempt, status.goodput.lost_steps)
