"""Events for people: sent when there is time, dropped when there is not; nothing ever waits or fails for them.

An event's name follows from what it says, so that the same sentence twice is one event that was repeated, also after a
restart of the operator.
"""

import asyncio
import contextlib
import hashlib
import logging
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Literal

from ganger.api.observed import Metadata
from ganger.kube.cluster import Cluster
from ganger.kube.errors import AlreadyExists, ApiError, Throttled
from ganger.kube.gate import Fenced
from ganger.kube.resources import EVENTS, Resource
from ganger.runtime.ports import Clock, Metrics
from ganger.runtime.silence import NO_METRICS

log = logging.getLogger(__name__)
NOTE_CHARS_MAX = 1000  # the API allows 1024 bytes
REMEMBERED = 1024  # events whose repetitions are told apart from first times
RETRY_AFTER_SECONDS_MAX = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Said:
    resource: Resource
    namespace: str
    name: str
    uid: str
    type: str
    reason: str
    action: str
    note: str

    @property
    def event_name(self) -> str:
        digest = hashlib.sha256(f"{self.uid}/{self.type}/{self.reason}/{self.note}".encode()).hexdigest()[:16]
        return f"{self.name[:200]}.{digest}"


class Recorder:
    """Takes events at any time, and sends them one after the other while `run` runs."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        instance: str,
        clock: Clock,
        controller: str = "ganger.dev/operator",
        capacity: int = 1000,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        self._cluster = cluster
        self._instance = instance[:128]
        self._clock = clock
        self._controller = controller
        self._capacity = capacity
        self._metrics = metrics
        self._pending: OrderedDict[_Said, int] = OrderedDict()  # how often it was said since it was last sent
        self._counts: OrderedDict[_Said, int] = OrderedDict()  # how often it was said in all
        self._news = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._pending)

    def record(
        self,
        resource: Resource,
        regarding: Metadata,
        type_: Literal["Normal", "Warning"],
        reason: str,
        note: str,
        *,
        action: str = "Reconcile",
    ) -> None:
        """Say something about an object. Returns at once; dropped, with a counter, while too many wait."""
        said = _Said(
            resource=resource,
            namespace=regarding.namespace,
            name=regarding.name,
            uid=regarding.uid,
            type=type_,
            reason=reason[:128],
            action=action,
            note=note[:NOTE_CHARS_MAX].encode()[:NOTE_CHARS_MAX].decode(errors="ignore"),
        )
        if said not in self._pending and len(self._pending) >= self._capacity:
            self._metrics.event("dropped")
            return
        self._pending[said] = self._pending.get(said, 0) + 1
        self._idle.clear()
        self._news.set()

    async def run(self) -> None:
        """Send what is said, until cancelled. One try each: an event is not worth a second."""
        while True:
            while self._pending:
                said, times = self._pending.popitem(last=False)
                try:
                    self._metrics.event(await self._send(said, times))
                except Exception as error:
                    self._metrics.event("failed")
                    log.info("event %s of %s/%s was not sent: %s", said.reason, said.namespace, said.name, error)
                    if isinstance(error, Throttled):
                        await asyncio.sleep(min(error.retry_after_seconds or 1.0, RETRY_AFTER_SECONDS_MAX))
                    elif not isinstance(error, ApiError | Fenced):
                        log.exception("the event recorder met an error of ours")
            self._news.clear()
            self._idle.set()
            await self._news.wait()

    async def drain(self, *, within: float) -> None:
        """Give what waits some seconds to be sent, before the end. `run` must be running."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._idle.wait()

    async def _send(self, said: _Said, times: int) -> str:
        count = self._counts.get(said, 0) + times
        if said in self._counts:
            await self._repeat(said, count)
            result = "repeated"
        else:
            try:
                await self._cluster.create(EVENTS, said.namespace, self._manifest(said, count))
                result = "sent"
            except AlreadyExists:  # said by this operator before its restart
                count += 1
                await self._repeat(said, count)
                result = "repeated"
        self._counts[said] = count
        if len(self._counts) > REMEMBERED:
            self._counts.popitem(last=False)
        return result

    async def _repeat(self, said: _Said, count: int) -> None:
        await self._cluster.patch(EVENTS, said.namespace, said.event_name, {"series": self._series(count)})

    def _series(self, count: int) -> dict[str, Any]:
        return {"count": max(count, 2), "lastObservedTime": self._now()}

    def _manifest(self, said: _Said, count: int) -> dict[str, Any]:
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": said.event_name, "namespace": said.namespace},
            "eventTime": self._now(),
            "reportingController": self._controller,
            "reportingInstance": self._instance,
            "type": said.type,
            "reason": said.reason,
            "action": said.action,
            "note": said.note,
            "regarding": {
                "apiVersion": said.resource.api_version,
                "kind": said.resource.kind,
                "namespace": said.namespace,
                "name": said.name,
                "uid": said.uid,
            },
        } | ({"series": self._series(count)} if count > 1 else {})

    def _now(self) -> str:
        return self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
