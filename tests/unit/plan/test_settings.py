"""Live settings: what is sent, whose word counts, and what status and events say of it."""

import msgspec
import pytest

from builders import at, job, pod, with_status
from ganger.api.status import LiveValue
from ganger.contract import ENV_LIVE_CONFIG
from ganger.plan import wish
from ganger.plan.decide import decide
from ganger.plan.environment import worker_environment
from ganger.plan.live import Heard, Live, LiveRefusal, LiveReport, LiveSettings
from ganger.plan.live import LiveValue as Said
from ganger.plan.seen import Seen

SLOWER = LiveSettings(step=31, values=(Said(name="lr", value="0.0001", step=31),))
TOO_MUCH = LiveRefusal(name="lr", value="50", reason="OutOfBounds", message="lr must be > 0 and <= 1")


def spec(**live):
    return job(liveConfig=live)


def told(before, when, *said, step=20, round_=0):
    """The decision of the pass that hears workers 0, 1 ... say so."""
    reports = [
        LiveReport(attempt=0, worker=worker, sequence=1, phase="Training", step=step, live=live, round=round_)
        for worker, live in enumerate(said)
    ]
    heard = tuple(Heard(report=report, at=at(when)) for report in reports)
    seen = Seen(pods=(pod(before, 0), pod(before, 1)), live=Live(report=reports[0], at=at(when)), heard=heard)
    return decide(before, seen, at(when))


def running(wanted):
    return with_status(wanted, decide(wanted, Seen(pods=(pod(wanted, 0), pod(wanted, 1))), at(10)).status)


def test_a_value_is_acknowledged_when_all_workers_name_the_same_step():
    before = running(spec(lr=1e-4))

    decision = told(before, 20, SLOWER, SLOWER)

    assert (LiveValue(name="lr", value="0.0001", applied_at_step=31),) == decision.status.live_config
    (event,) = decision.events
    assert ("LiveConfigApplied", False) == (event.reason, event.warning)
    assert "all workers train with lr=0.0001 from step 31 on" == event.message


@pytest.mark.parametrize(
    "said, round_",
    [
        ([SLOWER], 0),
        ([SLOWER, None], 0),
        ([SLOWER, msgspec.structs.replace(SLOWER, step=32)], 0),
        ([SLOWER, SLOWER], 1),
    ],
)
def test_until_then_nothing_is_said(said, round_):
    decision = told(running(spec(lr=1e-4)), 20, *said, round_=round_)

    assert () == decision.status.live_config
    assert () == decision.events


def test_an_acknowledgement_is_news_of_which_there_is_one_write_in_ten_seconds():
    before = running(spec(lr=1e-4))
    before = with_status(before, told(before, 20, None, None).status)

    early, due = told(before, 24, SLOWER, SLOWER), told(before, 30, SLOWER, SLOWER)

    assert (None, 6.0) == (early.status, early.requeue_after_seconds)
    assert 1 == len(due.status.live_config)
    after = with_status(before, due.status)
    assert told(after, 41, SLOWER, SLOWER).status is None


def test_a_name_that_was_taken_out_is_told_with_the_step_and_leaves_the_status():
    before = running(spec(lr=1e-4))
    before = with_status(before, told(before, 20, SLOWER, SLOWER).status)
    free = LiveSettings(step=61)

    decision = told(before, 40, free, free)

    assert () == decision.status.live_config
    assert ["all workers train with lr as in spec.config from step 61 on"] == [
        event.message for event in decision.events
    ]


def test_steps_that_are_trained_anew_move_the_step_without_an_event():
    before = running(spec(lr=1e-4))
    before = with_status(before, told(before, 20, SLOWER, SLOWER).status)
    again = LiveSettings(step=21, values=(Said(name="lr", value="0.0001", step=21),))

    decision = told(before, 40, again, again)

    assert [21] == [value.applied_at_step for value in decision.status.live_config]
    assert () == decision.events


def test_a_refusal_is_a_condition_and_an_event_once_and_ends_with_the_value():
    wanted = spec(lr=50)
    refusing = LiveSettings(step=1, refused=(TOO_MUCH,))
    before = running(wanted)

    decision = told(before, 20, refusing, refusing)

    condition = decision.status.condition("LiveConfigRefused")
    assert ("True", "OutOfBounds") == (condition.status, condition.reason)
    assert "lr=50: lr must be > 0 and <= 1; the values before stay in force" == condition.message
    assert [("LiveConfigRefused", True)] == [(event.reason, event.warning) for event in decision.events]
    assert decision.status.is_true("Running")
    after = with_status(before, decision.status)
    assert told(after, 40, refusing, refusing).status is None
    mended = with_status(spec(lr=1e-4), decision.status)
    condition = told(mended, 40, SLOWER, SLOWER).status.condition("LiveConfigRefused")
    assert ("False", "Accepted") == (condition.status, condition.reason)


def test_a_refusal_of_what_is_mended_already_is_not_told():
    decision = told(running(spec(lr=1)), 20, *2 * [LiveSettings(step=1, refused=(TOO_MUCH,))])

    assert None is decision.status.condition("LiveConfigRefused")


@pytest.mark.parametrize(
    "wanted, reason",
    [(job(task=None, script=["train.py"], liveConfig={"lr": 1}), "NoTask"), (spec(words="x" * 2048), "TooLarge")],
)
def test_what_no_worker_is_told_is_said_in_a_condition(wanted, reason):
    decision = told(running(wanted), 20, None, None)

    assert reason == decision.status.condition("LiveConfigRefused").reason
    assert None is wish.served(wanted.spec)
    assert ENV_LIVE_CONFIG not in worker_environment(wanted, 0, 0, rendezvous_host="digits-0")


def test_pods_are_made_with_what_is_asked_for_then():
    environment = worker_environment(spec(lr=1e-4, alpha=1), 0, 0, rendezvous_host="digits-0")

    assert '{"alpha":1,"lr":0.0001}' == environment[ENV_LIVE_CONFIG]
