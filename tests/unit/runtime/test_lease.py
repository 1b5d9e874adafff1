"""Elections over real HTTP on loopback, with the times of a second's tenth."""

import asyncio
import random
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta

import pytest

from ganger.kube.access import Access
from ganger.kube.gate import Crash, Fenced, WriteGate
from ganger.kube.http import HttpCluster
from ganger.kube.resources import PODS
from ganger.runtime.clock import ServerClock
from ganger.runtime.lease import Election, LeadershipLost, LeaseTiming
from unit.runtime.lease_api import LeaseApi

QUICK = LeaseTiming(duration=0.5, renew=0.1, deadline=0.35, request=0.15, retry=0.03)


class LettersToken:
    def __init__(self, letter):
        self._letter = letter

    async def header(self):
        return f"Bearer {self._letter}"

    def reject(self):
        pass


class SkewedClock(ServerClock):
    """A wall clock that is wrong, and a steady one that can be made to jump as after a hang of the process."""

    def __init__(self, minutes=0.0):
        super().__init__()
        self._wrong = timedelta(minutes=minutes)
        self.jump = 0.0

    def now(self):
        return super().now() + self._wrong

    def monotonic(self):
        return super().monotonic() + self.jump


class Candidate:
    def __init__(self, cluster, letter, *, clock=None, work=None):
        self.letter = letter
        self.clock = clock or SkewedClock()
        self.cluster = cluster
        self.election = Election(
            cluster, namespace="sys", name="ganger", identity=letter, clock=self.clock, timing=QUICK
        )
        cluster.gate.fence = self.election.is_held
        self.stop = asyncio.Event()
        self.log = []
        self.working = False
        self._work = work
        self.task = asyncio.create_task(self.election.run(self.lead, stop=self.stop))

    async def lead(self, stopping):
        self.working = True
        self.log.append("start")
        try:
            await (self._work(stopping) if self._work else stopping.wait())
            self.log.append("done")
        except asyncio.CancelledError:
            self.log.append("cancelled")
            raise
        finally:
            self.working = False


@asynccontextmanager
async def electing():
    api = LeaseApi()
    await api.start()
    async with AsyncExitStack() as stack:
        candidates = []

        async def join(letter, **options):
            access = Access(url=api.url, token=LettersToken(letter))
            cluster = await stack.enter_async_context(HttpCluster(access, gate=WriteGate(), call_seconds=5))
            candidates.append(Candidate(cluster, letter, **options))
            return candidates[-1]

        try:
            yield api, join
        finally:
            for candidate in candidates:
                candidate.task.cancel()
            await asyncio.gather(*(c.task for c in candidates), return_exceptions=True)
            await api.stop()


async def until(condition, seconds=3.0):
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - what is awaited is in many places
                await asyncio.sleep(0.002)
    assert condition()


def now():
    return asyncio.get_running_loop().time()


async def test_a_lone_candidate_makes_the_lease_and_leads():
    async with electing() as (api, join):
        a = await join("a")
        await until(lambda: a.working)

        assert a.election.is_held()
        assert ("a", 1) == (api.holder, api.lease["spec"]["leaseTransitions"])
        assert api.lease["spec"]["renewTime"].endswith("Z")


async def test_the_leader_renews_and_keeps_when_it_began():
    async with electing() as (api, join):
        a = await join("a")
        await until(lambda: len(api.writes) >= 4)

        assert a.election.is_held()
        assert 1 == len({spec["acquireTime"] for spec in api.writes})
        assert 4 <= len({spec["renewTime"] for spec in api.writes})
        assert ["start"] == a.log


async def test_a_released_lease_is_taken_at_once():
    async with electing() as (api, join):
        a = await join("a")
        await until(lambda: a.working)
        b = await join("b")
        await until(lambda: b.election.reflector.has_synced)
        started = now()
        a.stop.set()
        await until(lambda: b.working)

        assert now() - started < 0.1
        assert ("b", 2) == (api.holder, api.lease["spec"]["leaseTransitions"])


async def test_the_lease_is_released_only_after_the_work_has_ended():
    async def slow(stopping):
        await stopping.wait()
        await asyncio.sleep(0.6)  # longer than the lease: it must be renewed meanwhile

    async with electing() as (_, join):
        a = await join("a", work=slow)
        await until(lambda: a.working)
        b = await join("b")
        a.stop.set()
        await until(lambda: b.working)

        assert ["start", "done"] == a.log
        assert not a.working


async def test_a_leader_that_was_killed_is_replaced_after_the_duration_and_not_before():
    async with electing() as (api, join):
        a = await join("a")
        await until(lambda: a.working)
        b = await join("b")
        await until(lambda: b.election.reflector.has_synced)
        api.down.add("a")
        started = now()
        await until(lambda: b.working)

        assert QUICK.duration - QUICK.renew - 0.05 <= now() - started <= QUICK.duration + 0.15


@pytest.mark.parametrize("how", ["hanging", "down"])
async def test_work_stops_before_the_lease_ends_while_the_api_server_hangs_or_is_down(how):
    async with electing() as (api, join):
        a = await join("a")
        await until(lambda: a.working)
        await until(lambda: len(api.writes) >= 2)
        started = now()
        getattr(api, how).add("*")
        await until(lambda: not a.working)

        assert now() - started < QUICK.duration
        assert not a.election.is_held()
        assert "cancelled" in a.log


