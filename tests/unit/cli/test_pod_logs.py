"""`kube.logs` over real HTTP: what is asked of the API server, and what its answers become."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from aiohttp import web

from ganger.kube.access import Access, NoToken
from ganger.kube.errors import Invalid, Unreachable
from ganger.kube.logs import PodLogs


@asynccontextmanager
async def server(handler):
    app = web.Application()
    app.router.add_get("/api/v1/namespaces/team/pods/digits-0-0/log", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with PodLogs(Access(url=f"http://127.0.0.1:{port}/", token=NoToken())) as logs:
        yield logs
    await runner.cleanup()


async def read(logs, **options):
    return b"".join([piece async for piece in logs.stream("team", "digits-0-0", "trainer", **options)])


async def test_the_log_is_asked_for_with_times_and_comes_in_pieces():
    asked = {}

    async def handler(request):
        asked.update(request.query)
        return web.Response(text="2026-01-01T00:00:00Z a\n")

    async with server(handler) as logs:
        found = await read(logs, follow=True, tail=3, since=datetime(2026, 1, 1, 1, 2, 3, tzinfo=UTC))

    assert b"2026-01-01T00:00:00Z a\n" == found
    assert {
        "container": "trainer",
        "timestamps": "true",
        "follow": "true",
        "tailLines": "3",
        "sinceTime": "2026-01-01T01:02:03Z",
    } == asked


async def test_a_container_that_has_not_started_is_an_error_of_its_class():
    async def handler(_):
        status = {"kind": "Status", "reason": "BadRequest", "message": 'container "trainer" is waiting to start'}
        return web.json_response(status, status=400)

    async with server(handler) as logs:
        with pytest.raises(Invalid, match="is waiting to start"):
            await read(logs)


async def test_a_stream_that_is_cut_is_unreachable():
    async def handler(request):
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"half")
        request.transport.close()
        return response

    async with server(handler) as logs:
        with pytest.raises(Unreachable):
            await read(logs)
