"""Workers that turn keys into passes, and failures into later passes.

One failing key never stops the others: every error ends in a requeue of its own key. What a pass does is unknown here.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic

from ganger.kube.errors import ApiError, Conflict, ServerError, Throttled, Unreachable
from ganger.kube.gate import Fenced
from ganger.runtime.ports import Key, Metrics
from ganger.runtime.queue import Queue, QueueClosed
from ganger.runtime.silence import NO_METRICS

log = logging.getLogger(__name__)
WAITING_SECONDS = 0.25  # the cache's news requeues the key anyway; this is the safety net
RETRY_AFTER_SECONDS_MAX = 60.0
_EXPECTED = (Conflict, ServerError, Unreachable)  # the world's weather: retried without a traceback


class Controller(Generic[Key]):
    """N workers on one queue.

    sync: one pass of a key; returns the seconds until the next pass, or None if only news calls for one.
    ready: asked before a pass; while it says no the key waits (see `runtime.consistency`).
    A key that the server throttled rests as long as it asked, at most 60 s, whatever news comes meanwhile.
    on_error: told (key, error, failures in a row) of errors that are not the world's weather, to report them.
    """

    def __init__(
        self,
        queue: Queue[Key],
        sync: Callable[[Key], Awaitable[float | None]],
        *,
        workers: int = 8,
        sync_timeout: float = 60.0,
        ready: Callable[[Key], bool] = lambda _: True,
        on_error: Callable[[Key, Exception, int], Awaitable[None]] | None = None,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        assert workers > 0, f"{workers} workers would never run a pass"
        self._queue = queue
        self._sync = sync
        self._workers = workers
        self._sync_timeout = sync_timeout
        self._ready = ready
        self._on_error = on_error
        self._metrics = metrics
        self._throttled: dict[Key, float] = {}  # until when the server asked us to leave a key alone

    async def run(self, stopping: asyncio.Event | None = None, *, within: float = 10.0) -> None:
        """Work until cancelled, or until `stopping` is set: then start no more passes and let the running ones end.

        within: seconds for that; what is late is cancelled, as every pass must survive. Cancelled outright, the keys
        under way stay queued, and `run` may be called again. A death that is no Exception ends all and is raised.
        """
        workers = {asyncio.create_task(self._work(), name=f"worker-{n}") for n in range(self._workers)}
        asked = asyncio.create_task((stopping or asyncio.Event()).wait())
        try:
            await asyncio.wait({*workers, asked}, return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                self._queue.close()
                await asyncio.wait(workers, timeout=within, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in (asked, *workers):
                task.cancel()
            await asyncio.wait({asked, *workers})
        for worker in workers:
            if not worker.cancelled():
                worker.result()

    async def _work(self) -> None:
        while True:
            try:
                key = await self._queue.get()
            except QueueClosed:
                return
            try:
                await self._pass(key)
            except asyncio.CancelledError:
                self._queue.add(key)
                raise
            finally:
                self._queue.done(key)

    async def _pass(self, key: Key) -> None:
        started = asyncio.get_running_loop().time()
        result = "waiting"
        try:
            if (rest := self._throttled.get(key, 0.0) - started) > 0:
                self._queue.add(key, after=rest)  # news came, and news is no reason to hurry a server that is busy
                return
            self._throttled.pop(key, None)
            if not self._ready(key):
                self._queue.add(key, after=WAITING_SECONDS)
                return
            async with asyncio.timeout(self._sync_timeout):
                after = await self._sync(key)
            self._queue.forget(key)
            result = "done" if after is None else "requeued"
            if after is not None:
                self._queue.add(key, after=max(after, 0.0))
        except Exception as error:  # noqa: BLE001 - `_failed` tells the kinds apart, and logs
            result = await self._failed(key, error)
        finally:
            self._metrics.reconciled(result, asyncio.get_running_loop().time() - started)

    async def _failed(self, key: Key, error: Exception) -> str:
        if isinstance(error, Fenced):
            # Another process leads, or will: the key stays known in case this one leads again.
            self._queue.retry(key)
            return "fenced"
        if isinstance(error, Throttled):
            delay = min(error.retry_after_seconds or 1.0, RETRY_AFTER_SECONDS_MAX)
            self._throttled[key] = asyncio.get_running_loop().time() + delay
            self._queue.add(key, after=delay)
            return error.label
        delay = self._queue.retry(key)
        if isinstance(error, _EXPECTED):
            log.info("pass of %s met %s, again in %.3f s", key, error, delay)
            return error.label
        log.error("pass of %s failed, again in %.3f s", key, delay, exc_info=error)
        await self._report(key, error)
        if isinstance(error, TimeoutError):
            return "timeout"
        return error.label if isinstance(error, ApiError) else "exception"

    async def _report(self, key: Key, error: Exception) -> None:
        if self._on_error is None:
            return
        try:
            async with asyncio.timeout(self._sync_timeout):
                await self._on_error(key, error, self._queue.failures(key))
        except Exception:
            log.exception("reporting the failure of %s failed", key)
