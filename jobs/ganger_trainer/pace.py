"""How fast the loop goes, at a cost of under a microsecond per step.

Counts stay in this process; a report leaves it once per log interval. Nothing here touches a tensor.
"""

import time
from bisect import bisect_left
from typing import Final

# Upper bounds in seconds: 0.25 ms doubling to 131 s, so that a step of any size is known within a factor of two.
STEP_BUCKETS: Final = tuple(0.00025 * 2**power for power in range(20))


class Pace:
    """Clock of one rank's loop. `due` is True from the moment a line should be logged."""

    __slots__ = (
        "_began", "_every", "_interval_began", "_interval_global", "_interval_steps", "_last", "_log_at",
        "counts", "data_wait", "samples", "seconds",
    )  # fmt: skip

    def __init__(self, log_every_seconds: float) -> None:
        now = time.perf_counter()
        self._every = log_every_seconds
        self._log_at = now  # the first step is logged: it shows that training has begun
        self._last = self._interval_began = self._began = now
        self._interval_steps = 0
        self._interval_global = 0
        self.counts = [0] * (len(STEP_BUCKETS) + 1)
        self.data_wait = 0.0
        self.samples = 0
        self.seconds = 0.0

    def fetched(self) -> bool:
        """Note that the batch is there; return True if this step should be logged."""
        now = time.perf_counter()
        self.data_wait += now - self._last
        return now >= self._log_at

    def stepped(self, own: int, everyone: int) -> None:
        """Note the end of a step of `own` samples on this rank and `everyone` on all."""
        now = time.perf_counter()
        seconds = now - self._last
        self._last = now
        self.counts[bisect_left(STEP_BUCKETS, seconds)] += 1
        self.seconds += seconds
        self.samples += own
        self._interval_steps += 1
        self._interval_global += everyone

    def resumed(self) -> None:
        """Start the clock of the next step now: an evaluation or a checkpoint is not part of a step."""
        self._last = time.perf_counter()

    def step_seconds(self) -> float:
        """Return the mean duration of the steps of this interval, 0.0 before the first."""
        return (self._last - self._interval_began) / self._interval_steps if self._interval_steps else 0.0

    def logged(self) -> float:
        """Return samples per second of all ranks over the interval that ends now, and begin the next one."""
        rate = self._interval_global / max(self._last - self._interval_began, 1e-9)
        self._interval_began = self._last
        self._interval_steps = self._interval_global = 0
        self._log_at = self._last + self._every
        return rate
