"""One read of a node for all who ask, and no answer where there is none."""

import asyncio
import logging

import pytest

from ganger.api.observed import Condition, Node, NodeSpec, NodeStatus, Taint
from ganger.kube.nodes import FORBIDDEN_SECONDS, READS_MAX, SHARED_SECONDS, NodeReader

BODY = {
    "kind": "Node",
    "metadata": {"name": "a", "labels": {"x": "y"}},
    "spec": {"taints": [{"key": "node.kubernetes.io/out-of-service", "value": "v", "effect": "NoExecute"}]},
    "status": {
        "conditions": [{"type": "Ready", "status": "False", "reason": "KubeletNotReady", "lastHeartbeatTime": None}],
        "images": [{"names": ["x"]}],
    },
}
NODE = Node(
    spec=NodeSpec(taints=(Taint(key="node.kubernetes.io/out-of-service"),)),
    status=NodeStatus(conditions=(Condition(type="Ready", status="False", reason="KubeletNotReady"),)),
)


class Clock:
    seconds = 5.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def reader(cluster, clock):
    return NodeReader(cluster, clock)


def answers(status, body=None):
    async def handler(request):
        reason = {403: "Forbidden", 404: "NotFound"}.get(status, "InternalError")
        await request.answer(status, body or {"kind": "Status", "code": status, "reason": reason, "message": "no"})

    return handler


async def test_node_is_read_as_far_as_it_tells_of_its_health(server, reader):
    server.on("GET /api/v1/nodes/a", answers(200, BODY))

    assert NODE == await reader.read("a")


async def test_all_who_ask_within_half_a_minute_share_one_read(server, reader, clock):
    server.on("GET /api/v1/nodes/a", answers(200, BODY))
    found = await asyncio.gather(*(reader.read("a") for _ in range(50)))
    clock.seconds += SHARED_SECONDS - 0.1
    found.append(await reader.read("a"))

    assert ([NODE] * 51, 1) == (found, len(server.requests))


async def test_node_is_read_anew_afterwards(server, reader, clock):
    server.on("GET /api/v1/nodes/a", answers(200, BODY), answers(200, {"kind": "Node"}))
    first = await reader.read("a")
    clock.seconds += SHARED_SECONDS

    assert [NODE, Node()] == [first, await reader.read("a")]


async def test_node_that_is_gone_is_no_reason_to_ask_for_no_other(server, reader):
    server.on("GET /api/v1/nodes/a", answers(200, BODY))

    assert [None, NODE] == [await reader.read("gone"), await reader.read("a")]


async def test_operator_that_may_not_read_nodes_asks_once_an_hour_and_says_so_once(server, reader, clock, caplog):
    caplog.set_level(logging.INFO, logger="ganger.kube.nodes")
    server.on("GET /api/v1/nodes/a", answers(403))
    server.on("GET /api/v1/nodes/b", answers(200, BODY))
    refused = [await reader.read("a"), await reader.read("b"), await reader.read("c")]
    num_requests = len(server.requests)
    clock.seconds += FORBIDDEN_SECONDS

    assert ([None] * 3, 1, 1) == (refused, num_requests, len(caplog.records))
    assert {"INFO"} == {record.levelname for record in caplog.records}
    assert NODE == await reader.read("b")


@pytest.mark.parametrize("handler", [answers(500), answers(429), answers(200, b"<html>"), answers(200, {"spec": 7})])
async def test_server_that_gives_no_answer_leaves_the_question_open(server, reader, handler):
    server.on("GET /api/v1/nodes/a", handler)
    server.on("GET /api/v1/nodes/b", answers(200, BODY))

    assert [None, NODE] == [await reader.read("a"), await reader.read("b")]


async def test_many_nodes_leave_room_for_the_writes(server, reader):
    under_way, most = 0, 0

    async def slowly(request):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        await request.answer(200, BODY)

    server.on("GET", slowly)
    found = await asyncio.gather(*(reader.read(f"n{number}") for number in range(20)))

    assert ([NODE] * 20, READS_MAX) == (found, most)


async def test_one_who_stops_waiting_takes_the_answer_from_nobody(server, reader):
    server.on("GET /api/v1/nodes/a", answers(200, BODY))
    impatient, patient = asyncio.create_task(reader.read("a")), asyncio.create_task(reader.read("a"))
    await asyncio.sleep(0)
    impatient.cancel()

    assert NODE == await patient
    assert impatient.cancelled()
