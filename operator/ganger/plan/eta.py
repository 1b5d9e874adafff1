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
_RECENT_GAPS = 5  # of the pace that is shown
_LEAST = 0.02  # relative half-width
_UNSURE = 0.6  # relative half-width after one interval; falls with the root of their number
_TRIALS = 20
_PARTS = (0.5, 0.25)  # of the past, besides all of it
_CLEARLY = 0.6  # the errors of a shorter past over those of a longer one
_WITHIN = 0.8  # share of trials that the interval holds
_Z = 1.28  # of a normal distribution: 80 % lie within
_PRIOR_SECONDS = 600.0  # of training without a restart, that every job is credited with: one early one proves little
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
    too_long = max(_INTERRUPTION_SECONDS, _INTERRUPTION_TIMES * pace.longest)
    if attempt > pace.attempt or step < pace.step:
        suspended = attempt == pace.attempt and gap > too_long
        return Pace(
            seconds=pace.seconds,
            steps=pace.steps,
            at=at,
            step=step,
            attempt=attempt,
            restarts=pace.restarts + 1,
            redone_steps=pace.redone_steps + max(0, pace.step - step),
            restart_seconds=pace.restart_seconds + (0.0 if suspended else max(0.0, gap)),
            longest=pace.longest,
        )
    done = step - pace.step
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
    share, error = _best(pace, left)
    step_seconds = _forecast(pace, newest, share)
    rest = left * step_seconds
    spread = max(_LEAST, math.hypot(error, _UNSURE / newest))
    restarts = pace.restarts * rest / (pace.seconds[-1] + _PRIOR_SECONDS)
    deviation = _Z * math.sqrt(restarts)
    interruption = (pace.restart_seconds + pace.redone_steps * step_seconds) / pace.restarts if pace.restarts else 0.0
    latest = rest * math.exp(spread) + (restarts + deviation) * interruption
    if latest > _SECONDS_MAX:
        return None
    earliest = rest * math.exp(-spread) + max(0.0, restarts - deviation) * interruption
    expected = rest + max(0.0, restarts - 0.5) * interruption
    # A silence up to the longest one before is part of the pace. Beyond that nobody knows: at the latest as long again.
    silence = max(0.0, (now - pace.at).total_seconds()) if step <= pace.step else 0.0
    past, overdue = min(silence, pace.longest), max(0.0, silence - pace.longest)
    left_seconds = max(0.0, expected - past)
    return Estimate(
        expected=now + timedelta(seconds=left_seconds),
        earliest=now + timedelta(seconds=max(0.0, min(earliest - past, left_seconds * (1 - _LEAST)))),
        latest=now + timedelta(seconds=max(latest - past + overdue, left_seconds * (1 + _LEAST))),
        step_seconds=_mean(pace, max(0, newest - _RECENT_GAPS), newest),
    )


def _mean(pace: Pace, begin: int, end: int) -> float:
    """Return seconds per step between two marks, 0.0 between a mark and itself."""
    steps = pace.steps[end] - pace.steps[begin]
    return (pace.seconds[end] - pace.seconds[begin]) / steps if steps else 0.0


def _forecast(pace: Pace, mark: int, share: float) -> float:
    """Return the seconds per step that were expected after that mark, from the newest `share` of the time before it."""
    since = pace.seconds[mark] - share * (pace.seconds[mark] - pace.seconds[0])
    return _mean(pace, min(bisect_left(pace.seconds, since, 0, mark), mark - 1), mark)


def _errors(pace: Pace, left: int, share: float) -> list[float]:
    """Return how wrong such forecasts at earlier marks were about the next `left` steps: |log| of the ratio, sorted."""
    newest = len(pace.steps) - 1
    stride = max(1, newest // _TRIALS)
    errors = []
    for mark in range(stride, newest, stride):
        end = min(newest, bisect_left(pace.steps, pace.steps[mark] + left, mark + 1))
        was, said = _mean(pace, mark, end), _forecast(pace, mark, share)
        if was > 0 and said > 0:
            errors.append(abs(math.log(was / said)))
    return sorted(errors)


def _best(pace: Pace, left: int) -> tuple[float, float]:
    """Return which share of the past to forecast from, and the relative half-width that held 80 % of its trials.

    The whole past averages best over noise and over pauses that come again. A newer part of it is taken where that
    would have served clearly better, as after a slow beginning or when the speed has changed for good.
    """
    share, errors = 1.0, _errors(pace, left, 1.0)
    for part in _PARTS:
        other = _errors(pace, left, part)
        if sum(other) < _CLEARLY * sum(errors):
            share, errors = part, other
    return share, errors[min(len(errors) - 1, int(_WITHIN * len(errors)))] if errors else 0.0
