"""Keeps a cache equal to the server: list, watch, and list again whenever the stream cannot be trusted.

It never skips what it cannot read, never gives up, and never hurries: every failure waits longer than the one before.
The stock informer of the client library does none of the three. It knows nothing of what the objects mean.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from msgspec import Raw

from ganger.kube.cluster import Cluster
from ganger.kube.errors import ApiError, Gone, NotFound, Unreachable, from_status
from ganger.kube.resources import Resource
from ganger.runtime import wire
from ganger.runtime.backoff import Backoff
from ganger.runtime.cache import Cache, Undecodable
from ganger.runtime.ports import KubernetesObject, Metrics
from ganger.runtime.silence import NO_METRICS

log = logging.getLogger(__name__)
T = TypeVar("T", bound=KubernetesObject)
STALLED_AFTER_READ_TIMEOUTS = 3
RETRY_AFTER_SECONDS_MAX = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """Seconds. The server sends a bookmark each minute, so silence of 75 s means a dead connection."""

    read_timeout: float = 75.0
    watch_min: float = 300.0
    watch_max: float = 600.0
    backoff_base: float = 0.1
    backoff_cap: float = 30.0
    healthy: float = 60.0  # a session that lived so long starts the back-off anew
    brief: float = 1.0  # a stream that closed sooner, without a word, counts as a failure
    resync: float = 600.0
    page: int = 500


class _Regressed(Exception):  # noqa: N818 - a state of the stream
    """The server's resourceVersion went back."""


