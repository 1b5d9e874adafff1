"""What a hostile or clumsy client can do to the probes and metrics, over real sockets."""

import asyncio
import logging

import pytest

from ganger.observe.server import Limits, Response, Server, exposition, probe
from unit.observe.serving import BIG, ask, echo, send, serving, status


@pytest.fixture
async def port():
    async with serving() as port:
        yield port


async def test_a_get_is_answered_with_its_length_and_type(port):
    head, _, body = (await send(port, ask("/echo?q=1", "GET", "X: y"))).partition(b"\r\n\r\n")

    assert b"GET /echo y " == body
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: 12\r\n" in head
    assert b"X-Content-Type-Options: nosniff" in head


async def test_a_head_gets_the_length_and_no_body(port):
    head, _, body = (await send(port, ask("/echo", "HEAD"))).partition(b"\r\n\r\n")

    assert b"" == body
    assert b"Content-Length: 12" in head


async def test_a_post_with_a_length_brings_its_body(port):
    answer = await send(port, ask("/echo", "POST", "Content-Length: 5", body=b"hello"))

    assert answer.endswith(b"POST /echo  hello")


async def test_a_connection_is_kept_for_further_requests(port):
    data = b"GET /echo HTTP/1.1\r\n\r\n" * 3 + ask()

    assert 4 == (await send(port, data)).count(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    ("expected", "data"),
    [
        (404, ask("/nothing")),
        (404, ask("/../etc/passwd")),
        (404, ask("/nothing", "HEAD")),
        (500, ask("/fail")),
        (405, ask("/echo", "DELETE")),
        (405, ask("/echo", "get")),
        (400, b"GET /echo\r\n\r\n"),
        (400, b"GET  /echo HTTP/1.1\r\n\r\n"),
        (400, b"GET /echo HTTP/2.0\r\n\r\n"),
        (400, b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"),
        (400, ask("/echo", "GET", "no colon")),
        (400, ask("/echo", "GET", " folded: x")),
        (400, ask("/echo", "GET", "Content-Length : 3")),
        (400, ask("/echo", "GET", ": nameless")),
        (431, ask("/echo", "GET", "X: " + "y" * 2000)),
        (411, ask("/echo", "POST", "Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n")),
        (413, ask("/echo", "POST", "Content-Length: 2049")),
        (413, ask("/echo", "POST", "Content-Length: " + "9" * 400)),
        (400, ask("/echo", "POST", "Content-Length: -1")),
        (400, ask("/echo", "POST", "Content-Length: +5")),
        (400, ask("/echo", "POST", "Content-Length: 5, 5")),
        (400, ask("/echo", "POST", "Content-Length: 5", "Content-Length: 6", body=b"hello!")),
        (400, ask("/echo", "POST", "Content-Length: ")),
    ],
)
async def test_a_bad_request_gets_its_status_and_the_end_of_the_connection(port, expected, data):
    answer = await send(port, data)

    assert expected == status(answer)
    assert b"Connection: close" in answer
    assert 1 == answer.count(b"HTTP/1.1 ")


async def test_a_route_that_fails_tells_nothing_of_the_inside_and_is_logged(port, caplog):
    answer = await send(port, ask("/fail"))

    assert b"secret" not in answer
    assert ["answering /fail failed"] == [record.getMessage() for record in caplog.records]
    assert 200 == status(await send(port, ask()))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET /echo HTT",
        ask("/echo", "POST", "Content-Length: 5", body=b"hell"),
        b"GET / HTTP/1.1\n\n",
        b"\r\n\r\n",
    ],
)
async def test_a_client_that_does_not_finish_its_request_is_dropped_in_time(port, data):
    loop = asyncio.get_running_loop()
    started = loop.time()

    assert await send(port, data) == b""
    assert loop.time() - started < 1.0


