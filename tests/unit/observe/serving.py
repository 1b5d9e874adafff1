"""A server on loopback, and requests to it as bytes."""

import asyncio
from contextlib import asynccontextmanager

from ganger.observe.server import Limits, Response, Server

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
