"""A small HTTP server on loopback that answers as a script says: it is how the tests misbehave as an API server."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

REASONS = {200: "OK", 201: "Created"}


@dataclass
class Request:
    """What came, and the writer to answer with."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    connection: int
    writer: asyncio.StreamWriter = field(repr=False)

    @property
    def json(self):
        return json.loads(self.body)

    async def answer(self, status=200, body=b"", headers=()):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'No')}", f"Content-Length: {len(body)}", *headers]
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await self.writer.drain()

    async def open_stream(self):
        self.writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n")
        await self.writer.drain()

    async def chunk(self, data: bytes):
        self.writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        await self.writer.drain()

    async def line(self, event):
        await self.chunk(json.dumps(event).encode() + b"\n")

    async def end_stream(self):
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    def cut(self):
        self.writer.transport.abort()


Handler = Callable[[Request], Awaitable[None]]


class Scripted:
    """Serves each `METHOD path` by the next handler of its script; the last one serves for ever."""

    def __init__(self):
        self.requests: list[Request] = []
        self.scripts: dict[str, list[Handler]] = defaultdict(list)
        self._connections = 0
        self._tasks: set[asyncio.Task] = set()
        self._server = None
        self.port = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def on(self, route: str, *handlers: Handler):
        self.scripts[route] += handlers

    def seen(self, route: str, **query: str) -> list[Request]:
        method, path = route.split(" ", 1)
        return [
            request
            for request in self.requests
            if (request.method, request.path) == (method, path) and query.items() <= request.query.items()
        ]

    async def start(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self):
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)

    async def _serve(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        self._connections += 1
        number = self._connections
        try:
            while request := await self._read(reader, writer, number):
                self.requests.append(request)
                await self._route(request)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(asyncio.current_task())
            writer.transport.abort()

    async def _route(self, request):
        kind = "WATCH" if request.query.get("watch") else request.method
        script = self.scripts.get(f"{kind} {request.path}") or self.scripts.get(kind)
        if not script:
            await request.answer(404, status(404, "NotFound"))
            return
        handler = script.pop(0) if len(script) > 1 else script[0]
        await handler(request)

    @staticmethod
    async def _read(reader, writer, number):
        line = await reader.readline()
        if not line:
            return None
        method, target, _ = line.decode().split()
        headers = {}
        while (line := await reader.readline()).strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        return Request(method, unquote(parts.path), query, headers, body, number, writer)


@asynccontextmanager
async def scripted():
    server = Scripted()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def status(code, reason, message="", **details):
    return {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}


def pod(name, version, *, uid=None, owner="", namespace="ns", phase="Pending", deleting=False):
    meta = {"name": name, "namespace": namespace, "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    if owner:
        meta["ownerReferences"] = [{"uid": owner, "kind": "TrainingJob", "name": "job", "controller": True}]
    if deleting:
        meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {"metadata": meta, "status": {"phase": phase}}


def page(version, *items, continue_=""):
    return {"metadata": {"resourceVersion": str(version), "continue": continue_}, "items": list(items)}


def bookmark(version):
    return {"type": "BOOKMARK", "object": {"kind": "Pod", "metadata": {"resourceVersion": str(version)}}}


def event(kind, obj):
    return {"type": kind, "object": obj}


def answering(status_=200, body=b"", headers=()):
    async def handler(request):
        await request.answer(status_, body, headers)

    return handler


def streaming(*events, then="hold"):
    """Send the events; then hold the stream open, end it well, or cut it."""

    async def handler(request):
        await request.open_stream()
        for item in events:
            await (request.chunk(item) if isinstance(item, bytes) else request.line(item))
        if then == "hold":
            await asyncio.sleep(3600)
        elif then == "end":
            await request.end_stream()
        else:
            request.cut()

    return handler


async def hang(_):
    await asyncio.sleep(3600)


async def cut(request):
    request.cut()
