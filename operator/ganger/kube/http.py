"""The cluster over HTTP: every request to the API server that Ganger ever makes leaves here.

Three sets of connections: many requests at once, one for each watch or list, and one of its own for the lease, so that
neither a slow list nor a full pool delays a renewal. Nothing is sent twice; of a reply to a write only the metadata is
decoded.
"""

import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Self, TypeVar

import aiohttp
import msgspec
from msgspec import Struct

from ganger import __version__
from ganger.api.observed import Metadata
from ganger.contract import FIELD_MANAGER
from ganger.kube.access import Access
from ganger.kube.cluster import Manifest
from ganger.kube.date import ServerDate
from ganger.kube.errors import ApiError, NotFound, ServerError, Unreachable, from_answer, reason_of
from ganger.kube.gate import Write, WriteGate
from ganger.kube.resources import LEASES, Resource
from ganger.kube.warning import warnings

CALL_SECONDS = 10.0
LIST_SECONDS = 60.0  # in all, while no 10 s pass without a byte
LINE_BYTES_MAX = 32 * 1024 * 1024  # etcd stores far less; a line beyond it is no object
JSON = "application/json"
APPLY = "application/apply-patch+yaml"  # JSON is YAML, and this name is known to every server
MERGE = "application/merge-patch+json"
Decoded = TypeVar("Decoded")
Observe = Callable[[str, str, str, float], None]  # verb, plural, "ok" or an error's label, seconds
Warn = Callable[[str], None]  # what the server warns of, as it says it: the same text with every answer


class _Reply(Struct, frozen=True):
    metadata: Metadata = Metadata()


class _Served(Struct, frozen=True, rename="camel"):
    group_version: str = ""
    name: str = ""


class _Discovery(Struct, frozen=True):
    versions: tuple[_Served, ...] = ()
    resources: tuple[_Served, ...] = ()


class _Version(Struct):
    major: str = ""
    minor: str = ""


_reply_decoder = msgspec.json.Decoder(_Reply)
_version_decoder = msgspec.json.Decoder(_Version)
_discovery_decoder = msgspec.json.Decoder(_Discovery)


