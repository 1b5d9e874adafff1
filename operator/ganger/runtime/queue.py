"""Which keys want a pass, each at most once, in the order in which they came due.

A key that is added while its pass runs gets exactly one more pass afterwards: two passes of one key never overlap, and
no news is lost. Semantics of client-go's workqueue, for one event loop; not thread-safe.
"""

import asyncio
import heapq
import itertools
import random
from collections import deque
from typing import Generic

from ganger.runtime.backoff import Backoff
from ganger.runtime.ports import Key, Metrics
from ganger.runtime.silence import NO_METRICS

RETRY_BASE_SECONDS = 0.005
RETRY_CAP_SECONDS = 1000.0


class QueueClosed(Exception):  # noqa: N818 - the end of work, not a failure
    """The queue hands out nothing any more."""


class Queue(Generic[Key]):
    """A fair queue of keys."""

    def __init__(self, *, metrics: Metrics = NO_METRICS, rng: random.Random | None = None) -> None:
        self._metrics = metrics
        self._rng = rng or random.Random()  # noqa: S311 - spreads retries, guards nothing
        self._ready: deque[Key] = deque()
        self._due: dict[Key, float] = {}  # waiting in `_ready`, and since when
        self._running: set[Key] = set()
        self._again: set[Key] = set()  # added while running
        self._delayed: list[tuple[float, int, Key]] = []  # a heap; entries that `_when` does not confirm are dead
        self._when: dict[Key, float] = {}
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._backoffs: dict[Key, Backoff] = {}
        self._takers: deque[asyncio.Future[None]] = deque()
        self._closed = False

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: Key, *, after: float = 0.0) -> None:
        """Ask for a pass, at once or after so many seconds; of several delays the earliest wins."""
        if self._closed:
            return
        if after > 0:
            self._delay(key, asyncio.get_running_loop().time() + after)
            return
        self._when.pop(key, None)
        if key in self._running:
            self._again.add(key)
        elif key not in self._due:
            self._due[key] = asyncio.get_running_loop().time()
            self._ready.append(key)
            self._metrics.queue_depth(len(self._ready))
            self._wake_one()

    def retry(self, key: Key) -> float:
        """Ask for a pass after a failure and return the delay: 5 ms, doubled up to 1000 s, until `forget`."""
        backoff = self._backoffs.get(key)
        if backoff is None:
            backoff = Backoff(base=RETRY_BASE_SECONDS, cap=RETRY_CAP_SECONDS, rng=self._rng)
            self._backoffs[key] = backoff
        delay = backoff.next()
        self._metrics.queue_retried()
        self.add(key, after=delay)
        return delay

    def forget(self, key: Key) -> None:
        """Let the next retry of the key start from 5 ms again."""
        self._backoffs.pop(key, None)

    def failures(self, key: Key) -> int:
        """Return how often the key was retried since it was last forgotten."""
        backoff = self._backoffs.get(key)
        return backoff.failures if backoff else 0

    async def get(self) -> Key:
        """Return the key that has been due longest; `done` must follow. Raises QueueClosed."""
        while not self._ready:
            if self._closed:
                raise QueueClosed
            taker = asyncio.get_running_loop().create_future()
            self._takers.append(taker)
            try:
                await taker
            except asyncio.CancelledError:
                # The wake-up may have come together with the cancellation: hand it on, or a key would lie there unseen.
                if taker.done() and not taker.cancelled():
                    self._wake_one()
                raise
            finally:
                if taker in self._takers:
                    self._takers.remove(taker)
        if self._closed:
            raise QueueClosed
        key = self._ready.popleft()
        self._running.add(key)
        self._metrics.queue_waited(asyncio.get_running_loop().time() - self._due.pop(key))
        self._metrics.queue_depth(len(self._ready))
        return key

    def done(self, key: Key) -> None:
        """Say that the pass of the key is over; it is handed out again if it was added meanwhile."""
        self._running.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def close(self) -> None:
        """Hand out nothing any more, and let every `get` raise QueueClosed."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for taker in self._takers:
            if not taker.done():
                taker.set_result(None)

    def _wake_one(self) -> None:
        while self._takers:
            taker = self._takers.popleft()
            if not taker.done():
                taker.set_result(None)
                return

    def _delay(self, key: Key, when: float) -> None:
        if self._when.get(key, when + 1) <= when or key in self._due:
            return
        if len(self._delayed) > 2 * len(self._when) + 64:  # mostly dead entries of keys that came earlier
            self._delayed = [entry for entry in self._delayed if self._when.get(entry[2]) == entry[0]]
            heapq.heapify(self._delayed)
        self._when[key] = when
        heapq.heappush(self._delayed, (when, next(self._order), key))
        if self._delayed[0][2] == key:
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._delayed and self._when.get(self._delayed[0][2]) != self._delayed[0][0]:
            heapq.heappop(self._delayed)
        if self._delayed and not self._closed:
            self._timer = asyncio.get_running_loop().call_at(self._delayed[0][0], self._fire)

    def _fire(self) -> None:
        now = asyncio.get_running_loop().time()
        self._timer = None
        while self._delayed and self._delayed[0][0] <= now + 0.0005:  # the loop's own resolution
            when, _, key = heapq.heappop(self._delayed)
            if self._when.get(key) == when:
                self.add(key)
        self._arm()
