"""How many writes may be under way at once, shared fairly between keys.

Without it one job of a thousand pods would fill every connection, and a job of one pod would wait for all of them.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Generic

from ganger.runtime.ports import Key, Metrics
from ganger.runtime.silence import NO_METRICS


class Limiter(Generic[Key]):
    """Hands out slots; keys that wait are served in turn, the writes of one key in order. Not thread-safe."""

    def __init__(self, slots: int = 32, *, metrics: Metrics = NO_METRICS) -> None:
        assert slots > 0, f"a limiter of {slots} slots would never let anything through"
        self._slots = slots
        self._in_flight = 0
        self._metrics = metrics
        self._waiting: dict[Key, deque[asyncio.Future[None]]] = {}  # in the order of their turns

    @property
    def in_flight(self) -> int:
        """How many slots are taken."""
        return self._in_flight

    @asynccontextmanager
    async def slot(self, key: Key) -> AsyncIterator[None]:
        """Hold a slot for the body; waits for the key's turn."""
        started = asyncio.get_running_loop().time()
        await self._take(key)
        self._metrics.write_waited(asyncio.get_running_loop().time() - started)
        try:
            yield
        finally:
            self._give()

    async def _take(self, key: Key) -> None:
        if self._in_flight < self._slots:
            self._count(+1)
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give()  # the slot came together with the cancellation
            raise

    def _give(self) -> None:
        while self._waiting:
            key = next(iter(self._waiting))
            turns = self._waiting.pop(key)
            turn = turns.popleft()
            if turns:
                self._waiting[key] = turns  # to the end of the round
            if not turn.done():
                turn.set_result(None)  # the slot goes over as it is
                return
        self._count(-1)

    def _count(self, change: int) -> None:
        self._in_flight += change
        self._metrics.writes_in_flight(self._in_flight)
