"""When a job ends, as its steps foretell it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import at
from ganger.plan.eta import MARKS_MAX, Pace, estimate, observe

TOTAL = 10_000


def seen(*marks):
    """A pace after marks of (second, step) or (second, step, attempt)."""
    pace = Pace()
    for second, step, *attempt in marks:
        pace = observe(pace, at(second), step, attempt[0] if attempt else 0)
    return pace


def steady(until, *, every=5, rate=2, begin=0, step=0, attempt=0):
    """Marks of a job that does `rate` steps a second."""
    return [(begin + second, step + rate * second, attempt) for second in range(0, until + 1, every)]


def asked(pace, second, *, total=TOTAL):
    """Seconds from then to the expected, the earliest and the latest end."""
    said = estimate(pace, pace.step, total, at(second))
    return tuple((end - at(second)).total_seconds() for end in (said.expected, said.earliest, said.latest))


def test_one_mark_tells_nothing():
    assert estimate(Pace(), 0, TOTAL, at(5)) is None
    assert estimate(seen((5, 10)), 10, TOTAL, at(5)) is None


def test_after_the_last_step_there_is_nothing_to_expect():
    assert estimate(seen((0, 0), (5, TOTAL)), TOTAL, TOTAL, at(5)) is None


def test_steady_job_ends_when_its_steps_are_done():
    pace = seen(*steady(500))

    expected, earliest, latest = asked(pace, 500)

    assert 4500 == expected
    assert 0.5 == estimate(pace, 1000, TOTAL, at(500)).step_seconds
    assert 0.98 * 4500 >= earliest >= 0.97 * 4500
    assert 1.02 * 4500 <= latest <= 1.03 * 4500


def test_time_since_the_newest_mark_has_passed():
    pace = seen(*steady(500))

    assert 4497 == asked(pace, 503)[0]


def test_few_marks_are_trusted_less():
    (_, few_from, few_to), (_, from_, to) = asked(seen(*steady(10)), 10), asked(seen(*steady(500)), 500)

    assert few_to - few_from > 5 * (to - from_)


def test_more_time_left_is_a_wider_interval():
    near, far = (asked(seen(*steady(500)), 500, total=total) for total in (2_000, 20_000))

    assert far[2] - far[1] > 10 * (near[2] - near[1])


def test_pauses_that_come_again_are_part_of_the_pace():
    # 50 steps in 25 s, then a checkpoint of 10 s: 0.7 s for each step.
    marks = [(35 * block + 5 * part, 50 * block + 10 * part) for block in range(20) for part in range(1, 6)]
    pace = seen(*marks)

    expected, earliest, latest = asked(pace, marks[-1][0])

    assert 0.7 * 9000 == pytest.approx(expected, rel=0.03)
    assert earliest < 0.7 * 9000 < latest


def test_slow_beginning_is_forgotten():
    # Five minutes of compiling for ten steps, then half an hour at two steps a second.
    pace = seen((0, 0), (300, 10), *steady(1800, begin=305, step=20))

    assert (TOTAL - 3620) / 2 == pytest.approx(asked(pace, 2105)[0], rel=0.1)


def test_job_that_has_become_slower_is_expected_later_and_less_surely():
    pace = seen(*steady(500), *steady(2500, begin=505, step=1001, rate=1))

    expected, _, latest = asked(pace, 3005)

    assert expected > 0.85 * (TOTAL - 3501)
    assert latest > TOTAL - 3501


def test_restart_costs_its_time_once_and_makes_the_end_less_sure():
    # At step 1000 the job dies; 60 s later it goes on at step 800.
    calm = seen(*steady(3000, rate=1))
    broken = seen(*steady(1000, rate=1), *steady(2200, rate=1, begin=1060, step=800, attempt=1))

    (expected, _, latest), (_, _, calm_latest) = asked(broken, 3260), asked(calm, 3000)

    assert (1, 200, 60.0) == (broken.restarts, broken.redone_steps, broken.restart_seconds)
    # 2 more restarts of 260 s are expected in the 7000 s that are left.
    assert 7000 < expected < 7000 + 2 * 260
    assert latest > calm_latest + 260


def test_one_early_restart_does_not_foretell_thousands():
    pace = seen((0, 0), (1, 1), (11, 1, 1), *steady(500, begin=12, step=2, attempt=1))

    assert asked(pace, 512, total=1_000_000)[0] < 1.05 * 499_500


def test_step_that_goes_back_is_a_restart_even_in_the_same_attempt():
    assert 1 == seen((0, 0), (5, 10), (10, 4)).restarts


def test_older_attempt_and_known_step_say_nothing_new():
    pace = seen(*steady(50, attempt=1))

    assert pace == observe(pace, at(55), 500, 0)
    assert pace == observe(pace, at(55), 100, 1)


def test_clock_that_steps_back_does_not_spoil_the_pace():
    pace = seen(*steady(250), *steady(250, begin=-3600, step=502))

    assert (TOTAL - 1002) / 2 == pytest.approx(asked(pace, -3350)[0], rel=0.01)


def test_clock_that_steps_back_under_an_estimate_is_no_progress():
    assert 4500 == asked(seen(*steady(500)), -3600)[0]


def test_suspension_is_not_part_of_the_pace():
    pace = seen(*steady(250), *steady(250, begin=90_000, step=502))

    assert (TOTAL - 1002) / 2 == pytest.approx(asked(pace, 90_250)[0], rel=0.01)


def test_suspension_that_cost_steps_does_not_foretell_another():
    pace = seen(*steady(250), *steady(250, begin=90_000, step=400))

    assert (1, 100, 0.0) == (pace.restarts, pace.redone_steps, pace.restart_seconds)


def test_long_silence_moves_the_end_and_opens_the_interval():
    pace = seen(*steady(500))

    (expected, earliest, latest), late = asked(pace, 1500), asked(pace, 500)

    assert late[0] - 5 == expected
    assert latest > late[2] + 900
    assert earliest < expected


def test_end_is_never_expected_in_the_past():
    expected, earliest, latest = asked(seen(*steady(500)), 900, total=1001)

    assert (0, 0) == (expected, earliest)
    assert latest > 300


def test_memory_is_bounded_and_keeps_the_beginning():
    pace = seen(*steady(50_000))

    assert MARKS_MAX >= len(pace.steps) == len(pace.seconds)
    assert (0, 100_000) == (pace.steps[0], pace.steps[-1])
    assert 5 == pace.seconds[-1] - pace.seconds[-2]


def test_end_beyond_any_calendar_is_no_estimate():
    assert estimate(seen(*steady(500)), 1000, 2**53, at(500)) is None


MARKS = st.lists(
    st.tuples(st.floats(-1e5, 1e6), st.integers(0, 2**53), st.integers(0, 3)), min_size=1, max_size=2 * MARKS_MAX
)


@given(MARKS, st.integers(0, 2**53), st.integers(0, 2**53), st.floats(-1e5, 1e6))
def test_whatever_was_observed_the_interval_holds_the_expected_end(marks, step, total, second):
    pace = seen(*marks)

    said = estimate(pace, step, total, at(second))

    assert MARKS_MAX >= len(pace.steps)
    assert list(pace.seconds) == sorted(pace.seconds)
    if said is not None:
        left = (said.expected - at(second)).total_seconds()
        assert at(second) <= said.earliest <= said.expected <= said.latest
        assert (said.latest - said.expected).total_seconds() >= 0.02 * left - 1e-5
        assert (said.expected - said.earliest).total_seconds() >= 0.02 * left - 1e-5
        assert math.isfinite(said.step_seconds)
        assert 0 <= said.step_seconds
