"""Two candidates for one lease of a real API server."""

import asyncio
import signal
import time
from contextlib import asynccontextmanager

import pytest

from ganger.kube.resources import LEASES
from ganger.runtime.clock import ServerClock
from ganger.runtime.lease import Election, LeadershipLost

pytestmark = pytest.mark.integration


class Candidate:
    """One candidate, and how long it led: the stage shows whether two ever did at once."""

    def __init__(self, cluster, namespace, name, stage):
        self.name = name
        self.stop = asyncio.Event()
        self.stage = stage
        self.times = 0
        self.lost_to = ""  # the identity that took the lease after this one had led, which ends this one
        self.election = Election(cluster, namespace=namespace, name="test", identity=name, clock=ServerClock())
        self.task = asyncio.create_task(self.run())

    async def run(self):
        try:
            await self.election.run(self.lead, stop=self.stop)
        except LeadershipLost:
            self.lost_to = self.election.holder

    async def lead(self, stopping):
        self.stage.append(self.name)
        self.times += 1
        try:
            assert [self.name] == self.stage
            await stopping.wait()
        finally:
            self.stage.remove(self.name)

    async def end(self):
        self.stop.set()
        await asyncio.wait_for(self.task, 5)


@asynccontextmanager
async def candidates(connect, namespace, *names):
    stage, found = [], []
    async with connect("ganger") as first, connect("ganger-standby") as second:
        try:
            for name, cluster in zip(names, (first, second), strict=True):
                found.append(Candidate(cluster, namespace, name, stage))
                await until(lambda: stage)
            yield stage, *found
        finally:
            await asyncio.gather(*(candidate.end() for candidate in found))


async def until(condition, seconds=8.0):
    started = time.monotonic()
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is awaited is in many places
            await asyncio.sleep(0.01)
    return time.monotonic() - started


async def test_the_first_leads_and_its_end_is_the_others_turn_at_once(connect, namespace):
    async with candidates(connect, namespace, "a", "b") as (stage, first, second):
        await asyncio.sleep(2.0)  # more than one renewal
        assert ["a"] == stage
        first.stop.set()

        assert 1.0 > await until(lambda: stage == ["b"])
        assert 1 == first.times == second.times
        assert first.task.done()
        assert "" == first.lost_to


async def test_nobody_leads_while_the_server_is_frozen_and_one_does_afterwards(connect, namespace, hostile):
    async with candidates(connect, namespace, "a", "b") as (stage, first, second):
        hostile.signal(signal.SIGSTOP)
        try:
            # The last good renewal was sent before; its holder stops itself before anybody else may begin.
            assert 4.0 > await until(lambda: stage == [])
            await asyncio.sleep(1.0)
            assert [] == stage
        finally:
            hostile.signal(signal.SIGCONT)
        await until(lambda: len(stage) == 1)
        await asyncio.sleep(0.5)

        assert 1 == len(stage)
        assert stage == [candidate.name for candidate in (first, second) if candidate.election.is_held()]
        await until(lambda: first.lost_to == ("" if stage == ["a"] else "b"))


async def test_a_lease_that_is_deleted_by_hand_is_made_anew(connect, cluster, namespace):
    async with candidates(connect, namespace, "a", "b") as (stage, first, second):
        uid = first.election._lease.metadata.uid
        await cluster.delete(LEASES, namespace, "test", uid=uid)
        await until(lambda: first.times + second.times == 2 and len(stage) == 1)

        # Either may make it anew; the one that led before and comes second then ends.
        leader = first if stage == ["a"] else second
        assert uid != leader.election._lease.metadata.uid
        await until(lambda: first.lost_to == ("" if leader is first else "b"))
