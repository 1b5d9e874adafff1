"""The product's own client with its lowest layer cut off: what it would send over HTTP, the server in memory answers.

Requests take a seeded while on both ways, and watches hear of a change a seeded while after it, each in order.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from chaos.sim.server import KINDS, ApiServer, Change, Refused, Target, selector
from ganger.kube.access import Access, NoToken
from ganger.kube.errors import Unreachable, from_answer
from ganger.kube.gate import WriteGate
from ganger.kube.http import JSON, HttpCluster
from ganger.kube.resources import Resource

BOOKMARK_SECONDS = 60.0


class SimCluster(HttpCluster):
    """One process's connection. `cut` makes it dead: nothing is sent or heard through it any more.

    delay_seconds: the longest way of a request, an answer or an event.
    """

    def __init__(self, server: ApiServer, gate: WriteGate, *, seed: int = 0, delay_seconds: float = 0.01) -> None:
        super().__init__(Access(url="sim", token=NoToken()), gate=gate)
        self._server = server
        self._random = random.Random(seed)
        self._delay = delay_seconds
        self._dead = False

    def cut(self) -> None:
        """End the connection as the death of its process does: at once, in the middle of anything."""
        self._dead = True

    async def _way(self) -> None:
        await asyncio.sleep(self._random.uniform(0.0005, self._delay))
        if self._dead:
            raise Unreachable("this process is dead")

    async def _call(
        self,
        verb: str,
        method: str,
        resource: Resource,
        namespace: str | None,
        name: str = "",
        subresource: str = "",
        *,
        query: Any = None,
        body: bytes = b"",
        content_type: str = JSON,
        **_: Any,
    ) -> bytes:
        if self._dead:
            raise Unreachable("this process is dead")
        await self._way()
        path = resource.path(namespace, name, subresource)
        code, answer = self._server.request(method, path, query, body, content_type)
        # The answer to an acknowledged write must not be late: `after` means after it, and only then dies the process.
        await self._way()
        if code >= 300:
            raise from_answer(code, answer)
        return answer

    async def discover(self, group: str) -> dict[str, frozenset[str]]:
        await self._way()
        found: dict[str, frozenset[str]] = {}
        for plural, (api_version, _) in KINDS.items():
            served, _, version = api_version.rpartition("/")
            if served == group:
                found[version] = found.get(version, frozenset()) | {plural}
        return found

    async def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str,
        timeout_seconds: int,
    ) -> AsyncIterator[bytes]:
        query = {"labelSelector": label_selector, "fieldSelector": field_selector}
        await self._way()
        yield b""
        lines = watch(self._server, Target.of(resource.path(namespace)), query, int(resource_version), timeout_seconds)
        async for line in lines:
            await self._way()
            yield line


async def watch(
    server: ApiServer, target: Target, query: dict[str, str], version: int, timeout_seconds: float
) -> AsyncIterator[bytes]:
    """Yield the lines of a watch from a version on, bookmarks among them, until the time is over."""
    if version < server.oldest:
        status = Refused(410, "Expired", f"too old resource version: {version} ({server.oldest})").status
        yield msgspec.json.encode({"type": "ERROR", "object": status})
        return
    loop = asyncio.get_running_loop()
    wanted, end = selector(target, query), loop.time() + timeout_seconds
    # From where to read on. Histories are short, so no index is kept.
    position = next((n for n, one in enumerate(server.history) if one.version > version), len(server.history))
    news, bookmark = asyncio.Event(), loop.time() + BOOKMARK_SECONDS

    def hear(change: Change) -> None:
        if change.plural == target.plural:
            news.set()

    server.on_change.append(hear)
    try:
        while loop.time() < end:
            while position < len(server.history):
                change = server.history[position]
                position += 1
                line = event(change, target.plural, wanted)
                if line:
                    yield line
            news.clear()
            if loop.time() >= bookmark:
                bookmark = loop.time() + BOOKMARK_SECONDS
                meta = {"metadata": {"resourceVersion": str(server.version)}}
                yield msgspec.json.encode({"type": "BOOKMARK", "object": meta})
            try:
                async with asyncio.timeout(max(0.0, min(end, bookmark) - loop.time())):
                    await news.wait()
            except TimeoutError:
                continue
    finally:
        server.on_change.remove(hear)


def event(change: Change, plural: str, wanted: Any) -> bytes:
    """The line that a watch says of a change, b"" where it says nothing."""
    if change.plural != plural:
        return b""
    was = change.before is not None and wanted(change.before)
    is_now = change.kind != "DELETED" and wanted(change.obj)
    if not was and not is_now:
        return b""
    kind = "MODIFIED" if was and is_now else "ADDED" if is_now else "DELETED"
    obj = change.obj
    if kind == "DELETED" and change.kind == "MODIFIED":
        # It left the selection: told as it was in there, at the version of the change.
        assert change.before is not None
        obj = change.before | {"metadata": change.before["metadata"] | {"resourceVersion": str(change.version)}}
    return msgspec.json.encode({"type": kind, "object": obj})
