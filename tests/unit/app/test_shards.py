"""Elections for several shards over real HTTP on loopback: how they are spread, moved, and kept to one count."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from ganger.app import shards as module
from ganger.app.shards import NOTE_ADDRESS, NOTE_SHARDS, NOTE_WANTED, Shards
from ganger.kube.access import Access
from ganger.kube.gate import WriteGate
from ganger.kube.http import HttpCluster
from ganger.observe.metrics import OperatorMetrics
from ganger.plan.shard import lease
from ganger.runtime.clock import ServerClock
from ganger.runtime.lease import LeadershipLost
from unit.app.leases import PATH, Leases
from unit.runtime.test_lease import LettersToken, until


class Replica:
    """A process of a count; `works` are the shards that it works on at this moment."""

    def __init__(self, api, cluster, letter, count, together):
        self.letter, self.works, self.ready, self.asked = letter, set(), True, 0
        self._together = together
        self.shards = Shards(
            cluster,
            namespace="sys",
            identity=letter,
            count=count,
            address=f"10.0.0.{ord(letter)}:9443",
            clock=ServerClock(),
            metrics=OperatorMetrics(),
            ready=self.is_ready,
            moved=lambda: None,
            returned=lambda: None,
        )
        self.stop = asyncio.Event()
        self.task = asyncio.create_task(self.shards.run(self.work, stop=self.stop))

    def is_ready(self):
        self.asked += 1
        return self.ready

    async def work(self, number, stopping):
        if not await self.shards.may_begin(number, stopping):
            return
        self.works.add(number)
        self._together()
        try:
            await stopping.wait()
        finally:
            self.works.discard(number)


class World:
    def __init__(self, api, stack):
        self.api, self._stack, self.replicas, self.wrong = api, stack, [], []

    async def join(self, letter, count):
        access = Access(url=self.api.url, token=LettersToken(letter))
        cluster = await self._stack.enter_async_context(HttpCluster(access, gate=WriteGate(), call_seconds=5))
        self.replicas.append(Replica(self.api, cluster, letter, count, self.look))
        return self.replicas[-1]

    def look(self):
        """Note any moment at which a shard has two workers, or shards of two counts are worked on."""
        at_work = [(each, number) for each in self.replicas for number in each.works]
        if len({number for _, number in at_work}) < len(at_work) or len({e.shards.count for e, _ in at_work}) > 1:
            self.wrong.append([(each.letter, each.shards.count, number) for each, number in at_work])

    def spread(self):
        return {each.letter: sorted(each.works) for each in self.replicas}


@pytest.fixture
async def world(monkeypatch):
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.1)
    api = Leases()
    await api.start()
    async with AsyncExitStack() as stack:
        world = World(api, stack)
        try:
            yield world
            assert [] == world.wrong
        finally:
            for each in world.replicas:
                each.task.cancel()
            await asyncio.gather(*(each.task for each in world.replicas), return_exceptions=True)
            await api.stop()


@asynccontextmanager
async def ended(replica):
    replica.stop.set()
    await asyncio.wait_for(replica.task, 5)
    yield


def led(world):
    return sorted(number for each in world.replicas for number in each.works)


async def test_one_shard_is_a_plain_election_without_a_note(world):
    alone = await world.join("a", 1)
    await until(lambda: alone.works == {0})
    writes = [request.json for request in world.api.requests if request.method != "GET"]

    assert ["ganger-operator"] == list(world.api.leases)
    assert [None] == [body["metadata"].get("annotations") for body in writes]
    assert 0 == len([request for request in world.api.requests if request.path.endswith("ganger-operator-1")])


async def test_one_process_leads_every_shard_and_says_the_count_and_its_address(world):
    alone = await world.join("a", 4)
    await until(lambda: alone.works == {0, 1, 2, 3})
    await until(lambda: world.api.note("ganger-operator", NOTE_SHARDS) == "4")

    assert ["a"] * 4 == [world.api.holder(lease(number)) for number in range(4)]
    assert "10.0.0.97:9443" == world.api.note(lease(3), NOTE_ADDRESS)


async def test_a_process_that_comes_later_gets_its_share_in_order(world):
    first = await world.join("a", 4)
    await until(lambda: len(first.works) == 4)
    second = await world.join("b", 4)
    await until(lambda: len(second.works) == 2 and led(world) == [0, 1, 2, 3], 10)
    third = await world.join("c", 4)
    await until(lambda: len(third.works) == 1 and led(world) == [0, 1, 2, 3], 10)

    assert [1, 1, 2] == sorted(len(each.works) for each in world.replicas)
    of_second = next(iter(second.works))
    assert "10.0.0.98:9443" == first.shards.peer(of_second)
    assert {"10.0.0.98:9443", "10.0.0.99:9443"} == set(first.shards.addresses()) - {"10.0.0.97:9443"}


async def test_a_process_whose_caches_are_cold_asks_for_nothing(world):
    first = await world.join("a", 2)
    await until(lambda: len(first.works) == 2)
    second = await world.join("b", 2)
    second.ready = False
    await until(lambda: second.asked > 2, 10)  # the quiet is over by the second time
    assert {0, 1} == first.works
    assert [] == [r for r in world.api.requests if NOTE_WANTED in r.body.decode() and '"b"' in r.body.decode()]

    second.ready = True
    await until(lambda: len(second.works) == 1, 10)


async def test_the_shards_of_a_process_that_stops_are_taken_by_the_others(world):
    first = await world.join("a", 4)
    await until(lambda: len(first.works) == 4)
    second = await world.join("b", 4)
    await until(lambda: len(second.works) == 2, 10)
    async with ended(first):
        await until(lambda: len(second.works) == 4)


async def test_the_shards_of_a_process_that_dies_are_taken_by_the_others(world):
    first = await world.join("a", 2)
    await until(lambda: len(first.works) == 2)
    second = await world.join("b", 2)
    await until(lambda: len(second.works) == 1, 10)
    for number in first.works:
        held = world.api.leases[lease(number)]
        notes = held["metadata"]["annotations"]
        world.api.put(lease(number), held["spec"] | {"holderIdentity": "dead", "leaseDurationSeconds": 1}, notes)
    with pytest.raises(LeadershipLost):
        await asyncio.wait_for(first.task, 5)
    await until(lambda: len(second.works) == 2, 5)


@pytest.mark.parametrize(("old", "new"), [(1, 4), (4, 1), (4, 3), (2, 5)])
async def test_a_process_of_another_count_waits_for_all_of_the_old_one(world, old, new):
    before = [await world.join("a", old), await world.join("b", old)]
    await until(lambda: led(world) == list(range(old)))
    after = await world.join("c", new)
    await until(lambda: after.shards.elections[0].holder in ("a", "b"))
    assert set() == after.works

    async with ended(next(each for each in before if each.letter == after.shards.elections[0].holder)):
        await until(lambda: led(world) in (list(range(old)), list(range(new))))
    async with ended(next(each for each in before if not each.task.done())):
        await until(lambda: sorted(after.works) == list(range(new)), 10)


async def test_a_holder_that_hears_nothing_of_the_new_count_is_waited_for(world):
    world.api.put(lease(0), {"holderIdentity": ""}, {NOTE_SHARDS: "4"})
    world.api.put(lease(2), {"holderIdentity": "old", "leaseDurationSeconds": 60}, {NOTE_SHARDS: "4"})
    after = await world.join("c", 1)
    await until(lambda: world.api.holder(lease(0)) == "c")
    assert "1 moving" == world.api.note(lease(0), NOTE_SHARDS)
    await until(lambda: len(world.api.seen(f"GET {PATH}/{lease(2)}")) > 2)
    assert set() == after.works

    world.api.put(lease(2), {"holderIdentity": ""}, {NOTE_SHARDS: "4"})
    await until(lambda: after.works == {0})
    await until(lambda: world.api.note(lease(0), NOTE_SHARDS) == "")


async def test_a_holder_that_died_is_waited_for_as_long_as_its_lease_lasts(world):
    world.api.put(lease(0), {"holderIdentity": ""}, {NOTE_SHARDS: "4"})
    world.api.put(lease(2), {"holderIdentity": "dead", "leaseDurationSeconds": 1}, {NOTE_SHARDS: "4"})
    after = await world.join("c", 1)

    await until(lambda: after.works == {0}, 5)


async def test_what_was_taken_on_old_news_is_given_back_unworked(world):
    """The watch of a process is late: it takes a shard of its count after the count has changed."""
    world.api.put(lease(0), {"holderIdentity": "x", "leaseDurationSeconds": 60}, {NOTE_SHARDS: "2"})
    world.api.put(lease(1), {"holderIdentity": "z", "leaseDurationSeconds": 60}, {NOTE_SHARDS: "2"})
    late = await world.join("b", 2)
    await until(lambda: (late.shards.elections[0].holder, late.shards.elections[1].holder) == ("x", "z"))
    await until(lambda: {lease(0), lease(1)} <= {name for _, name, _ in world.api.watchers})
    world.api.stuck.add("b")
    world.api.put(lease(0), {"holderIdentity": "y", "leaseDurationSeconds": 60}, {NOTE_SHARDS: "1 moving"})
    world.api.stuck.clear()
    world.api.put(lease(1), {"holderIdentity": ""}, {NOTE_SHARDS: "2"})
    path = f"{PATH}/{lease(1)}"
    await until(lambda: len(world.api.seen(f"PATCH {path}")) == 2)

    taken, given = (request.json["spec"]["holderIdentity"] for request in world.api.seen(f"PATCH {path}"))
    assert ("b", "") == (taken, given)
    assert set() == late.works
