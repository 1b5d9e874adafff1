"""The shards of one process: an election for each, how many it takes, when it gives one back, whose count holds.

Two processes of different counts (a rolling update of `operator.shards`) would give one job to two deciders. So the
lease of shard 0 says the count. Whoever takes it with another count first waits until no lease of a shard is held by
a process of another count; and whoever takes another shard's lease reads that of shard 0 afterwards, and gives back
what it took where the count is another. Each side writes before it reads, so one of the two sees the other
(docs/adr/0032-shards.md).
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import msgspec

from ganger.api.observed import Lease
from ganger.kube.cluster import Cluster
from ganger.kube.errors import ApiError, NotFound
from ganger.kube.resources import LEASES
from ganger.observe.metrics import OperatorMetrics
from ganger.plan.shard import SHARDS_MAX, lease, shard
from ganger.runtime.lease import Election
from ganger.runtime.ports import Clock

log = logging.getLogger(__name__)
NOTE_SHARDS = "ganger.dev/shards"  # the count of the holder; with MOVING while those of another count may still work
NOTE_ADDRESS = "ganger.dev/address"  # host:port at which the holder hears workers
NOTE_WANTED = "ganger.dev/wanted-by"  # a process that leads fewer shards than the holder
MOVING = " moving"
PATIENCE_SECONDS = 0.05  # for each shard that this process leads, before it takes one more
PATIENCE_SECONDS_MAX = 0.2
QUIET_SECONDS = 3.0  # without a change of holders, before a shard is asked for
LOOK_SECONDS = 0.2  # between two looks at leases of another count
_decoder = msgspec.json.Decoder(Lease)
Work = Callable[[int, asyncio.Event], Awaitable[None]]


class Shards:
    """The elections of a process that is of `count` shards. One shard behaves as a plain election.

    address: host:port where this process hears workers, "" for none. ready: whether it could lead now. moved: called
    when a lease has changed. returned: see Election.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        namespace: str,
        identity: str,
        count: int,
        address: str,
        clock: Clock,
        metrics: OperatorMetrics,
        ready: Callable[[], bool],
        moved: Callable[[], None],
        returned: Callable[[], None],
    ) -> None:
        self.count = count
        self._cluster = cluster
        self._namespace = namespace
        self._identity = identity
        self._address = address
        self._clock = clock
        self._ready = ready
        self._moved = moved
        self._settled = False  # this process leads shard 0, and nobody of another count works any more
        self._asked: dict[int, str] = {}  # shards that another process wants, and which one
        self._giving: set[int] = set()
        self._holders: tuple[str, ...] = ()
        self._quiet_since = clock.monotonic()
        self._news = asyncio.Event()
        self.elections = [
            Election(
                cluster,
                namespace=namespace,
                name=lease(number),
                identity=identity,
                clock=clock,
                metrics=metrics.of_shard(number),
                returned=returned if number == 0 else _nothing,
                notes=partial(self._notes, number),
                turn=partial(self._turn, number),
                news=partial(self._hear, number),
            )
            for number in range(count)
        ]

    # --- who leads what ---
    def of(self, key: tuple[str, str]) -> int:
        """Return the shard of a job."""
        return shard(*key, self.count)

    def holds_any(self) -> bool:
        """Return whether this process holds any lease."""
        return any(election.is_held() for election in self.elections)

    def peer(self, number: int) -> str:
        """Return host:port of the other process that leads the shard, "" where none is known."""
        election = self.elections[number]
        return election.note(NOTE_ADDRESS) if election.holder not in ("", self._identity) else ""

    def addresses(self) -> Iterator[str]:
        """Yield host:port of every process that leads a shard, this one's own first."""
        yield self._address
        yield from sorted({self.peer(number) for number in range(self.count)} - {"", self._address})

    # --- life ---
    async def run(self, work: Work, *, stop: asyncio.Event) -> None:
        """Take part in every election until `stop` is set; `work` is what is done for a shard while it is led.

        Raises LeadershipLost once any lease is lost to another process, when what was led besides is given back.
        """
        if self.count == 1:
            await self.elections[0].run(partial(work, 0), stop=stop)
            return
        ending = asyncio.Event()
        parts = {
            asyncio.create_task(election.run(partial(work, number), stop=ending), name=f"shard-{number}")
            for number, election in enumerate(self.elections)
        }
        helpers = {asyncio.create_task(stop.wait()), asyncio.create_task(self._balance(), name="balance")}
        try:
            await asyncio.wait(parts | helpers, return_when=asyncio.FIRST_COMPLETED)
            ending.set()
            await asyncio.wait(parts, return_when=asyncio.FIRST_EXCEPTION)
            await asyncio.wait(parts)
        finally:
            for task in parts | helpers:
                task.cancel()
            await asyncio.wait(parts | helpers)
        for task in (*parts, *helpers):
            if not task.cancelled():
                task.result()

    async def may_begin(self, number: int, stopping: asyncio.Event) -> bool:
        """Return whether the shard that was taken may be worked on; waits for the end of another count's work."""
        first = self.elections[0]
        if number > 0:
            return await first.look() and self._count_of(first) == (self.count, True)
        self._settled = False
        if self._count_of(first) != (self.count, True) and not await self._is_clear(stopping):
            return False
        self._settled = True
        if self.count > 1 or first.note(NOTE_SHARDS):
            first.poke()  # the others wait for the word
        return True

    # --- the elections ask ---
    def _notes(self, number: int) -> dict[str, str | None]:
        first = self.elections[0]
        text: str | None = str(self.count)
        if number == 0:
            holds = first.holder == self._identity
            if not (holds and self._settled) and self._count_of(first) != (self.count, True):
                text = f"{self.count}{MOVING}"
            elif self.count == 1:
                text = None
        address = self._address if self.count > 1 else ""
        return {NOTE_SHARDS: text, NOTE_ADDRESS: address or None, NOTE_WANTED: None}

    def _turn(self, number: int, free: float) -> float:
        now = self._clock.monotonic()
        if number > 0 and self._count_of(self.elections[0]) != (self.count, True):
            return now + 1.0  # news of shard 0 comes sooner
        others = [each for each in self.elections if each is not self.elections[number]]
        if any(each.is_claiming for each in others):
            return now + 0.01
        held = [each.taken_at for each in others if each.is_held()]
        return max([free, *held]) + min(PATIENCE_SECONDS * len(held), PATIENCE_SECONDS_MAX)

    def _hear(self, number: int) -> None:
        # At once: the next renewal takes the note away.
        if asker := self.elections[number].note(NOTE_WANTED):
            self._asked[number] = asker
        self._news.set()
        if number == 0 and self.count > 1:
            for election in self.elections[1:]:
                if election.holder != self._identity:
                    election.poke()
        self._moved()

    # --- the count ---
    def _count_of(self, election: Election) -> tuple[int, bool]:
        """Return the count that the lease says, and whether nobody of another count works any more."""
        text = election.note(NOTE_SHARDS)
        if not text:
            return 1, True  # also of a version that knows no shards
        number = text.removesuffix(MOVING)
        return (int(number) if number.isascii() and number.isdigit() else 0), number == text

    async def _is_clear(self, stopping: asyncio.Event) -> bool:
        """Wait until no process of another count holds a lease; False where `stopping` was set before."""
        log.info("the count of shards becomes %d: waiting for those of another count", self.count)
        since: dict[int, tuple[str, float]] = {}
        while not stopping.is_set():
            if not any(await asyncio.gather(*(self._is_foreign(each, since) for each in range(1, SHARDS_MAX)))):
                return True
            await asyncio.sleep(LOOK_SECONDS)
        return False

    async def _is_foreign(self, number: int, since: dict[int, tuple[str, float]]) -> bool:
        """Whether another count's process may hold that lease; one that is not renewed is waited for as ever."""
        try:
            found = _decoder.decode(await self._cluster.get(LEASES, self._namespace, lease(number)))
        except NotFound:
            return False
        except (ApiError, msgspec.DecodeError) as error:
            log.warning("lease %s cannot be read: %s", lease(number), error)
            return True
        if not found.spec.get("holderIdentity") or found.metadata.annotations.get(NOTE_SHARDS) == str(self.count):
            return False
        now, version = self._clock.monotonic(), found.metadata.resource_version
        if since.get(number, ("", 0.0))[0] != version:
            since[number] = (version, now)
        return now - since[number][1] < float(found.spec.get("leaseDurationSeconds") or 0)

    # --- the spread ---
    async def _balance(self) -> None:
        """Give shards back where the count is another's or a process leads fewer, and ask for some; for ever."""
        while True:
            self._news.clear()
            self._give()
            await self._ask()
            try:
                async with asyncio.timeout(1.0):
                    await self._news.wait()
            except TimeoutError:
                pass

    def _give(self) -> None:
        held = {number for number, election in enumerate(self.elections) if election.is_held()}
        self._giving &= held
        strange = self._count_of(self.elections[0])[0] != self.count
        for number in sorted(held - self._giving, reverse=True):
            asker = self._asked.pop(number, "")
            others = sum(election.holder == asker for election in self.elections)
            unfair = bool(asker) and len(held - self._giving) - others >= 2  # else they only swap
            if unfair or (strange and number > 0):
                self._giving.add(number)
                self.elections[number].resign()

    async def _ask(self) -> None:
        now, holders = self._clock.monotonic(), tuple(election.holder for election in self.elections)
        if holders != self._holders:
            self._holders, self._quiet_since = holders, now
        if "" in holders or not self._ready() or now - self._quiet_since < QUIET_SECONDS:
            return
        if self._count_of(self.elections[0]) != (self.count, True):
            return
        most, number = Counter(holders).most_common(1)[0]
        if number - holders.count(self._identity) < 2:
            return
        self._quiet_since = now
        wanted = max(number for number, holder in enumerate(holders) if holder == most)
        if await self.elections[wanted].ask({NOTE_WANTED: self._identity}):
            log.info("asked %s for shard %d", most, wanted)


def _nothing() -> None:
    """Do nothing: one election tells that the API server is back."""
