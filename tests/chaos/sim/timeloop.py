"""An event loop whose time jumps: when nothing is ready, it is at once the moment of the next timer.

All of `asyncio` reads the time of its loop, so minutes of waiting cost nothing, and the same run takes the same turns.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any


class DeadlockError(RuntimeError):
    """Everything waits for something that can never come: there is no timer left."""


class _Jump(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.time = 1000.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout == 0:
            return []  # there is something to run; what other threads send is heard before time moves
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise DeadlockError("nothing is ready and no timer runs")
            self.time += timeout
        return ready


class TimeLoop(asyncio.SelectorEventLoop):
    """`time` starts at 1000.0 and moves only when everything waits."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.time


class TimeClock:
    """A `runtime.ports.Clock` of the running loop. start: the time of day at which the loop began."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start

    def now(self) -> datetime:
        return self._start + timedelta(seconds=asyncio.get_running_loop().time() - 1000.0)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end in a loop of its own; as `asyncio.run`, in no time."""
    with asyncio.Runner(loop_factory=TimeLoop) as runner:
        return runner.run(main)
