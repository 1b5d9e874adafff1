"""Which process may write: leader election on a Lease, by clocks that never step.

The holder stops trusting itself `deadline` seconds after it *sent* its last good renewal; a standby waits the full
`duration` after it *saw* the last change. Sending comes before seeing, so the two never overlap, whatever the network
or either wall clock does; only the rates of the clocks must agree. Every write of the Lease carries its version.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
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
    could not be reached, is there again; the lease is the first to know, for it asks every second. notes: annotations
    that the Lease has while this process holds it; None for one that it has not. turn: given the moment from which
    the lease is free, monotonic, returns when this process may take it. news: called when the lease has changed.
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
        notes: Callable[[], Mapping[str, str | None]] = dict,
        turn: Callable[[float], float] = lambda free: free,
        news: Callable[[], None] = lambda: None,
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
        self._notes = notes
        self._turn = turn
        self._told = news
        self._resigned = asyncio.Event()
        self.taken_version = 0  # the resourceVersion with which this process last took the lease
        self.taken_at = 0.0  # monotonic
        self.is_claiming = False  # a write is under way that may take it
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

    def note(self, name: str) -> str:
        """Return an annotation of the lease as last seen, "" where it has none."""
        return self._lease.metadata.annotations.get(name, "") if self._lease else ""

    def resign(self) -> None:
        """Give the lease back as soon as the work has ended in order, and stand by again. Without it, nothing happens.

        The work is asked to end as for a stop; this process may take the lease again when its turn comes.
        """
        self._resigned.set()

    def poke(self) -> None:
        """Look at once whether it is this process's turn, or renew: what `turn` or `notes` say has changed."""
        self._news.set()

    async def ask(self, notes: Mapping[str, str | None]) -> bool:
        """Write annotations on a lease that another process holds, and return whether it was still as last seen."""
        return self._lease is not None and await self._write(None, notes)

    async def look(self) -> bool:
        """Read the lease from the server, and return whether that worked."""
        return await self._look()

    async def run(self, lead: Callable[[asyncio.Event], Awaitable[None]], *, stop: asyncio.Event) -> None:
        """Stand by, lead while the lease is held, and stand by again after an outage, until `stop` is set.

        Raises LeadershipLost where another leads after this process did.

        lead: the work. It returns soon after the event that it gets is set (`stop` was), the lease being renewed till
        then; it is cancelled when the lease is lost, and then must end at once. What it raises ends the election.
        Where it returns by itself, or after `resign`, the lease is given back and stood by for again.
        The lease is given back only after the work has ended, and not at all after a death that is no Exception.
        """
        watching = asyncio.create_task(self.reflector.run(), name="lease-watch")
        has_lost = False
        try:
            await self._look()
            while not stop.is_set():
                if has_lost and self.holder not in ("", self.identity):
                    raise LeadershipLost(self.holder)
                await self._pause(self._turn_in(), stop)
                if not stop.is_set() and self._turn_in() <= 0:
                    if await self._take():
                        has_lost = not await self._lead(lead, stop)
                        if not stop.is_set():
                            await self._look()  # the watch of a process that was frozen has not caught up yet
                    elif self._turn_in() <= 0:
                        await asyncio.sleep(self._timing.retry)
        finally:
            watching.cancel()
            await asyncio.wait({watching})

    # --- leading --------------------------------------------------------------------------------------------------
    async def _take(self) -> bool:
        self.is_claiming = True
        try:
            if not await self._write(self._claim()):
                return False
        finally:
            self.is_claiming = False
        self.taken_version = _version(self._lease) if self._lease else 0
        self.taken_at = self._clock.monotonic()
        return True

    async def _lead(self, lead: Callable[[asyncio.Event], Awaitable[None]], stop: asyncio.Event) -> bool:
        """Return whether the lease was given back in order."""
        log.info("leading by %s as %s", self._name, self.identity)
        self._metrics.leading(True)
        self._resigned.clear()
        stopping = asyncio.Event()
        work = asyncio.ensure_future(lead(stopping))
        renewing = asyncio.create_task(self._renew(), name="lease-renewal")
        asked = [asyncio.create_task(event.wait()) for event in (stop, self._resigned)]
        given_back = False
        try:
            await asyncio.wait({work, renewing, *asked}, return_when=asyncio.FIRST_COMPLETED)
            if any(event.done() for event in asked):
                stopping.set()
                await asyncio.wait({work, renewing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            given_back = await self._end(work, renewing, *asked)
        if not work.cancelled():
            work.result()
        return given_back

    async def _end(self, work: asyncio.Future[None], *helpers: asyncio.Task[Any]) -> bool:
        lost = not self.is_held()
        if lost:
            log.warning("the lease is lost, stopping the work")
        work.cancel()
        await asyncio.wait({work})
        for helper in helpers:
            helper.cancel()
        await asyncio.wait(set(helpers))
        died = not work.cancelled() and not isinstance(work.exception(), Exception | None)
        given_back = self.is_held() and not died and await self._release()
        self._held_until = 0.0
        self._metrics.leading(False)
        return given_back

    async def _renew(self) -> None:
        """Renew until the lease is lost."""
        pause = self._timing.renew
        while True:
            await self._pause(min(pause, self._held_until - self._clock.monotonic()))
            if not self.is_held():
                return
            pause = self._timing.renew if await self._write(self._claim()) else self._timing.retry

    async def _release(self) -> bool:
        self._held_until = 0.0  # before the request: from its sending on another may hold the lease
        for _ in range(2):  # another process may have written a note on it meanwhile
            if self._lease is None or self.holder != self.identity:
                break
            spec = self._lease.spec | {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._now()}
            if await self._write(spec):
                log.info("the lease %s is given back", self._name)
                return True
        return False

    # --- the lease itself -----------------------------------------------------------------------------------------
    def _turn_in(self) -> float:
        """Return the seconds after which this process may try to take the lease."""
        if self.holder == self.identity:
            return 0.0
        free = self._seen_at
        if self._lease is not None and self.holder:
            free += float(self._lease.spec.get("leaseDurationSeconds") or self._timing.duration)
        return self._turn(free) - self._clock.monotonic()

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

    async def _write(self, spec: dict[str, Any] | None, notes: Mapping[str, str | None] | None = None) -> bool:
        """Write the lease if it is still the one last seen, and return whether that worked. spec: None leaves it."""
        sent = self._clock.monotonic()
        claims = spec is not None and spec["holderIdentity"] == self.identity
        try:
            async with asyncio.timeout(self._timing.request):
                meta = await self._send(spec, self._notes() if claims else notes or {})
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
        if claims:
            self._held_until = sent + self._timing.deadline
        self._see(Lease(metadata=meta, spec=spec if spec is not None else self._lease.spec if self._lease else {}))
        return True

    async def _send(self, spec: dict[str, Any] | None, notes: Mapping[str, str | None]) -> Metadata:
        changes: dict[str, Any] = {name: text for name, text in notes.items() if self.note(name) != (text or "")}
        if self._lease is None:
            metadata: dict[str, Any] = {"name": self._name, "namespace": self._namespace}
            manifest = {
                "apiVersion": LEASES.api_version,
                "kind": LEASES.kind,
                "metadata": metadata | ({"annotations": changes} if changes else {}),
                "spec": spec,
            }
            return await self._cluster.create(LEASES, self._namespace, manifest)
        metadata = {"resourceVersion": self._lease.metadata.resource_version}
        patch = {"metadata": metadata | ({"annotations": changes} if changes else {})}
        return await self._cluster.patch(
            LEASES, self._namespace, self._name, patch | ({"spec": spec} if spec is not None else {})
        )

    async def _look(self) -> bool:
        """Read the lease from the server; what cannot be read stays as it was last seen, and False is returned."""
        try:
            async with asyncio.timeout(self._timing.request):
                lease = _decoder.decode(await self._cluster.get(LEASES, self._namespace, self._name))
            # After a restore of etcd what is true now has an older version than what was seen; a read is never stale.
            self._see(lease, is_truth=True)
        except NotFound:
            self._see(None)
        except (ApiError, TimeoutError, msgspec.DecodeError) as error:
            log.warning("reading the lease failed: %s", error or "no answer in time")
            return False
        return True

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
        self._told()

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