async def test_a_client_that_sends_a_byte_now_and_then_is_dropped_in_time(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sent = 0
    for byte in ask("/echo", "GET", "X: " + "y" * 200):
        if reader.at_eof():
            break
        writer.write(bytes([byte]))
        sent += 1
        await asyncio.sleep(0.02)
    writer.transport.abort()

    assert 1 < sent < 40


async def test_an_idle_connection_is_closed_after_a_while(port):
    loop = asyncio.get_running_loop()
    started = loop.time()
    answer = await send(port, b"GET /echo HTTP/1.1\r\n\r\n")

    assert 200 == status(answer)
    assert 0.2 < loop.time() - started < 1.5


async def test_a_client_that_does_not_read_is_dropped_in_time():
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(ask("/big"))
        await asyncio.sleep(0.35)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(len(BIG))
        writer.transport.abort()


async def test_a_client_that_reads_gets_the_whole_of_a_long_answer(port):
    assert (await send(port, ask("/big"))).endswith(BIG)


async def bytes_that_the_sockets_take():
    taken = asyncio.get_running_loop().create_future()

    async def accept(_, writer):
        sent = 0
        while not writer.transport.get_write_buffer_size():
            writer.write(b"x" * 10_000)
            sent += 10_000
        taken.set_result(sent - writer.transport.get_write_buffer_size())
        writer.transport.abort()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        size = await taken
        writer.transport.abort()
    return size


@pytest.mark.parametrize("more", [10_000, 25_000, 50_000])
async def test_an_answer_just_too_long_for_the_sockets_ends_its_connection_quietly(more, caplog):
    body = b"x" * (await bytes_that_the_sockets_take() + more)

    async def long(_):
        return Response(body=body)

    async with serving(Limits(), **{"/long": long}) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.transport.pause_reading()
        writer.write(ask("/long"))
        await asyncio.sleep(0.05)
        writer.transport.resume_reading()
        answer = await reader.read()
        await asyncio.sleep(0.02)

    assert answer.endswith(body)
    assert [] == caplog.records


@pytest.mark.parametrize("held", [b"", b"GET /echo HTTP/1.1\r\nX:", b"GET /echo HTTP/1.1\r\n\r\n", ask("/big")])
async def test_a_probe_is_answered_though_others_hold_every_connection(held, caplog):
    limits = Limits(connections=8, request_seconds=30, idle_seconds=30, answer_seconds=30)
    async with serving(limits) as port:
        crowd = [await asyncio.open_connection("127.0.0.1", port) for _ in range(24)]
        for _, writer in crowd:
            writer.write(held)
        await asyncio.sleep(0.05)

        assert 200 == status(await send(port, ask()))
        await asyncio.sleep(0)
        alive = sum(not writer.transport.is_closing() and not reader.at_eof() for reader, writer in crowd)
        assert alive <= 8
        for _, writer in crowd:
            writer.transport.abort()
    assert [] == caplog.records


async def test_a_connection_beyond_the_limit_is_cut_while_all_others_are_being_answered():
    release = asyncio.Event()

    async def slow(_):
        await release.wait()
        return Response()

    async with serving(Limits(connections=2), **{"/slow": slow}) as port:
        working = [asyncio.create_task(send(port, ask("/slow"))) for _ in range(2)]
        await asyncio.sleep(0.05)
        refused = await send(port, ask())
        release.set()

        assert b"" == refused
        assert [200, 200] == [status(answer) for answer in await asyncio.gather(*working)]


async def test_stop_ends_every_connection_quietly(caplog):
    server = Server({"/echo": echo})
    port = await server.start("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /echo HTTP/1.1\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    with caplog.at_level(logging.DEBUG):
        await server.stop()

    assert [] == [record for record in caplog.records if record.levelno >= logging.WARNING]
    with pytest.raises(OSError, match=str(port)):
        await asyncio.open_connection("127.0.0.1", port)
    writer.transport.abort()


async def test_a_client_that_goes_away_is_not_an_error(port, caplog):
    await send(port, b"GET /big HTTP/1.1\r\n\r\n", read=False)
    await send(port, b"GET /ec", read=False)
    await asyncio.sleep(0.05)

    assert [] == caplog.records


async def test_a_port_in_use_is_an_oserror(port):
    with pytest.raises(OSError, match=str(port)):
        await Server({}).start("127.0.0.1", port)


async def test_a_probe_says_why_it_fails():
    trouble = ""
    async with serving(**{"/readyz": probe(lambda: trouble)}) as port:
        assert (await send(port, ask("/readyz"))).endswith(b"\r\n\r\nok\n")
        trouble = "the list of pods is not in yet"
        answer = await send(port, ask("/readyz"))

        assert 503 == status(answer)
        assert answer.endswith(b"the list of pods is not in yet\n")


async def test_metrics_are_joined_and_typed():
    async with serving(**{"/metrics": exposition(lambda: b"a 1\n", lambda: b"b 2\n")}) as port:
        answer = await send(port, ask("/metrics"))

        assert answer.endswith(b"a 1\nb 2\n")
        assert b"Content-Type: text/plain; version=0.0.4; charset=utf-8" in answer