class Reflector(Generic[T]):
    """Feeds one cache from one resource type, in one namespace or in all ("").

    decode: makes an object of its JSON, where the type alone does not say how; raises msgspec.ValidationError.
    returned: called when the server accepts a watch again after a connection to it was lost or refused.
    unserved: called at each answer that there is no such resource.
    """

    def __init__(
        self,
        cluster: Cluster,
        resource: Resource,
        kind: type[T],
        cache: Cache[T],
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        timing: Timing | None = None,
        metrics: Metrics = NO_METRICS,
        rng: random.Random | None = None,
        returned: Callable[[], None] = lambda: None,
        unserved: Callable[[], None] = lambda: None,
        decode: Callable[[Raw | bytes], T] | None = None,
    ) -> None:
        self.resource = resource
        self.namespace = namespace
        self.cache = cache
        self._cluster = cluster
        self._codec = wire.Codec(kind, decode)
        self._labels = label_selector
        self._fields = field_selector
        self._timing = timing or Timing()
        self._metrics = metrics
        self._rng = rng or random.Random()  # noqa: S311 - spreads time-outs, guards nothing
        self._returned = returned
        self._unserved = unserved
        self._backoff = Backoff(base=self._timing.backoff_base, cap=self._timing.backoff_cap, rng=self._rng)
        self._synced = asyncio.Event()
        self._version = 0
        self._must_list = True
        self._has_regressed = False  # seen by the watch, so that the list after it does not count it again
        self._deadline: asyncio.Timeout | None = None
        self._lines = 0
        self._beat = 0.0
        self._resync_at = 0.0
        self._trouble = ""
        self._has_watched = False
        self._was_away = False  # whether a connection was lost or refused since the last watch was open
        self._wake = asyncio.Event()  # ends a pause

    # --- for health and for the runtime ---------------------------------------------------------------------------
    @property
    def has_synced(self) -> bool:
        """Whether the first list is in."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Return once the first list is in."""
        await self._synced.wait()

    @property
    def trouble(self) -> str:
        """One short sentence until the first watch is open, and while the server answers other than it should, else "".

        For readiness. A list alone is not enough: right after a CustomResourceDefinition is made, the API server may
        answer lists and refuse watches with 429 for seconds, and news would come that late. A stream that only broke
        is no trouble: it is opened again from where it was.
        """
        plural = self.resource.plural
        if not self.has_synced:
            return self._trouble or f"the list of {plural} is not in yet"
        return self._trouble or ("" if self._has_watched else f"the watch of {plural} is not open yet")

    @property
    def is_stalled(self) -> bool:
        """Whether the loop itself stopped turning; for liveness. An API server that is down does not count."""
        silence = asyncio.get_running_loop().time() - self._beat
        return self._beat > 0 and silence > STALLED_AFTER_READ_TIMEOUTS * self._timing.read_timeout

    def relist(self) -> None:
        """End the current watch and list from the server."""
        if self._must_list:
            return
        self._must_list = True
        if self._deadline is not None:
            self._deadline.reschedule(asyncio.get_running_loop().time())

    def hurry(self) -> None:
        """End the pause before the next try, and wait but briefly after it, if the server was away and was met again.

        A server that has just started refuses some things for seconds.
        """
        if self._was_away:
            self._backoff.reset()
            self._wake.set()

    # --- the loop -------------------------------------------------------------------------------------------------
    async def run(self) -> None:
        """Reflect until cancelled."""
        loop = asyncio.get_running_loop()
        self._resync_at = loop.time() + self._timing.resync
        while True:
            self._beat = started = loop.time()
            self._lines = 0
            self._wake.clear()  # here, so that who meets the server during a session that fails is heard
            delay = await self._session()
            if loop.time() - started >= self._timing.healthy:
                self._backoff.reset()
            self._beat = loop.time()
            # Not wait_for: before Python 3.12 it swallows a cancellation that comes together with the wake-up.
            with suppress(TimeoutError):
                async with asyncio.timeout(delay if delay is not None else self._backoff.next()):
                    await self._wake.wait()

    async def _session(self) -> float | None:
        """List if need be, watch to the end, and return the pause to make: None means that of a failure."""
        started = asyncio.get_running_loop().time()
        try:
            if self._was_away and not self._must_list:
                await self._check_version()
            if self._must_list:
                await self._list()
            await self._watch()
        except Gone:
            return self._end("gone", relist=True, pause=0.0 if self._backoff.failures == 0 else None)
        except wire.Torn as torn:
            log.warning("the stream of %s is torn, listing anew: %s", self.resource.plural, torn)
            return self._end("torn", relist=True, trouble="sent what is not JSON")
        except _Regressed:
            return self._end("regressed", relist=True)
        except TimeoutError:
            return self._end("relist" if self._must_list else "stalled")
        except ApiError as error:
            # An answer in words breaks the stream's promise; a lost connection does not, so that one resumes.
            # Also after a stream that broke: the next try may meet a server that was restored meanwhile.
            self._was_away = self._was_away or isinstance(error, Unreachable)
            if isinstance(error, NotFound):
                self._unserved()
            pause = min(error.retry_after_seconds, RETRY_AFTER_SECONDS_MAX) if error.retry_after_seconds else None
            return self._end(error.label, trouble=f"answered {error.status} {error.reason}", pause=pause)
        except Exception:
            log.exception("reflecting %s failed", self.resource.plural)
            return self._end("bug", relist=True, trouble="met an error of ours")
        lived = asyncio.get_running_loop().time() - started
        return self._end("closed", pause=self._timing.backoff_base * self._rng.random() if self._lived(lived) else None)

    def _lived(self, seconds: float) -> bool:
        return seconds >= self._timing.brief or self._lines > 0

    def _end(self, reason: str, *, relist: bool = False, trouble: str = "", pause: float | None = None) -> float | None:
        self._metrics.watch_ended(self.resource.plural, reason)
        self._must_list = self._must_list or relist
        if trouble:
            self._trouble = f"{self.resource.plural}: the API server {trouble}"
        if pause is not None and reason == "gone":
            self._backoff.next()  # a second one in a row waits
        return pause

    async def _list(self) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        objects, version = await self._pages()
        if version < self._version and not self._has_regressed:
            self._regress(version)
        self._version = version
        self._has_regressed = self._must_list = False
        self._trouble = ""
        self.cache.replace(objects, scope=self.namespace, version=version)
        self._synced.set()
        self._metrics.listed(self.resource.plural, loop.time() - started)
        self._count()

    async def _pages(self) -> tuple[list[T | Undecodable], int]:
        try:
            return await self._pages_of(self._timing.page)
        except Gone:
            return await self._pages_of(0)  # the continue token grew too old: the list is too slow for pages

    async def _pages_of(self, limit: int) -> tuple[list[T | Undecodable], int]:
        objects: list[T | Undecodable] = []
        continue_ = ""
        while True:
            self._beat = asyncio.get_running_loop().time()
            page = await self._page(limit, continue_)
            objects += page.objects
            continue_ = page.continue_
            if not continue_:
                return objects, page.version

    async def _page(self, limit: int, continue_: str = "") -> wire.Page[T]:
        body = await self._cluster.list(
            self.resource,
            self.namespace or None,
            label_selector=self._labels,
            field_selector=self._fields,
            limit=limit,
            continue_=continue_,
        )
        return self._codec.page(body)

    async def _check_version(self) -> None:
        """Look whether a server that was away came back with an older version, as after a restore of etcd.

        It accepts a watch from the future, and is silent until it gets there; only its next bookmark would tell.
        """
        version = (await self._page(1)).version
        if version < self._version:
            self._regress(version)
            self._has_regressed = self._must_list = True

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        lines = self._cluster.watch(
            self.resource,
            self.namespace or None,
            label_selector=self._labels,
            field_selector=self._fields,
            resource_version=str(self._version),
            timeout_seconds=int(self._rng.uniform(self._timing.watch_min, self._timing.watch_max)),
        )
        try:
            async with asyncio.timeout(self._timing.read_timeout) as self._deadline:
                async for line in lines:
                    self._beat = loop.time()
                    if not self._must_list:
                        self._deadline.reschedule(self._beat + self._timing.read_timeout)
                    self._trouble = ""
                    self._has_watched = True
                    if self._was_away:
                        self._was_away = False
                        self._returned()
                    if line:
                        self._take(line)
                    self._resync()
        finally:
            self._deadline = None
            close = getattr(lines, "aclose", None)
            if close is not None:
                await close()

    def _take(self, line: bytes) -> None:
        event = wire.event(line)
        plural = self.resource.plural
        self._metrics.watch_event(plural, event.type.lower() if event.type in _TYPES else "unknown")
        if event.type == "ERROR":
            error = from_status(wire.status(event.object))
            self._must_list = True  # whatever it says, the stream has lost its thread
            raise error
        if event.type not in _TYPES:
            log.warning("the watch of %s sent an event of unknown type %.40r", plural, event.type)
            return
        self._lines += 1
        if event.type == "BOOKMARK":
            self._advance(wire.identity(event.object).resource_version)
            return
        obj = self._codec.object(event.object)
        self._advance(obj.metadata.resource_version)
        if event.type == "DELETED":
            self.cache.remove(obj.metadata)
        else:
            self.cache.put(obj)
        self._count()

    def _advance(self, text: str) -> None:
        version = wire.version_of(text)
        if version < self._version:
            self._regress(version)
            self._has_regressed = True
            raise _Regressed
        self._version = version
        self.cache.advance(scope=self.namespace, version=version)

    def _regress(self, version: int) -> None:
        log.warning("the version of %s went back from %d to %d", self.resource.plural, self._version, version)
        self._metrics.regressed(self.resource.plural)

    def _resync(self) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._resync_at:
            self._resync_at = now + self._timing.resync
            self.cache.resync(scope=self.namespace)

    def _count(self) -> None:
        self._metrics.cached(self.resource.plural, len(self.cache), len(self.cache.all_undecodable()))


_TYPES = frozenset({"ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"})
