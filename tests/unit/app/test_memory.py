import pytest

from ganger.api.observed import Metadata
from ganger.app.memory import REFUSAL_BASE_SECONDS, REFUSAL_CAP_SECONDS, SQUATTER_SECONDS, JobMemory
from ganger.plan.seen import Refusal

QUOTA = Refusal(reason="QuotaExceeded", message="exceeded quota")


def test_a_refusal_is_remembered_for_a_while():
    memory = JobMemory()
    memory.refused(QUOTA, 100.0)

    assert QUOTA == memory.refusal(100.0 + REFUSAL_BASE_SECONDS - 0.1)
    assert memory.refusal(100.0 + REFUSAL_BASE_SECONDS) is None


def test_each_refusal_in_a_row_is_remembered_for_twice_as_long_up_to_a_cap():
    memory, now, delays = JobMemory(), 0.0, []
    for _ in range(8):
        memory.refused(QUOTA, now)
        delays.append(memory.wake_seconds(now))
        now += delays[-1]

    assert [10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0, 300.0] == delays
    assert REFUSAL_CAP_SECONDS == max(delays)


def test_ten_thousand_refusals_do_not_overflow():
    memory = JobMemory()
    for _ in range(10_000):
        memory.refused(QUOTA, 0.0)

    assert REFUSAL_CAP_SECONDS == memory.wake_seconds(0.0)


def test_a_success_forgets_refusals_and_their_number():
    memory = JobMemory()
    memory.refused(QUOTA, 0.0)
    memory.refused(QUOTA, 0.0)
    memory.created()
    assert memory.refusal(0.0) is None
    memory.refused(QUOTA, 0.0)

    assert REFUSAL_BASE_SECONDS == memory.wake_seconds(0.0)


def test_squatters_are_believed_to_be_there_for_a_while():
    memory = JobMemory()
    memory.met(("digits-0-1",), 5.0)

    assert ("digits-0-1",) == memory.squatters(5.0 + SQUATTER_SECONDS - 0.1)
    assert memory.squatters(5.0 + SQUATTER_SECONDS) == ()


def test_a_stranger_is_believed_to_be_there_for_a_while_and_then_looked_for_again():
    memory = JobMemory()
    memory.met_stranger("Service", Metadata(name="digits-gang"), 5.0)

    assert "digits-gang" == memory.stranger("Service", 5.0 + SQUATTER_SECONDS - 0.1).name
    assert SQUATTER_SECONDS == memory.wake_seconds(5.0)
    assert memory.stranger("PersistentVolumeClaim", 5.0) is None
    assert memory.stranger("Service", 5.0 + SQUATTER_SECONDS) is None
    assert memory.wake_seconds(5.0 + SQUATTER_SECONDS) is None


@pytest.mark.parametrize(
    ("expected", "status_due", "refused_at", "met_at"),
    [
        (None, None, None, None),
        (2.0, 102.0, None, None),
        (0.0, 90.0, None, None),
        (4.0, None, 94.0, None),
        (3.0, None, None, 93.0),
        (3.0, 105.0, 94.0, 93.0),
        (None, None, 50.0, 50.0),
    ],
)
def test_the_job_is_looked_at_again_when_the_first_note_runs_out(expected, status_due, refused_at, met_at):
    memory = JobMemory()
    memory.status_due = status_due
    if refused_at is not None:
        memory.refused(QUOTA, refused_at)
    if met_at is not None:
        memory.met(("digits-0-1",), met_at)

    assert expected == memory.wake_seconds(100.0)
