"""The operator's clocks: the API server's time of day, and seconds that never step."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

# Counts while the machine sleeps, as CLOCK_MONOTONIC does not: a leader that was suspended must not wake up leading.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class ServerClock:
    """Tells the API server's time of day by our own clock and the offset between the two, as last measured."""

    def __init__(self, offset_seconds: Callable[[], float] = lambda: 0.0) -> None:
        self._offset_seconds = offset_seconds

    def now(self) -> datetime:
        """Return the API server's time in UTC."""
        return datetime.now(UTC) + timedelta(seconds=self._offset_seconds())

    def monotonic(self) -> float:
        """Return seconds since the machine started, its sleep included."""
        return time.clock_gettime(_STEADY)
