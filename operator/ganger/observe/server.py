"""A small HTTP/1.1 server for probes, metrics and short reports, hard against slow and greedy clients.

It answers GET and HEAD, and POST with a body of known length; nothing else of HTTP is spoken. It is written by hand so
that every limit is in sight, and because the rooms below `kube` may not know an HTTP library.
"""

import asyncio
import contextlib
import logging
import ssl
from asyncio import sslproto
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from ganger.observe.text import CONTENT_TYPE

log = logging.getLogger(__name__)
TLS_RECORD_BYTES = 16384
GUARD_RETRY_SECONDS = 5
_ONCE = frozenset({"content-length", "transfer-encoding"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a client asks. Header names are in lower case; peer is its address."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""
    peer: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """What it gets. retry_after_seconds: when to ask again, for 429 and 503; None says nothing of it."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    retry_after_seconds: int | None = None


Route = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Bytes and seconds. request: for one whole request to arrive; idle: between two on one connection."""

    header_bytes: int = 8192
    body_bytes: int = 65536
    request_seconds: float = 5.0
    idle_seconds: float = 30.0
    answer_seconds: float = 10.0
    connections: int = 256


class _Refused(Exception):  # noqa: N818 - what the client is told
    def __init__(self, status: int) -> None:
        self.status = status


class Server:
    """Serves some paths on one port.

    A route whose key ends with "/" takes every path below it. An exact key goes first, then the longest such key. Paths
    are compared as they were sent: nothing is decoded and no ".." is followed.
    """

    def __init__(self, routes: Mapping[str, Route], *, limits: Limits | None = None) -> None:
        self._routes = dict(routes)
        self._below = sorted((path for path in routes if path.endswith("/")), key=len, reverse=True)
        self._limits = limits or Limits()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        # Connections that hold us up rather than we them, the one that has done so for longest first.
        self._waiting: dict[asyncio.Task[None], None] = {}

    async def start(self, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> int:
        """Listen, and return the port: the one that was asked for, or a free one for 0. Raises OSError."""
        if tls is not None:
            # asyncio gives each TLS connection 256 KiB to read into; a record of TLS has at most 16 (RFC 8446, 5.1).
            sslproto.SSLProtocol.max_size = min(sslproto.SSLProtocol.max_size, TLS_RECORD_BYTES)
        self._server = await asyncio.start_server(
            self._accept, host, port, ssl=tls, limit=self._limits.header_bytes, ssl_handshake_timeout=5 if tls else None
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "asyncio runs this in a task"
        if not self._has_room():
            writer.transport.abort()
            return
        # `drain` is to wait for the last byte: a close that leaves some behind makes a later abort fail (CPython 3.11).
        writer.transport.set_write_buffer_limits(0)
        self._tasks.add(task)
        try:
            await self._serve(task, reader, writer)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            pass  # the client went away, or was too slow: it is none of our business
        except asyncio.CancelledError:
            pass  # made room for another, or the server stops; asyncio would log it as an error
        except Exception:
            log.exception("a connection failed")
        finally:
            self._tasks.discard(task)
            self._waiting.pop(task, None)
            writer.transport.abort()

    def _has_room(self) -> bool:
        """Make room for one more: whoever only holds connections open must not keep the kubelet's probes out."""
        if len(self._tasks) < self._limits.connections:
            return True
        if not self._waiting:
            return False
        slowest = next(iter(self._waiting))
        del self._waiting[slowest]
        self._tasks.discard(slowest)
        slowest.cancel()
        return True

    async def _serve(
        self, task: asyncio.Task[None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        stays = True
        first = self._limits.request_seconds  # a new connection must ask at once
        while stays:
            self._waiting[task] = None
            async with asyncio.timeout(first):
                start = await reader.readexactly(1)
            first = self._limits.idle_seconds
            try:
                async with asyncio.timeout(self._limits.request_seconds):
                    request = await self._read(start, reader, writer)
            except _Refused as refused:
                await self._answer(writer, Response(status=refused.status), stays=False)
                return
            stays = request.headers.get("connection", "").lower() != "close"
            self._waiting.pop(task, None)
            response = await self._respond(request)
            self._waiting[task] = None  # a client that does not read what it asked for
            await self._answer(writer, response, stays=stays, head=request.method == "HEAD")

    async def _read(self, start: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request:
        try:
            head = start + await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            raise _Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE) from None
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise _Refused(HTTPStatus.BAD_REQUEST)
        headers: dict[str, str] = {}
        for line in lines[1:-2]:
            name, colon, value = line.partition(":")
            name = name.lower()
            # A length that two readers could understand differently is refused rather than guessed.
            if not colon or name != name.strip() or name in ("", *headers.keys() & _ONCE):
                raise _Refused(HTTPStatus.BAD_REQUEST)
            headers[name] = value.strip()
        if words[0] not in ("GET", "HEAD", "POST"):
            raise _Refused(HTTPStatus.METHOD_NOT_ALLOWED)
        peer = writer.get_extra_info("peername")
        return Request(
            method=words[0],
            path=words[1].partition("?")[0],
            headers=headers,
            body=await self._body(headers, reader),
            peer=str(peer[0]) if peer else "",
        )

    async def _body(self, headers: Mapping[str, str], reader: asyncio.StreamReader) -> bytes:
        if "transfer-encoding" in headers:
            raise _Refused(HTTPStatus.LENGTH_REQUIRED)
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            raise _Refused(HTTPStatus.BAD_REQUEST)
        if len(length) > 9 or int(length) > self._limits.body_bytes:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return await reader.readexactly(int(length))

    async def _respond(self, request: Request) -> Response:
        route = self._route(request.path)
        if route is None:
            return Response(status=HTTPStatus.NOT_FOUND)
        try:
            return await route(request)
        except Exception:
            log.exception("answering %s failed", request.path)
            return Response(status=HTTPStatus.INTERNAL_SERVER_ERROR)

    def _route(self, path: str) -> Route | None:
        if route := self._routes.get(path):
            return route
        return next((self._routes[start] for start in self._below if path.startswith(start)), None)

    async def _answer(
        self, writer: asyncio.StreamWriter, response: Response, *, stays: bool, head: bool = False
    ) -> None:
        lines = [
            f"HTTP/1.1 {int(response.status)} {HTTPStatus(response.status).phrase}",
            f"Content-Type: {response.content_type}",
            f"Content-Length: {len(response.body)}",
            "X-Content-Type-Options: nosniff",
            f"Connection: {'keep-alive' if stays else 'close'}",
        ]
        if response.status == HTTPStatus.UNAUTHORIZED:
            lines.append("WWW-Authenticate: Bearer")  # RFC 9110, 11.6.1: a 401 names the scheme
        if response.retry_after_seconds is not None:
            lines.append(f"Retry-After: {response.retry_after_seconds}")
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if head else response.body))
        async with asyncio.timeout(self._limits.answer_seconds):
            await writer.drain()
            if not stays:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()


def probe(check: Callable[[], str]) -> Route:
    """Return a route that answers 200 `ok` while the check returns "", else 503 and what it returned."""

    async def answer(_: Request) -> Response:
        trouble = check()
        return Response(status=503, body=trouble.encode() + b"\n") if trouble else Response(body=b"ok\n")

    return answer


def exposition(*parts: Callable[[], bytes]) -> Route:
    """Return a route that joins parts in the Prometheus text format."""

    async def answer(_: Request) -> Response:
        body = b"".join(part() for part in parts)
        return Response(body=body, content_type=CONTENT_TYPE)

    return answer


def guarded(route: Route, allows: Callable[[str], Awaitable[bool | None]]) -> Route:
    """Return a route that answers only who sends `Authorization: Bearer <token>` with a token that `allows` likes.

    allows: True lets in; False for a token whose owner may not, answered by 403; None for a token that nobody has,
    answered by 401 as no token is. When it raises, nobody is let in and the answer is 503.
    """

    async def answer(request: Request) -> Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            return Response(status=HTTPStatus.UNAUTHORIZED)
        try:
            allowed = await allows(token)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the asking, it is not the client's doing
            log.warning("cannot tell who may read %s: %s", request.path, error)
            return Response(status=HTTPStatus.SERVICE_UNAVAILABLE, retry_after_seconds=GUARD_RETRY_SECONDS)
        if allowed is None:
            return Response(status=HTTPStatus.UNAUTHORIZED)
        return await route(request) if allowed else Response(status=HTTPStatus.FORBIDDEN)

    return answer
