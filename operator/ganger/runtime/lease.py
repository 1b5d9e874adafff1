"""Which process may write: leader election on a Lease, by clocks that never step.

The holder stops trusting itself `deadline` seconds after it *sent* its last good renewal; a standby waits the full
`duration` after it *saw* the last change. Sending comes before seeing, so the two never overlap, whatever the network
or either wall clock does; only the rates of the clocks must agree. Every write of the Lease carries its version.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from ganger.api.observed import Lease, Metadata
from ganger.kube.cluster import Cluster
from ganger.kube.errors import AlreadyExists, ApiError, Conflict, NotFound
from ganger.kube.resources import LEASES
from ganger.runtime.cache import Cache, Undecodable
from ganger.runtime.ports import Clock, Metrics
from ganger.runtime.reflector import Reflector, Timing
from ganger.runtime.silence import NO_METRICS

log = logging.getLogger(__name__)
_decoder = msgspec.json.Decoder(Lease)


class LeadershipLost(Exception):  # noqa: N818 - no mistake of anybody
    """Another process leads now. What this one remembers of its own time may be wrong: it should end."""

    def __init__(self, holder: str) -> None:
        super().__init__(f"{holder} leads now")


@dataclass(frozen=True, kw_only=True, slots=True)
class LeaseTiming:
    """Seconds. 40 small writes a minute buy a take-over within 5 s of a leader's sudden death.

    duration is whole seconds, as the API wants it. request must leave room for a second try before the deadline.
    """

    duration: int = 4
    renew: float = 1.5
    deadline: float = 3.2
    request: float = 1.0
    retry: float = 0.2

    def __post_init__(self) -> None:
        assert self.renew + self.request + self.retry < self.deadline < self.duration, f"no second try fits: {self}"


class Election:
    """One process's part in the election for one Lease.

    identity: must differ between all processes, restarts of one included. returned: called when the API server, that
    could not be reached, is there again; the lease is the first to know, for it asks every second.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        namespace: str,
        name: str,
        identity: str,
        clock: Clock,
        timing: LeaseTiming | None = None,
        metrics: Metrics = NO_METRICS,
        returned: Callable[[], None] = lambda: None,
    ) -> None:
        self.identity = identity
        self._cluster = cluster
        self._namespace = namespace
        self._name = name
        self._clock = clock
        self._timing = timing or LeaseTiming()
        self._metrics = metrics
        self._lease: Lease | None = None  # as last seen, by watch or reply
        self._seen_at = clock.monotonic()  # when it last changed
        self._held_until = 0.0
        self.taken_version = 0  # the resourceVersion with which this process last took the lease
        self._news = asyncio.Event()
        cache: Cache[Lease] = Cache()
        cache.on_change(self._hear)
        self.reflector: Reflector[Lease] = Reflector(
            cluster,
            LEASES,
            Lease,
            cache,
            namespace=namespace,
            field_selector=f"metadata.name={name}",
            timing=Timing(backoff_cap=1.0),
            metrics=metrics,
            returned=returned,
        )

    def is_held(self) -> bool:
        """Return whether this process may write, by the clock alone: true even of a loop that hung until now."""
        return self._clock.monotonic() < self._held_until

    @property
    def holder(self) -> str:
        """Identity of the holder as last seen, "" if there is none."""
        return _holder(self._lease)

    async def run(self, lead: Callable[[asyncio.Event], Awaitable[None]], *, stop: asyncio.Event) -> None:
        """Stand by, lead while the lease is held, and stand by again after an outage, until `stop` is set.

        Raises LeadershipLost where another leads after this process did.

        lead: the work. It returns soon after the event that it gets is set (`stop` was), the lease being renewed till
        then; it is cancelled when the lease is lost, and then must end at once. What it raises ends the election.
        The lease is given back only after the work has ended, and not at all after a death that is no Exception.
        """
        watching = asyncio.create_task(self.reflector.run(), name="lease-watch")
        has_led = False
        try:
            await self._look()
            while not stop.is_set():
                if has_led and self.holder not in ("", self.identity):
                    raise LeadershipLost(self.holder)
                await self._pause(self._turn_in(), stop)
                if not stop.is_set() and self._turn_in() <= 0:
                    if await self._write(self._claim()):
                        self.taken_version = _version(self._lease) if self._lease else 0
                        await self._lead(lead, stop)
                        has_led = True
                        if not stop.is_set():
                            await self._look()  # the watch of a process that was frozen has not caught up yet
                    elif self._turn_in() <= 0:
                        await asyncio.sleep(self._timing.retry)
        finally:
            watching.cancel()
            await asyncio.wait({watching})

    # --- leading --------------------------------------------------------------------------------------------------
    async def _lead(self, lead: Callable[[asyncio.Event], Awaitable[None]], stop: asyncio.Event) -> None:
        log.info("leading as %s", self.identity)
        self._metrics.leading(True)
        stopping = asyncio.Event()
        work = asyncio.ensure_future(lead(stopping))
        renewing = asyncio.create_task(self._renew(), name="lease-renewal")
        asked = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({work, renewing, asked}, return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                stopping.set()
                await asyncio.wait({work, renewing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._end(work, renewing, asked)
        if not work.cancelled():
            work.result()

    async def _end(self, work: asyncio.Future[None], *helpers: asyncio.Task[Any]) -> None:
        lost = not self.is_held()
        if lost:
            log.warning("the lease is lost, stopping the work")
        work.cancel()
        await asyncio.wait({work})
        for helper in helpers:
            helper.cancel()
        await asyncio.wait(set(helpers))
        died = not work.cancelled() and not isinstance(work.exception(), Exception | None)
        if self.is_held() and not died:
            await self._release()
        self._held_until = 0.0
        self._metrics.leading(False)

    async def _renew(self) -> None:
        """Renew until the lease is lost."""
        pause = self._timing.renew
        while True:
            await self._pause(min(pause, self._held_until - self._clock.monotonic()))
            if not self.is_held():
                return
            pause = self._timing.renew if await self._write(self._claim()) else self._timing.retry

    async def _release(self) -> None:
        self._held_until = 0.0  # before the request: from its sending on another may hold the lease
        assert self._lease is not None, "a lease that was held has been seen"
        spec = self._lease.spec | {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._now()}
        if await self._write(spec):
            log.info("the lease is given back")

    # --- the lease itself -----------------------------------------------------------------------------------------
    def _turn_in(self) -> float:
        """Return the seconds after which this process may try to take the lease."""
        if self._lease is None or self.holder in ("", self.identity):
            return 0.0
        duration = self._lease.spec.get("leaseDurationSeconds") or self._timing.duration
        return self._seen_at + float(duration) - self._clock.monotonic()

    def _claim(self) -> dict[str, Any]:
        spec = dict(self._lease.spec) if self._lease else {}
        now = self._now()
        if spec.get("holderIdentity") != self.identity:
            spec |= {"acquireTime": now, "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1}
        return spec | {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self._timing.duration,
            "renewTime": now,
        }

    async def _write(self, spec: dict[str, Any]) -> bool:
        """Write the lease if it is still the one last seen, and return whether that worked."""
        sent = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._timing.request):
                meta = await self._send(spec)
        except (AlreadyExists, Conflict, NotFound) as error:
            self._metrics.lease_renewed(error.label, self._clock.monotonic() - sent)
            await self._look()
            return False
        except (ApiError, TimeoutError) as error:
            log.warning("writing the lease failed: %s", error or "no answer in time")
            label = error.label if isinstance(error, ApiError) else "timeout"
            self._metrics.lease_renewed(label, self._clock.monotonic() - sent)
            return False
        self._metrics.lease_renewed("ok", self._clock.monotonic() - sent)
        if spec["holderIdentity"] == self.identity:
            self._held_until = sent + self._timing.deadline
        self._see(Lease(metadata=meta, spec=spec))
        return True

    async def _send(self, spec: dict[str, Any]) -> Metadata:
        if self._lease is None:
            manifest = {
                "apiVersion": LEASES.api_version,
                "kind": LEASES.kind,
                "metadata": {"name": self._name, "namespace": self._namespace},
                "spec": spec,
            }
            return await self._cluster.create(LEASES, self._namespace, manifest)
        version = {"resourceVersion": self._lease.metadata.resource_version}
        return await self._cluster.patch(LEASES, self._namespace, self._name, {"metadata": version, "spec": spec})

    async def _look(self) -> None:
        """Read the lease from the server; what cannot be read stays as it was last seen."""
        try:
            async with asyncio.timeout(self._timing.request):
                lease = _decoder.decode(await self._cluster.get(LEASES, self._namespace, self._name))
            # After a restore of etcd what is true now has an older version than what was seen; a read is never stale.
            self._see(lease, is_truth=True)
        except NotFound:
            self._see(None)
        except (ApiError, TimeoutError, msgspec.DecodeError) as error:
            log.warning("reading the lease failed: %s", error or "no answer in time")

    def _hear(self, _: Lease | Undecodable | None, new: Lease | Undecodable | None) -> None:
        if not isinstance(new, Undecodable):
            self._see(new)

    def _see(self, lease: Lease | None, *, is_truth: bool = False) -> None:
        """Take the newest lease, whether the watch, a reply or a read brought it; older news is none, but of a read."""
        if lease is not None and self._lease is not None:
            new, old = _version(lease), _version(self._lease)
            if new == old or (new < old and not is_truth):
                return
        self._lease = lease
        self._seen_at = self._clock.monotonic()
        if self.holder != self.identity:
            self._held_until = 0.0
        self._news.set()

    def _now(self) -> str:
        return self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    async def _pause(self, seconds: float, stop: asyncio.Event | None = None) -> None:
        """Wait so long, or until there is news of the lease or `stop` is set."""
        self._news.clear()
        waits = [asyncio.create_task(event.wait()) for event in (self._news, stop) if event is not None]
        try:
            await asyncio.wait(waits, timeout=max(seconds, 0.0), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


def _holder(lease: Lease | None) -> str:
    return str(lease.spec.get("holderIdentity") or "") if lease else ""


def _version(lease: Lease) -> int:
    return int(lease.metadata.resource_version or 0)