async def test_a_leader_that_lost_its_lease_in_an_outage_leads_again_after_it():
    async with electing() as (api, join):
        a = await join("a")
        await until(lambda: a.working)
        api.down.add("*")
        await until(lambda: not a.working)
        api.down.clear()
        await until(lambda: a.working)

        assert ["start", "cancelled", "start"] == a.log


async def test_a_leader_whose_lease_another_took_ends_and_does_not_stand_by():
    async with electing() as (api, join):
        a = await join("a")
        await until(lambda: a.working)
        b = await join("b")
        api.down.add("a")
        await until(lambda: b.working)
        api.down.clear()

        with pytest.raises(LeadershipLost, match=f"{b.election.identity} leads now"):
            await a.task
        assert ["start", "cancelled"] == a.log
        assert b.working


async def test_a_process_that_hung_knows_at_once_that_it_does_not_lead():
    async with electing() as (_, join):
        a = await join("a")
        await until(lambda: a.working)

        a.clock.jump = QUICK.deadline  # as if the whole process had stood still

        assert not a.election.is_held()
        with pytest.raises(Fenced):
            await a.cluster.create(PODS, "ns", {"metadata": {"name": "p"}})
        await until(lambda: "cancelled" in a.log)


async def test_a_standby_whose_watch_is_silent_does_not_take_a_lease_that_is_renewed():
    async with electing() as (api, join):
        a = await join("a")
        await until(lambda: a.working)
        api.blind.add("b")
        b = await join("b")
        await asyncio.sleep(3 * QUICK.duration)

        assert ["start"] == a.log
        assert [] == b.log


async def test_wall_clocks_do_not_matter():
    async with electing() as (_, join):
        a = await join("a", clock=SkewedClock(minutes=-10))
        await until(lambda: a.working)
        b = await join("b", clock=SkewedClock(minutes=10))
        await asyncio.sleep(2 * QUICK.duration)
        assert [] == b.log

        a.stop.set()
        await until(lambda: b.working)


async def test_a_stolen_lease_ends_the_work_at_once():
    async with electing() as (api, join):
        a = await join("a")
        await until(lambda: a.working)
        started = now()
        api.put(api.lease["spec"] | {"holderIdentity": "thief"})
        await until(lambda: not a.working)

        assert now() - started < QUICK.renew
        assert "thief" == api.holder


async def test_an_edit_by_somebody_who_leaves_the_holder_is_survived():
    async with electing() as (api, join):
        a = await join("a")
        await until(lambda: a.working)
        for _ in range(5):
            api.put(api.lease["spec"], note="x")
            await asyncio.sleep(0.05)
        await asyncio.sleep(QUICK.duration)

        assert ["start"] == a.log


async def test_a_deleted_lease_ends_the_work_and_is_made_anew():
    async with electing() as (api, join):
        a = await join("a")
        await until(lambda: a.working)
        api.delete()
        await until(lambda: len(a.log) == 3)

        assert ["start", "cancelled", "start"] == a.log


async def test_a_lease_that_came_back_from_the_past_is_led_by_again():
    """After a restore of etcd every write on the version that was seen meets a conflict."""
    async with electing() as (api, join):
        a = await join("a")
        await until(lambda: a.working)
        api.version -= 5
        api.blind |= {"a"}
        api.put(api.lease["spec"])
        old = api.version
        await until(lambda: api.version > old + 2, 3)
        assert a.working


async def test_a_candidate_that_is_stopped_while_it_waits_returns():
    async with electing() as (api, join):
        a = await join("a")
        await until(lambda: a.working)
        b = await join("b")
        await asyncio.sleep(0.05)
        b.stop.set()

        await asyncio.wait_for(b.task, 0.3)
        assert "a" == api.holder


async def test_work_that_fails_ends_the_election_and_gives_the_lease_back():
    async def failing(_):
        raise RuntimeError("bug")

    async with electing() as (api, join):
        a = await join("a", work=failing)
        with pytest.raises(RuntimeError):
            await a.task

        assert "" == api.holder


async def test_a_crash_gives_nothing_back():
    async def crashing(_):
        raise Crash("now")

    async with electing() as (api, join):
        a = await join("a", work=crashing)
        with pytest.raises(Crash):
            await a.task

        assert "a" == api.holder


async def test_two_candidates_never_lead_together_whatever_fails():
    rng = random.Random(7)
    async with electing() as (api, join):
        candidates = [await join(letter) for letter in "abc"]
        both = []

        async def look():
            while True:
                held = [c.letter for c in candidates if c.election.is_held()]
                both.extend([held] if len(held) > 1 else [])
                await asyncio.sleep(0.001)

        looking = asyncio.create_task(look())
        for _ in range(12):
            letter = rng.choice("abc*")
            fault = rng.choice([api.down, api.hanging, api.blind])
            fault.add(letter)
            await asyncio.sleep(rng.uniform(0.02, 0.6))
            fault.clear()
        looking.cancel()

        assert [] == both
        assert sum(c.log.count("start") for c in candidates) >= 2


def test_times_that_leave_no_second_try_are_a_mistake():
    with pytest.raises(AssertionError):
        LeaseTiming(duration=4, renew=3.0, deadline=3.2)
