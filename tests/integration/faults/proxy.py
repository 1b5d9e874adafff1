"""A proxy between an operator and the real API server that makes a plan's faults, and records every request.

The operator is unchanged: it gets a kubeconfig that leads here. TLS ends here under the cluster's own authority.
"""

import asyncio
import json
import ssl
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohttp import web
from yarl import URL

from ganger_dev import kubeconfig
from ganger_dev.control_plane import ControlPlane
from integration.faults.plan import WRITES, Plan, Rule

HOP = {"connection", "transfer-encoding", "content-length", "content-encoding", "keep-alive", "host", "accept-encoding"}
JSON = "application/json"
REASONS = {409: "Conflict", 410: "Expired", 429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable"}
VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(kw_only=True)
class Seen:
    """One request. at: monotonic seconds. status: 0 until, or unless, an answer began. fault: what it met, or ""."""

    at: float
    verb: str
    resource: str
    name: str
    query: dict[str, str]
    fault: str
    status: int = 0
    lines: list[str] = field(default_factory=list)  # of a watch: the types of the events that it was sent


class FaultProxy:
    """A proxy in a thread of its own. Use it as a context."""

    def __init__(self, plane: ControlPlane, folder: Path, plan: Plan | None = None) -> None:
        self.plan = plan or Plan()
        self.requests: list[Seen] = []
        self.url = ""
        self._plane = plane
        self._folder = folder
        self._lists: dict[str, dict[str, tuple[int, bytes, str]]] = {}  # by mark, then by path
        self._latest: dict[str, tuple[int, bytes, str]] = {}
        self._open: dict[str, list[asyncio.Transport]] = {}  # the connections of watches, by resource
        self._marks: dict[str, asyncio.Event] = {}
        self._loop = asyncio.new_event_loop()
        self._started, self._stop = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),), daemon=True)

    # --- for the test ---
    def __enter__(self) -> Self:
        # The plan lies beside the operator's log: with it a failure is made again.
        (self._folder / "plan.yaml").write_text(self.plan.to_yaml())
        self._thread.start()
        assert self._started.wait(10), "the proxy did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig that leads through the proxy."""
        path = self._folder / "kubeconfig-proxy"
        token = self._plane.token_for("ganger")
        return kubeconfig.write(path, name="proxy", url=self.url, ca=self._plane.ca, token=token)

    def add(self, *rules: Rule) -> None:
        """Let more go wrong from now on."""
        self.plan.rules += rules
        (self._folder / "plan.yaml").write_text(self.plan.to_yaml())

    def clear(self) -> None:
        """Let nothing go wrong any more; what is held stays held until its mark."""
        self.plan.rules.clear()

    def end_watches(self, resource: str) -> None:
        """Cut every watch of a resource that is open now."""
        open_now, self._open[resource] = self._open.get(resource, []), []
        for transport in open_now:
            self._loop.call_soon_threadsafe(transport.abort)

    def mark(self, name: str) -> None:
        """Let go what waits for this mark; lists that were answered so far are those of this mark."""
        self._lists[name] = dict(self._latest)
        self._loop.call_soon_threadsafe(lambda: self._event(name).set())

    def seen(self, verb: str = "*", resource: str = "*", name: str = "*", since: float = 0.0) -> list[Seen]:
        """The requests so far that match."""
        return [
            one
            for one in list(self.requests)
            if one.at >= since
            and all(fnmatchcase(*pair) for pair in ((one.verb, verb), (one.resource, resource), (one.name, name)))
        ]

    def writes(self, since: float = 0.0) -> list[Seen]:
        """Writes that matter: neither leases nor events."""
        return [s for s in self.seen(since=since) if s.verb in WRITES and s.resource not in ("leases", "events")]

    # --- the server ---
    async def _run(self) -> None:
        serving = self._plane.authority.issue("fault-proxy", user="fault-proxy", hosts=("127.0.0.1", "localhost"))
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(serving.certificate, serving.key)
        self._upstream = ssl.create_default_context(cafile=str(self._plane.ca))
        connector = aiohttp.TCPConnector(limit=0, ssl=self._upstream)
        async with aiohttp.ClientSession(
            connector=connector, auto_decompress=True, timeout=aiohttp.ClientTimeout(total=None)
        ) as self._session:
            app = web.Application(client_max_size=64 * 1024 * 1024)
            app.router.add_route("*", "/{path:.*}", self._serve)
            runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
            self.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
            self._started.set()
            await self._stop.wait()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()  # held requests and watches
            await runner.cleanup()

    def _event(self, name: str) -> asyncio.Event:
        return self._marks.setdefault(name, asyncio.Event())

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        verb, resource, name = describe(request.method, request.path, dict(request.query))
        rule = self.plan.choose(verb, resource, name)
        seen = Seen(
            at=time.monotonic(), verb=verb, resource=resource, name=name,
            query=dict(request.query), fault=rule.fault if rule else "",
        )  # fmt: skip
        self.requests.append(seen)
        early = await self._before(request, seen, rule)
        if early is not None:
            seen.status = early.status
            return early
        try:
            return await self._forward(request, seen, rule)
        except aiohttp.ClientError:
            return self._cut(request)  # the server is away, and so are we

    async def _before(self, request: web.Request, seen: Seen, rule: Rule | None) -> web.StreamResponse | None:
        """Do what comes before the server hears of the request; return the answer if it never does."""
        if rule is None:
            return None
        if rule.fault == "delay":
            await asyncio.sleep(rule.seconds)
        elif rule.fault == "drop_connection":
            return self._cut(request)
        elif rule.fault == "half_open" and not (seen.verb == "watch" and rule.lines):
            await self._stop.wait()
        elif rule.fault == "hold" and seen.verb != "watch":
            await self._event(rule.until).wait()
        elif rule.fault == "status":
            headers = {"Retry-After": str(rule.retry_after)} if rule.retry_after is not None else {}
            return web.json_response(_status(rule.code), status=rule.code, headers=headers)
        elif rule.fault == "html_502":
            return web.Response(status=502, text="<html><h1>502 Bad Gateway</h1></html>", content_type="text/html")
        elif rule.fault == "empty_body":
            return web.Response(status=200, content_type=JSON)
        elif rule.fault == "serve_old" and not self._event(rule.until).is_set():
            old = self._lists.get(rule.frozen, {}).get(request.path_qs)
            if seen.verb == "list" and old is not None:
                return web.Response(status=old[0], body=old[1], headers={"Content-Type": old[2]})
            if seen.verb == "watch":
                await self._event(rule.until).wait()
        return None

    def _cut(self, request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=599)  # nobody reads it any more

    async def _forward(self, request: web.Request, seen: Seen, rule: Rule | None) -> web.StreamResponse:
        headers = {key: value for key, value in request.headers.items() if key.lower() not in HOP}
        body = await request.read()
        url = self._plane.url + request.raw_path
        async with self._session.request(
            request.method, URL(url, encoded=True), headers=headers, data=body or None
        ) as answer:
            seen.status = answer.status
            kept = {key: value for key, value in answer.headers.items() if key.lower() not in HOP}
            if seen.verb == "watch" and answer.status == 200:
                return await self._stream(request, answer, seen, rule, kept)
            content = await answer.read()
        if seen.verb == "list":
            self._latest[request.path_qs] = (answer.status, content, kept.get("Content-Type", JSON))
        fault = rule.fault if rule else ""
        if fault == "answer_lost":
            return self._cut(request)
        if fault == "hold_answer" and rule is not None:
            await self._event(rule.until).wait()
        if fault == "wrong_content_type":
            kept["Content-Type"] = "text/html"
        if fault == "slow_body" and rule is not None:
            return await _slowly(request, web.StreamResponse(status=seen.status, headers=kept), content, rule.seconds)
        return web.Response(status=seen.status, body=content, headers=kept)

    # --- watches ---
    async def _stream(
        self,
        request: web.Request,
        answer: aiohttp.ClientResponse,
        seen: Seen,
        rule: Rule | None,
        headers: dict[str, str],
    ) -> web.StreamResponse:
        stream = web.StreamResponse(status=200, headers=headers)
        await stream.prepare(request)
        if request.transport is not None:
            self._open.setdefault(seen.resource, []).append(request.transport)
        try:
            limit = rule.seconds if rule and rule.fault == "close" else None
            async with asyncio.timeout(limit):
                async for line in self._lines(answer, seen, rule):
                    await stream.write(line)
        except TimeoutError:
            pass
        await stream.write_eof()
        return stream

    async def _lines(self, answer: aiohttp.ClientResponse, seen: Seen, rule: Rule | None) -> AsyncIterator[bytes]:
        fault = rule.fault if rule else ""
        if rule and fault == "error_event":
            yield json.dumps({"type": "ERROR", "object": _status(rule.code)}).encode() + b"\n"
            return
        if fault == "unknown_event":
            yield b'{"type":"NEWS","object":{"metadata":{"name":"x"}}}\n'
        async for raw in _split(answer.content):
            event = json.loads(raw)
            if rule and fault == "hold" and _chosen(rule, event):
                await self._event(rule.until).wait()
            if fault == "bookmark_only" and event["type"] != "BOOKMARK":
                continue
            if rule and fault == "half_open" and len(seen.lines) >= rule.lines:
                await self._stop.wait()
            seen.lines.append(event["type"])
            if fault == "torn_line" and len(seen.lines) == 1:
                yield raw[: len(raw) // 2] + b"\n"
                continue
            yield raw + b"\n"
            if fault == "dup_event":
                yield raw + b"\n"


def describe(method: str, path: str, query: dict[str, str]) -> tuple[str, str, str]:
    """Return verb, resource (with its subresource) and name of a request to the API server."""
    parts = [part for part in path.split("/") if part]
    rest = parts[2:] if parts[:1] == ["api"] else parts[3:]
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        rest = rest[2:]
    resource, name, sub = [*rest, "", "", ""][:3]
    verb = VERBS[method]
    if verb == "get" and not name:
        verb = "watch" if query.get("watch") in ("1", "true") else "list"
    return verb, f"{resource}/{sub}" if sub else resource, name


def _chosen(rule: Rule, event: dict[str, Any]) -> bool:
    name = event["object"]["metadata"].get("name", "")
    return fnmatchcase(event["type"], rule.event) and fnmatchcase(name, rule.name)


def _status(code: int) -> dict[str, Any]:
    reason = REASONS.get(code, "Timeout")
    message = f"the fault plan says {code}"
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
            "message": message}  # fmt: skip


async def _split(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line


async def _slowly(
    request: web.Request, answer: web.StreamResponse, content: bytes, seconds: float
) -> web.StreamResponse:
    await answer.prepare(request)
    step = len(content) // 8 + 1
    for start in range(0, len(content), step):
        await asyncio.sleep(seconds / 8)
        await answer.write(content[start : start + step])
    await answer.write_eof()
    return answer
