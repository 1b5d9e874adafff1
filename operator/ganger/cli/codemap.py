"""The ConfigMap with the code of one job: made before it, owned by it, gone with it or where there is no such job."""

import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from msgspec import Struct

from ganger.api.manifest import Located
from ganger.api.observed import Metadata
from ganger.cli import jobs, work
from ganger.cli.connection import Connection
from ganger.cli.manifests import Document
from ganger.cli.problem import doing
from ganger.cli.work import Work
from ganger.contract import API_GROUP, API_VERSION, KIND
from ganger.kube.errors import AlreadyExists, ApiError, NotFound
from ganger.kube.resources import CONFIG_MAPS


class _Map(Struct):
    metadata: Metadata = Metadata()
    data: dict[str, str] = {}


@asynccontextmanager
async def carried(
    connection: Connection, document: Document, made: Work | None
) -> AsyncIterator[tuple[Document, Callable[[Metadata], Awaitable[None]]]]:
    """Make the ConfigMap and yield the job that names it, and what to call with the job's metadata once it is there.

    Where the body fails, or the job that is there is another one, the ConfigMap is removed again. made: None for none.
    """
    if made is None:
        yield document, _nothing
        return
    created = await _create(connection, document.name, made)
    kept = False

    async def own(job: Metadata) -> None:
        nonlocal kept
        found = await jobs.job(connection, job.name)
        code = found.spec.code
        if code is None or code.config_map is None or code.config_map.name != created.name:
            return
        kept = True
        owner = {"apiVersion": f"{API_GROUP}/{API_VERSION}", "kind": KIND, "name": job.name, "uid": job.uid}
        with doing(f"giving ConfigMap {created.name} to job {job.name}"):
            patch = {"metadata": {"ownerReferences": [owner]}}
            await connection.cluster.patch(CONFIG_MAPS, connection.namespace, created.name, patch)

    try:
        yield _naming(document, created.name), own
    finally:
        if not kept:
            with contextlib.suppress(ApiError):
                await connection.cluster.delete(CONFIG_MAPS, connection.namespace, created.name, uid=created.uid)


async def _create(connection: Connection, job: str, made: Work) -> Metadata:
    """Create the ConfigMap, or take one of the same content that nobody owns. Raises Problem."""
    manifest = work.config_map(job, made, connection.namespace)
    name = manifest["metadata"]["name"]
    with doing(f"storing the code of {job} in namespace {connection.namespace}"):
        try:
            return await connection.cluster.create(CONFIG_MAPS, connection.namespace, manifest)
        except AlreadyExists:
            with contextlib.suppress(NotFound):
                body = await connection.cluster.get(CONFIG_MAPS, connection.namespace, name)
                found = msgspec.json.decode(body, type=_Map)
                if found.data == manifest["data"] and not found.metadata.owner_references:
                    return found.metadata
        # That of a job which is there, or is about to go: with it would go the code of this one.
        manifest["metadata"]["name"] = f"{name}-{secrets.token_hex(2)}"
        return await connection.cluster.create(CONFIG_MAPS, connection.namespace, manifest)


def _naming(document: Document, name: str) -> Document:
    manifest: dict[str, Any] = document.located.manifest
    spec = manifest["spec"] | {"code": {"configMap": {"name": name}}}
    located = Located(manifest | {"spec": spec}, document.located.lines)
    return msgspec.structs.replace(document, located=located)


async def _nothing(job: Metadata) -> None:
    pass
