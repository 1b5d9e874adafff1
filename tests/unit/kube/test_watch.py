"""One watch over HTTP: whole lines, torn lines, cuts and silence."""

import asyncio
import json

import pytest

from ganger.kube.errors import (
    Gone,
    Unreachable,
)
from ganger.kube.resources import PODS
from unit.kube.scripted import answering, event, pod, status, streaming

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {}}
PODS_PATH = "/api/v1/namespaces/ns/pods"


async def lines_of(cluster):
    return [line async for line in cluster.watch(PODS, "ns", resource_version="5", timeout_seconds=9)]


async def test_a_watch_asks_for_bookmarks_and_yields_whole_lines(server, cluster):
    first = event("ADDED", pod("a", 6))
    text = json.dumps(first).encode() + b"\n"
    server.on(f"WATCH {PODS_PATH}", streaming(text[:10], text[10:] + text[:5], text[5:], then="end"))

    lines = await lines_of(cluster)

    assert [b"", text.strip(), text.strip()] == lines
    expected = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": "5", "timeoutSeconds": "9"}
    assert expected == server.requests[0].query


async def test_a_watch_yields_a_last_line_that_is_torn(server, cluster):
    server.on("WATCH", streaming(b'{"type":"ADD', then="end"))

    assert [b"", b'{"type":"ADD'] == await lines_of(cluster)


async def test_a_watch_that_is_cut_off_is_unreachable(server, cluster):
    server.on("WATCH", streaming(b'{"type":"ADD', then="cut"))

    with pytest.raises(Unreachable):
        await lines_of(cluster)


async def test_a_watch_from_too_old_a_version_is_gone(server, cluster):
    server.on("WATCH", answering(410, status(410, "Expired")))

    with pytest.raises(Gone):
        await lines_of(cluster)


async def test_a_watch_outlives_the_call_limit(server, cluster):
    async def late(request):
        await request.open_stream()
        await asyncio.sleep(0.5)
        await request.chunk(b"{}\n")
        await request.end_stream()

    server.on("WATCH", late)

    assert [b"", b"{}"] == await lines_of(cluster)
