"""When the last step is expected: from the steps that a job has done to an interval that holds 80 % of ends.

The pace is seconds per step with everything in it that comes again: checkpoints, evaluations, waits for data. Restarts
are apart: the time from the last step of an attempt to the first of the next, and the steps that are done twice, make a
rate of their own. How far to trust the pace is asked of the past: at earlier moments, how wrong was it about what came?
"""

import math
from bisect import bisect_left
from datetime import datetime, timedelta

from msgspec import Struct

MARKS_MAX = 120
_RECENT = 60  # the newest marks are never thinned
_LEAST = 0.02  # relative half-width
_UNSURE = 0.6  # relative half-width after one interval; falls with the root of their number
_TRIALS = 20
_WITHIN = 0.8  # share of trials that the interval holds
_Z = 1.28  # of a normal distribution: 80 % lie within
_INTERRUPTION_SECONDS = 600.0
_INTERRUPTION_TIMES = 20.0
_SECONDS_MAX = 1e9  # a farther end is no estimate


class Estimate(Struct, frozen=True, kw_only=True):
    """When the last step is expected, and the interval that holds 80 % of ends. step_seconds: the recent pace."""

    expected: datetime
    earliest: datetime
    latest: datetime
    step_seconds: float


class Pace(Struct, frozen=True, kw_only=True):
    """What is known of a job's speed, at most MARKS_MAX marks of it; older ones are farther apart.

    seconds, steps: of each mark, counted over all attempts without the time between two of them; both grow.
    at, step, attempt: the newest mark as it was observed. restarts, redone_steps, restart_seconds: their number, the
    steps done twice, the time from the last step before to the first after. longest: between two marks, in seconds.
    """

    seconds: tuple[float, ...] = ()
    steps: tuple[int, ...] = ()
    at: datetime | None = None
    step: int = 0
    attempt: int = 0
    restarts: int = 0
    redone_steps: int = 0
    restart_seconds: float = 0.0
    longest: float = 0.0


def observe(pace: Pace, at: datetime, step: int, attempt: int) -> Pace:
    """Return the pace with one more mark: `step` was first known to be done at `at`.

    A step that is known already, or a word of an older attempt, changes nothing. A lower step or a higher attempt is a
    restart. A clock that steps back costs no accuracy but that of one mark; a silence out of all proportion, such as a
    suspension or a clock that was set forward, is left out.
    """
    if pace.at is None:
        return Pace(seconds=(0.0,), steps=(0,), at=at, step=step, attempt=attempt)
    if attempt < pace.attempt or (attempt == pace.attempt and step == pace.step):
        return pace
    gap = (at - pace.at).total_seconds()
    if attempt > pace.attempt or step < pace.step:
        return Pace(
            seconds=pace.seconds,
            steps=pace.steps,
            at=at,
            step=step,
            attempt=attempt,
            restarts=pace.restarts + 1,
            redone_steps=pace.redone_steps + max(0, pace.step - step),
            restart_seconds=pace.restart_seconds + max(0.0, gap),
            longest=pace.longest,
        )
    done = step - pace.step
    too_long = max(_INTERRUPTION_SECONDS, _INTERRUPTION_TIMES * pace.longest)
    if gap <= 0 or (gap > too_long and pace.longest > 0):
        gap = done * _mean(pace, 0, len(pace.steps) - 1)
    seconds, steps = (*pace.seconds, pace.seconds[-1] + gap), (*pace.steps, pace.steps[-1] + done)
    if len(steps) > MARKS_MAX:
        seconds = seconds[:-_RECENT:2] + seconds[-_RECENT:]
        steps = steps[:-_RECENT:2] + steps[-_RECENT:]
    return Pace(
        seconds=seconds,
        steps=steps,
        at=at,
        step=step,
        attempt=attempt,
        restarts=pace.restarts,
        redone_steps=pace.redone_steps,
        restart_seconds=pace.restart_seconds,
        longest=max(pace.longest, gap),
    )


def estimate(pace: Pace, step: int, total_steps: int, now: datetime) -> Estimate | None:
    """Return when step `total_steps` is expected after `step`, or None: before two marks, and when nothing is left.

    The interval is never narrower than 2 % of the remaining time to either side, wider after few marks, and as wide as
    the pace was wrong about its own future.
    """
    left, newest = total_steps - step, len(pace.steps) - 1
    if pace.at is None or newest < 1 or left <= 0 or pace.seconds[-1] <= 0:
        return None
    step_seconds = _forecast(pace, newest, left)
    rest = left * step_seconds
    # What was observed covers a part of the rest, and so does a silence that is not longer than any before.
    begin = max(min(pace.at, now), now - timedelta(seconds=pace.longest)) if step <= pace.step else now
    spread = max(_LEAST, math.hypot(_error(pace, left), _UNSURE / newest))
    interruption = (pace.restart_seconds + pace.redone_steps * step_seconds) / pace.restarts if pace.restarts else 0.0
    expected_restarts = pace.restarts * rest / pace.seconds[-1]
    deviation = _Z * math.sqrt(expected_restarts)
    latest = rest * math.exp(spread) + (expected_restarts + deviation) * interruption
    if latest > _SECONDS_MAX:
        return None
    earliest = rest * math.exp(-spread) + max(0.0, expected_restarts - deviation) * interruption
    expected = rest + max(0.0, expected_restarts - 0.5) * interruption
    return Estimate(
        expected=begin + timedelta(seconds=expected),
        earliest=begin + timedelta(seconds=min(earliest, expected * (1 - _LEAST))),
        latest=begin + timedelta(seconds=max(latest, expected * (1 + _LEAST))),
        step_seconds=_mean(pace, max(0, newest - 5), newest),
    )


def _mean(pace: Pace, begin: int, end: int) -> float:
    """Return seconds per step between two marks, 0.0 between a mark and itself."""
    steps = pace.steps[end] - pace.steps[begin]
    return (pace.seconds[end] - pace.seconds[begin]) / steps if steps else 0.0


def _forecast(pace: Pace, mark: int, left: int) -> float:
    """Return the seconds per step that were expected of `left` steps after that mark: those of as many before it."""
    want = max(left, (pace.steps[mark] - pace.steps[0]) // 3)
    begin = bisect_left(pace.steps, pace.steps[mark] - want, 0, mark)
    return _mean(pace, min(begin, mark - 1), mark)


def _error(pace: Pace, left: int) -> float:
    """Return how wrong the forecasts at earlier marks were about the next steps, as a relative half-width."""
    newest = len(pace.steps) - 1
    errors = []
    for mark in range(max(1, newest // _TRIALS), newest, max(1, newest // _TRIALS)):
        end = min(newest, bisect_left(pace.steps, pace.steps[mark] + left, mark + 1))
        was, said = _mean(pace, mark, end), _forecast(pace, mark, pace.steps[end] - pace.steps[mark])
        if was > 0 and said > 0:
            errors.append(abs(math.log(was / said)))
    errors.sort()
    return errors[min(len(errors) - 1, int(_WITHIN * len(errors)))] if errors else 0.0
