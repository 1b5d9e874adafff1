"""What a hostile or clumsy client can do to the probes and metrics, over real sockets."""

import asyncio
import logging
from contextlib import asynccontextmanager

import pytest

from ganger.observe.server import Limits, Response, Server, exposition, guarded, probe

QUICK = Limits(header_bytes=1024, body_bytes=2048, request_seconds=0.15, idle_seconds=0.3, answer_seconds=0.2)
BIG = b"x" * 8_000_000  # more than the sockets of both sides take


async def fail(_):
    raise RuntimeError("a secret of the inside")


async def echo(request):
    return Response(body=f"{request.method} {request.path} {request.headers.get('x', '')} ".encode() + request.body)


async def big(_):
    return Response(body=BIG)


@asynccontextmanager
async def serving(limits=QUICK, **routes):
    server = Server({"/fail": fail, "/echo": echo, "/big": big} | routes, limits=limits)
    port = await server.start("127.0.0.1", 0)
    try:
        yield port
    finally:
        await server.stop()


@pytest.fixture
async def port():
    async with serving() as port:
        yield port


async def send(port, data, *, read=True):
    """Send bytes on a new connection; everything that came back until the server closed it, b"" for a cut."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        async with asyncio.timeout(2):
            return await reader.read() if read else b""
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()


def ask(path="/echo", method="GET", *headers, body=b""):
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def status(answer):
    return int(answer.split(b" ", 2)[1]) if answer else 0


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


def named(name):
    async def answer(request):
        return Response(body=f"{name} {request.path}".encode())

    return answer


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/jobs/u-1/report", b"jobs /v1/jobs/u-1/report"),
        ("/v1/jobs/", b"jobs /v1/jobs/"),
        ("/v1/jobs/../../etc/passwd", b"jobs /v1/jobs/../../etc/passwd"),
        ("/v1/jobs/special", b"exact /v1/jobs/special"),
        ("/v1/jobs/special/more", b"jobs /v1/jobs/special/more"),
        ("/v1/jobs/deep/er/still", b"deep /v1/jobs/deep/er/still"),
        ("/v1/jobs/deep/er", b"jobs /v1/jobs/deep/er"),
        ("/v1/jobs", b""),
        ("/v1/jobsmore", b""),
        ("/V1/jobs/u-1/report", b""),
        ("v1/jobs/u-1/report", b""),
        ("/other/v1/jobs/u-1/report", b""),
    ],
)
async def test_a_path_goes_to_its_exact_route_then_to_the_longest_above_it(path, expected):
    routes = {
        "/v1/jobs/": named("jobs"),
        "/v1/jobs/deep/er/": named("deep"),
        "/v1/jobs/special": named("exact"),
    }
    async with serving(**routes) as port:
        answer = await send(port, ask(path))

        assert (200 if expected else 404, expected) == (status(answer), answer.partition(b"\r\n\r\n")[2])


async def test_the_body_limit_holds_below_a_prefix_too():
    async with serving(**{"/v1/": echo}) as port:
        assert 413 == status(await send(port, ask("/v1/x", "POST", "Content-Length: 2049")))


@pytest.mark.parametrize(("seconds", "expected"), [(0, [b"Retry-After: 0"]), (17, [b"Retry-After: 17"]), (None, [])])
async def test_a_busy_route_says_when_to_come_again(seconds, expected):
    async def busy(_):
        return Response(status=429, retry_after_seconds=seconds)

    async with serving(**{"/busy": busy}) as port:
        head = (await send(port, ask("/busy"))).partition(b"\r\n\r\n")[0]

        assert expected == [line for line in head.split(b"\r\n") if line.startswith(b"Retry-After")]
        assert head.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")


VERDICTS = {"reader": True, "stranger": False}


@pytest.mark.parametrize(
    ("expected", "headers"),
    [
        (200, ["Authorization: Bearer reader"]),
        (200, ["authorization: bearer  reader "]),
        (403, ["Authorization: Bearer stranger"]),
        (401, ["Authorization: Bearer nobody"]),
        (401, ["Authorization: Bearer "]),
        (401, ["Authorization: Bearer"]),
        (401, ["Authorization: reader"]),
        (401, ["Authorization: Basic reader"]),
        (401, ["Authorization: Bearerreader"]),
        (401, []),
    ],
)
async def test_a_guarded_route_answers_whom_it_may(expected, headers):
    asked = []

    async def allows(token):
        asked.append(token)
        return VERDICTS.get(token)

    async with serving(**{"/metrics": guarded(named("figures"), allows)}) as port:
        head, _, body = (await send(port, ask("/metrics", "GET", *headers))).partition(b"\r\n\r\n")

        assert (expected, expected == 401) == (status(head), b"WWW-Authenticate: Bearer" in head)
        assert (b"figures /metrics" if expected == 200 else b"") == body
        assert "" not in asked


async def test_nobody_is_let_in_while_nobody_can_be_asked(caplog):
    async def allows(_):
        raise TimeoutError("the API server does not answer")

    async with serving(**{"/metrics": guarded(named("figures"), allows)}) as port:
        head, _, body = (await send(port, ask("/metrics", "GET", "Authorization: Bearer t0k3n"))).partition(b"\r\n\r\n")

        assert (503, b"") == (status(head), body)
        assert b"Retry-After: 5" in head
        assert ["cannot tell who may read /metrics: the API server does not answer"] == [
            record.getMessage() for record in caplog.records
        ]
        assert "t0k3n" not in caplog.text
