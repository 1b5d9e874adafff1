"""Ways into pods over a real websocket; the far end is a server that speaks as the API server does.

tests/e2e/test_devcli.py has the same through a real API server, kubelet and container.
"""

import asyncio
import json

import aiohttp
import pytest
from aiohttp import web

from ganger.kube import exec as kube_exec
from ganger.kube import portforward
from ganger.kube.access import Access, NoToken
from ganger.kube.channels import V4, V5, Streams
from ganger.kube.errors import Forbidden, NotFound, ServerError, Unauthorized, Unreachable


class Bearer:
    """A token that is known when it leaks."""

    rejected = 0

    async def header(self):
        return "Bearer canary"

    def reject(self):
        self.rejected += 1


@pytest.fixture
def far(request):
    """Run a test's coroutine with the far end: `play` a websocket, or answer everything with `refuse`."""

    class Far:
        def __init__(self):
            self.requests = []
            self.token = Bearer()
            self.protocols = (V5, V4)
            self.play = None
            self.refuse = None

        def run(self, body):
            return asyncio.run(self._run(body))

        async def _run(self, body):
            app = web.Application()
            app.router.add_route("*", "/{tail:.*}", self._answer)
            runner = web.AppRunner(app)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = site._server.sockets[0].getsockname()[1]
            try:
                async with (
                    asyncio.timeout(20),
                    Streams(Access(url=f"http://127.0.0.1:{port}/", token=self.token)) as streams,
                ):
                    return await body(streams)
            finally:
                await runner.cleanup()

        async def _answer(self, asked):
            self.requests.append(asked)
            if self.refuse is not None:
                code, reason, message = self.refuse
                return web.json_response(
                    {"kind": "Status", "code": code, "reason": reason, "message": message}, status=code
                )
            socket = web.WebSocketResponse(protocols=self.protocols)
            await socket.prepare(asked)
            await self.play(socket)
            return socket

    return Far()


def _end(**status):
    return b"\x03" + json.dumps(status).encode()


async def _output(streams, *, tty=False, stdin=b""):
    async with kube_exec.run(streams, "team", "digits-0-0", "trainer", ["sh", "-c", "a b"], tty=tty, stdin=True) as one:
        if stdin:
            await one.write(stdin)
            await one.end_input()
        found = [piece async for piece in one.output()]
        return found, one.exit_code


def test_a_command_is_asked_for_as_kubectl_asks_and_its_streams_are_kept_apart(far):
    async def play(socket):
        await socket.send_bytes(b"\x01")  # the server opens every channel with nothing in it
        await socket.send_bytes(b"\x01out")
        await socket.send_bytes(b"\x02err")
        await socket.send_bytes(b"\xff\x01")
        await socket.send_bytes(_end(status="Success"))

    far.play = play

    assert ([(1, b"out"), (2, b"err")], 0) == far.run(_output)
    asked = far.requests[0]
    assert "/api/v1/namespaces/team/pods/digits-0-0/exec" == asked.path
    assert (
        "container=trainer&stdout=true&stdin=true&stderr=true&command=sh&command=-c&command=a b" == asked.query_string
    )
    assert "Bearer canary" == asked.headers["Authorization"]


@pytest.mark.parametrize("protocols, said", [((V5, V4), [b"\x00in", b"\xff\x00"]), ((V4,), [b"\x00in"])])
def test_the_end_of_input_is_said_where_the_server_has_a_word_for_it(far, protocols, said):
    seen = []

    async def play(socket):
        while len(seen) < len(said):
            seen.append((await socket.receive()).data)
        await socket.send_bytes(_end(status="Success"))

    far.play, far.protocols = play, protocols

    far.run(lambda streams: _output(streams, stdin=b"in"))

    assert said == seen


def test_an_exit_code_is_that_of_the_command_and_a_command_that_did_not_start_has_none(far):
    causes = {"causes": [{"reason": "ExitCode", "message": "3"}]}
    ends = [
        _end(status="Failure", reason="NonZeroExitCode", details=causes),
        _end(status="Failure", reason="InternalError", message="no such command", code=500),
    ]

    async def play(socket):
        await socket.send_bytes(ends.pop(0))

    far.play = play

    async def both(streams):
        first = await _output(streams)
        with pytest.raises(ServerError, match="no such command"):
            await _output(streams)
        return first

    assert ([], 3) == far.run(both)


def test_a_connection_that_is_cut_is_told_and_has_no_exit_code(far):
    async def play(socket):
        await socket.send_bytes(b"\x01half")
        socket._req.transport.abort()

    far.play = play

    with pytest.raises(Unreachable):
        far.run(_output)


@pytest.mark.parametrize(
    "status, kind",
    [
        ((403, "Forbidden", 'cannot create resource "pods/exec"'), Forbidden),
        ((404, "NotFound", 'pods "digits-0-0" not found'), NotFound),
        ((401, "Unauthorized", "Unauthorized"), Unauthorized),
    ],
)
def test_a_refusal_comes_with_its_text(far, status, kind):
    far.refuse = status

    with pytest.raises(kind) as caught:
        far.run(_output)

    assert status[2] == caught.value.message
    assert (1 if status[0] == 401 else 0) == far.token.rejected


def test_nobody_there_is_unreachable():
    async def body():
        async with Streams(Access(url="http://127.0.0.1:9", token=NoToken())) as streams:
            await _output(streams)

    with pytest.raises(Unreachable):
        asyncio.run(body())


async def _talk(streams, data=b"GET"):
    async with portforward.connect(streams, "team", "digits-0-0", 8888) as pipe:
        await pipe.write(data)
        return b"".join([piece async for piece in pipe.pieces()])


def test_bytes_go_to_the_port_and_back_without_the_numbers_in_front(far):
    async def play(socket):
        await socket.send_bytes(b"\x00" + (8888).to_bytes(2, "little"))
        await socket.send_bytes(b"\x01" + (8888).to_bytes(2, "little"))
        got = b""
        while len(got) < 100_000:
            got += (await socket.receive()).data[1:]
        await socket.send_bytes(b"\x00" + got[::-1])

    far.play = play
    data = bytes(range(250)) * 400

    assert data[::-1] == far.run(lambda streams: _talk(streams, data))
    assert ("/api/v1/namespaces/team/pods/digits-0-0/portforward", "ports=8888") == (
        far.requests[0].path,
        far.requests[0].query_string,
    )


def test_a_port_at_which_nobody_listens_is_told(far):
    async def play(socket):
        await socket.send_bytes(b"\x00\xb8\x22")
        await socket.send_bytes(b"\x01\xb8\x22")
        await socket.send_bytes(b"\x01connect: connection refused")
        await socket.receive()

    far.play = play

    with pytest.raises(ServerError, match="connection refused"):
        far.run(_talk)


def test_a_quiet_connection_is_pinged(far, monkeypatch):
    monkeypatch.setattr("ganger.kube.channels.PING_SECONDS", 0.01)
    pinged = asyncio.Event()

    async def play(socket):
        message = await socket.receive()
        assert message.type == aiohttp.WSMsgType.PING
        pinged.set()
        await socket.send_bytes(_end(status="Success"))

    far.play = play
    far.protocols = (V5,)

    async def quiet(streams):
        return await _output(streams)

    monkeypatch.setattr(web, "WebSocketResponse", _seeing_pings(web.WebSocketResponse))
    assert 0 == far.run(quiet)[1]
    assert pinged.is_set()


def _seeing_pings(kind):
    return lambda **options: kind(autoping=False, **options)