class HttpCluster:
    """A `kube.cluster.Cluster` behind one API server. Use it as an async context, inside a running loop.

    connect_seconds: for looking up the name and connecting, None for as long as the whole call may take.
    """

    def __init__(
        self,
        access: Access,
        *,
        gate: WriteGate | None = None,
        pool: int = 64,
        call_seconds: float = CALL_SECONDS,
        connect_seconds: float | None = None,
        observe: Observe = lambda verb, plural, result, seconds: None,
        warn: Warn = lambda text: None,
    ) -> None:
        self.access = access
        self.gate = gate or WriteGate()
        self._pool = pool
        self._call_seconds = call_seconds
        self._connect_seconds = connect_seconds or call_seconds
        self._observe = observe
        self._warn = warn
        self._date = ServerDate()
        self._url = access.url.rstrip("/")

    async def __aenter__(self) -> Self:
        connections = self._connector(self._pool)
        self._session = self._open(connections)
        # aiohttp sends a PUT or DELETE again when a kept connection turns out to be closed; a write is sent once.
        self._writes = self._open(connections, owner=False)
        self._writes._retry_connection = False  # noqa: SLF001 - there is no public switch
        self._watches = self._open(self._connector(0))
        self._watches._retry_connection = False  # noqa: SLF001 - lists and watches are the reflector's to try again
        self._election = self._open(self._connector(1))
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in (self._writes, self._session, self._watches, self._election):
            await session.close()

    # --- reads -------------------------------------------------------------------------------------------------------
    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 500,
        continue_: str = "",
    ) -> bytes:
        """Return one page as JSON, never older than the call."""
        query = _selectors(label_selector, field_selector)
        if limit:
            query["limit"] = str(limit)
        if continue_:
            query["continue"] = continue_
        timeout = aiohttp.ClientTimeout(
            total=max(LIST_SECONDS, self._call_seconds), sock_read=self._call_seconds, connect=self._connect_seconds
        )
        return await self._call("list", "GET", resource, namespace, query=query, limits=timeout)

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
        """Yield an empty line once the server has accepted, then JSON lines until it ends the stream."""
        query = _selectors(label_selector, field_selector) | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_seconds),
        }
        timeout = aiohttp.ClientTimeout(total=None, connect=self._connect_seconds)
        url, sent = self._url + resource.path(namespace), self._date.wall()
        try:
            async with self._watches.get(
                url, params=query, timeout=timeout, headers=await self.access.headers(), **self._route()
            ) as answer:
                await self._check(answer, sent)
                yield b""
                async for line in _lines(answer.content):
                    yield line
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(reason_of(error)) from error

    async def get(self, resource: Resource, namespace: str | None, name: str) -> bytes:
        """Return one object as JSON. Raises NotFound."""
        return await self._call("get", "GET", resource, namespace, name)

    async def review(self, resource: Resource, spec: Mapping[str, Any]) -> bytes:
        """Return the answer to a question that is put as an object; nothing is stored."""
        body = _encode({"apiVersion": resource.api_version, "kind": resource.kind, "spec": spec})
        return await self._call("review", "POST", resource, None, body=body)

    async def discover(self, group: str) -> dict[str, frozenset[str]]:
        """Return the plurals served by each version of a group; {} when the group is not served."""
        if not group:
            return {"v1": await self._plurals("/api/v1")}
        try:
            body = await self._send("discover", "GET", "groups", f"/apis/{group}", session=self._session)
        except NotFound:
            return {}
        versions = [served.group_version for served in _decode(_discovery_decoder, body).versions]
        return {version.partition("/")[2]: await self._plurals(f"/apis/{version}") for version in versions}

    async def version(self) -> tuple[int, int]:
        """Return major and minor number of the API server; (0, 0) where it names none."""
        body = await self._send("version", "GET", "version", "/version", session=self._session)
        found = _decode(_version_decoder, body)
        digits = [re.match(r"\d+", text) for text in (found.major, found.minor)]  # some providers write 37+
        major, minor = (int(match[0]) if match is not None else 0 for match in digits)
        return major, minor

    async def _plurals(self, path: str) -> frozenset[str]:
        body = await self._send("discover", "GET", "groups", path, session=self._session)
        names = (served.name for served in _decode(_discovery_decoder, body).resources)
        return frozenset(name for name in names if "/" not in name)

    def server_offset_seconds(self) -> float:
        """Return the server's clock minus ours."""
        return self._date.offset_seconds

    # --- writes ------------------------------------------------------------------------------------------------------
    async def create(self, resource: Resource, namespace: str | None, manifest: Manifest) -> Metadata:
        """Create an object under strict field validation. Raises AlreadyExists, Invalid, Forbidden."""
        body = _encode(manifest)
        write = Write(
            verb="create", resource=resource, namespace=namespace, name=_decode(_reply_decoder, body).metadata.name
        )
        return await self._write(write, "POST", body, path_name="", query=_STRICT)

    async def rehearse(self, resource: Resource, namespace: str | None, manifest: Manifest) -> bytes:
        """Return what a create would store, as JSON; nothing is stored. Raises as `create` does."""
        query = _STRICT | {"dryRun": "All"}
        return await self._call("rehearse", "POST", resource, namespace, query=query, body=_encode(manifest))

    async def apply(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        manifest: Manifest,
        *,
        force: bool = True,
        subresource: str = "",
    ) -> Metadata:
        """Server-side apply as field manager `ganger`."""
        write = Write(verb="apply", resource=resource, namespace=namespace, name=name, subresource=subresource)
        query = _STRICT | {"force": "true" if force else "false"}
        return await self._write(write, "PATCH", _encode(manifest), query=query, content_type=APPLY)

    async def update(
        self, resource: Resource, namespace: str | None, name: str, manifest: Manifest, *, subresource: str = ""
    ) -> Metadata:
        """Replace an object; with metadata.resourceVersion only if it is still that version, else Conflict."""
        write = Write(verb="update", resource=resource, namespace=namespace, name=name, subresource=subresource)
        return await self._write(write, "PUT", _encode(manifest), query=_STRICT)

    async def patch(
        self, resource: Resource, namespace: str | None, name: str, patch: Manifest, *, subresource: str = ""
    ) -> Metadata:
        """Merge a JSON merge patch; with metadata.resourceVersion only into that version, else Conflict."""
        write = Write(verb="patch", resource=resource, namespace=namespace, name=name, subresource=subresource)
        return await self._write(write, "PATCH", _encode(patch), query=_STRICT, content_type=MERGE)

    async def patch_status(self, resource: Resource, namespace: str | None, name: str, patch: Manifest) -> Metadata:
        """Merge a JSON merge patch into the status subresource."""
        return await self.patch(resource, namespace, name, patch, subresource="status")

    async def delete(
        self, resource: Resource, namespace: str | None, name: str, *, uid: str, grace_seconds: int | None = None
    ) -> Metadata:
        """Delete the object of that UID in the background. Raises NotFound, Conflict."""
        options: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        }
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        write = Write(verb="delete", resource=resource, namespace=namespace, name=name)
        return await self._write(write, "DELETE", _encode(options), query={})

    async def _write(
        self,
        write: Write,
        method: str,
        body: bytes,
        *,
        query: Mapping[str, str],
        content_type: str = JSON,
        path_name: str | None = None,
    ) -> Metadata:
        async def send() -> bytes:
            return await self._call(
                write.verb,
                method,
                write.resource,
                write.namespace,
                write.name if path_name is None else path_name,
                write.subresource,
                query=query,
                body=body,
                content_type=content_type,
            )

        return _decode(_reply_decoder, await self.gate.call(write, send)).metadata

    # --- one request -------------------------------------------------------------------------------------------------
    async def _call(
        self,
        verb: str,
        method: str,
        resource: Resource,
        namespace: str | None,
        name: str = "",
        subresource: str = "",
        **request: Any,
    ) -> bytes:
        reads = self._watches if verb == "list" else self._session
        session = self._election if resource == LEASES else reads if method == "GET" else self._writes
        path = resource.path(namespace, name, subresource)
        return await self._send(verb, method, resource.plural, path, session=session, **request)

    async def _send(
        self,
        verb: str,
        method: str,
        plural: str,
        path: str,
        *,
        session: aiohttp.ClientSession,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = JSON,
        limits: aiohttp.ClientTimeout | None = None,
    ) -> bytes:
        started, sent, result = time.monotonic(), self._date.wall(), "ok"
        try:
            headers = await self.access.headers() + ([("Content-Type", content_type)] if body is not None else [])
            async with session.request(
                method,
                self._url + path,
                params=query,
                data=body,
                headers=headers,
                timeout=limits or aiohttp.ClientTimeout(total=self._call_seconds, connect=self._connect_seconds),
                **self._route(),
            ) as answer:
                await self._check(answer, sent)
                return await answer.read()
        except ApiError as error:
            result = error.label
            raise
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            result = Unreachable.label
            raise Unreachable(reason_of(error)) from error
        finally:
            self._observe(verb, plural, result, time.monotonic() - started)

    async def _check(self, answer: aiohttp.ClientResponse, sent: float) -> None:
        self._date.observe(answer.headers.get("Date", ""), sent=sent)
        for text in warnings(answer.headers.getall("Warning", ())):
            self._warn(text)
        if answer.status == 401:
            self.access.token.reject()
        if answer.status >= 300:
            raise from_answer(answer.status, await answer.read(), retry_after=answer.headers.get("Retry-After", ""))

    def _route(self) -> dict[str, Any]:
        access = self.access
        return {
            "ssl": access.tls if access.tls is not None else True,
            "server_hostname": access.server_name,
            "proxy": access.proxy,
            "allow_redirects": False,
        }

    @staticmethod
    def _connector(limit: int) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(limit=limit, keepalive_timeout=60.0)

    @staticmethod
    def _open(connector: aiohttp.TCPConnector, *, owner: bool = True) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            connector_owner=owner,
            headers={"User-Agent": f"ganger/{__version__}", "Accept": JSON, "Accept-Encoding": "gzip"},
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )


_STRICT = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line
        if len(rest) > LINE_BYTES_MAX:
            raise Unreachable(f"a watch line of more than {LINE_BYTES_MAX} bytes")
    if rest:
        yield rest


def _selectors(labels: str, fields: str) -> dict[str, str]:
    return ({"labelSelector": labels} if labels else {}) | ({"fieldSelector": fields} if fields else {})


def _encode(manifest: Manifest) -> bytes:
    return manifest if isinstance(manifest, bytes) else msgspec.json.encode(manifest)


def _decode(decoder: msgspec.json.Decoder[Decoded], body: bytes) -> Decoded:
    try:
        return decoder.decode(body)
    except msgspec.DecodeError as error:
        raise ServerError(200, "NotJson", f"an answer of {len(body)} bytes: {error}") from error
