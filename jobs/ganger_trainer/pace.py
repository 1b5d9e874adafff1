"""How fast the loop goes, at a cost of under a microsecond per step.

Counts stay in this process; a report leaves it once per log interval. Nothing here touches a tensor. The heartbeat
takes the same moments along.
"""

from bisect import bisect_left
from time import perf_counter
from typing import Final

from ganger_trainer import heartbeat
from ganger_trainer.heartbeat import AT, BACKWARD, BUSY, DATA, FIRST, FORWARD, LONGEST, STAGE, STEPS, UPDATE

# Upper bounds in seconds: 0.25 ms doubling to 131 s, so that a step of any size is known within a factor of two.
STEP_BUCKETS: Final = tuple(0.00025 * 2**power for power in range(20))


class Pace:
    """Clock of one rank's loop.

    beat: told of every stage. on_host: the ranks compute where this clock runs. On an accelerator the host only hands
    work over, and waits for other ranks at any call: what it did by itself is then known of the data alone.
    """

    __slots__ = (
        "_beat", "_began", "_busy", "_cells", "_every", "_interval_began", "_interval_global", "_interval_steps",
        "_last", "_log_at", "_longest", "_on_host", "_shared", "_steps", "_updated", "counts", "data_wait", "samples",
        "seconds",
    )  # fmt: skip

    def __init__(
        self, log_every_seconds: float, beat: heartbeat.Heartbeat | None = None, *, on_host: bool = True
    ) -> None:
        now = perf_counter()
        self._beat = beat or heartbeat.Heartbeat()
        self._cells = self._beat.cells
        self._on_host = on_host
        self._every = log_every_seconds
        self._log_at = now  # the first step is logged: it shows that training has begun
        self._last = self._interval_began = self._began = self._shared = self._updated = now
        self._interval_steps = 0
        self._interval_global = 0
        self._steps = 0
        self._busy = self._longest = 0.0
        self.counts = [0] * (len(STEP_BUCKETS) + 1)
        self.data_wait = 0.0
        self.samples = 0
        self.seconds = 0.0

    def fetched(self) -> bool:
        """Note that the batch is there; return True if this step should be logged."""
        now = perf_counter()
        self.data_wait += now - self._last
        self._shared = now
        cells = self._cells
        cells[STAGE] = FORWARD
        cells[AT] = now
        return now >= self._log_at

    def backward(self) -> None:
        """Note that the last backward of the step begins: the part in which ranks wait for each other."""
        now = perf_counter()
        if self._on_host:
            self._shared = now
        cells = self._cells
        cells[STAGE] = BACKWARD
        cells[AT] = now

    def update(self) -> None:
        """Note that the gradients are there."""
        self._updated = now = perf_counter()
        cells = self._cells
        cells[STAGE] = UPDATE
        cells[AT] = now

    def stepped(self, own: int, everyone: int) -> None:
        """Note the end of a step of `own` samples on this rank and `everyone` on all."""
        now = perf_counter()
        seconds = now - self._last
        self._busy += self._shared - self._last + (now - self._updated if self._on_host else 0.0)
        self._last = now
        self.counts[bisect_left(STEP_BUCKETS, seconds)] += 1
        self.seconds += seconds
        self.samples += own
        self._interval_steps += 1
        self._interval_global += everyone
        self._steps += 1
        cells = self._cells
        cells[STEPS] = self._steps
        cells[BUSY] = self._busy
        cells[STAGE] = DATA
        cells[AT] = now
        if seconds > self._longest:
            self._slower(seconds)

    def _slower(self, seconds: float) -> None:
        """Remember the longest step; the first, which compiles, apart from the others."""
        if self._steps == 1:
            self._cells[FIRST] = seconds
        else:
            self._longest = seconds
            self._cells[LONGEST] = max(self._cells[LONGEST], seconds)

    def resumed(self) -> None:
        """Start the clock of the next step now: an evaluation or a checkpoint is not part of a step."""
        self._beat.enter(DATA)
        self._last = perf_counter()

    def step_seconds(self) -> float:
        """Return the mean duration of the steps of this interval, 0.0 before the first."""
        return (self._last - self._interval_began) / self._interval_steps if self._interval_steps else 0.0

    def logged(self) -> float:
        """Return samples per second of all ranks over the interval that ends now, and begin the next one.

        Called once the device has been waited for, and with it the other ranks: that was no work of this rank's own.
        """
        self._busy -= perf_counter() - self._last
        rate = self._interval_global / max(self._last - self._interval_began, 1e-9)
        self._interval_began = self._last
        self._interval_steps = self._interval_global = 0
        self._log_at = self._last + self._every
        return rate
