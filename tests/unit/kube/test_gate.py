"""The one gate of all writes: the fences that shut it, and the points at which a test lets the process die."""

import asyncio

import pytest

from ganger.kube.access import Access, NoToken
from ganger.kube.errors import Unreachable
from ganger.kube.gate import FENCE, Crash, Fenced, Write, WriteGate
from ganger.kube.http import HttpCluster
from ganger.kube.resources import LEASES, PODS, SECRETS
from unit.kube.scripted import answering, pod

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {}}


async def test_a_fence_that_does_not_hold_lets_no_write_out_but_reads_and_the_lease(server):
    server.on("GET", answering(200, pod("a", 1)))
    server.on("PATCH", answering(200, pod("l", 1)))
    gate = WriteGate(fence=lambda: False)
    async with HttpCluster(Access(url=server.url, token=NoToken()), gate=gate) as cluster:
        for write in (
            cluster.create(PODS, "ns", POD),
            cluster.apply(PODS, "ns", "a", POD),
            cluster.update(PODS, "ns", "a", POD),
            cluster.patch(PODS, "ns", "a", POD),
            cluster.delete(PODS, "ns", "a", uid="u"),
            cluster.create(SECRETS, "ns", {"metadata": {"name": "notes-dev"}}),
        ):
            with pytest.raises(Fenced):
                await write
        await cluster.get(PODS, "ns", "a")
        await cluster.patch(LEASES, "ns", "l", {})

    assert ["GET", "PATCH"] == [request.method for request in server.requests]


async def test_a_task_with_a_fence_of_its_own_is_kept_by_it_and_so_is_what_it_starts(server):
    server.on("POST", answering(201, pod("a", 1)))
    held = {0: True, 1: False}

    async def work(number):
        FENCE.set(lambda: held[number])
        await asyncio.create_task(cluster.create(PODS, "ns", POD))

    async with HttpCluster(Access(url=server.url, token=NoToken()), gate=WriteGate(fence=lambda: True)) as cluster:
        first, second = await asyncio.gather(work(0), work(1), return_exceptions=True)
        await cluster.create(PODS, "ns", POD)

    assert (None, Fenced) == (first, type(second))
    assert 2 == len(server.requests)


@pytest.mark.parametrize(
    ("mode", "error", "sent"), [("before", Crash, 0), ("after", Crash, 1), ("lost", Unreachable, 1)]
)
async def test_a_crash_point_strikes_before_after_or_takes_the_answer(server, mode, error, sent):
    server.on("POST", answering(201, pod("a", 1)))
    log: list[Write] = []
    gate = WriteGate(plan={1: mode}, log=log)
    async with HttpCluster(Access(url=server.url, token=NoToken()), gate=gate) as cluster:
        await cluster.create(PODS, "ns", POD)
        with pytest.raises(error):
            await cluster.create(PODS, "ns", POD)
        await cluster.create(PODS, "ns", POD)  # the same number never strikes again

    assert len(server.requests) == 2 + sent
    assert ["create pods/ns/a"] * 3 == [str(write) for write in log]
