"""Reading jobs, and what belongs to them, from the cluster.

Objects are decoded as far as the command reads them; a job of a newer operator that does not fit is kept as its JSON.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import msgspec
from msgspec import Raw, Struct, field

from ganger.api.observed import Claim, Metadata, Pod
from ganger.api.types import TrainingJob, decode
from ganger.cli.connection import Connection
from ganger.cli.problem import Code, Problem, doing
from ganger.contract import LABEL_JOB_UID
from ganger.kube.errors import NotFound
from ganger.kube.resources import CLAIMS, PODS, TRAINING_JOBS, Resource

T = TypeVar("T")


class _PageMetadata(Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    continue_: str = field(name="continue", default="")


class _Page(Struct, frozen=True):
    metadata: _PageMetadata = _PageMetadata()
    items: list[Raw] = []


class _Named(Struct, frozen=True):
    metadata: Metadata = Metadata()


_PAGE = msgspec.json.Decoder(_Page)
_IDENTITY = msgspec.json.Decoder(_Named)


def metadata_of(body: Raw | bytes) -> Metadata:
    """Return the metadata of any object."""
    return _IDENTITY.decode(body).metadata


def typed(body: Raw | bytes, kind: type[T]) -> T:
    """Return an object as the type. Raises Problem when it was written by a newer Ganger."""
    try:
        # A job has the values of its profile only as `decode` reads it.
        return cast("T", decode(body)) if kind is TrainingJob else msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise Problem(
            f"{metadata_of(body).name} cannot be read by this version of ganger",
            str(error),
            "the operator of this cluster is newer: upgrade ganger, or read it with -o yaml",
            code=Code.USAGE,
        ) from error


def reader(kind: type[T]) -> Callable[[Raw], T]:
    """Return `typed` for one kind."""
    return lambda body: typed(body, kind)


async def items(
    connection: Connection,
    resource: Resource,
    namespace: str | None,
    *,
    label_selector: str = "",
    field_selector: str = "",
) -> tuple[list[Raw], str]:
    """Return every object of the kind as JSON, page by page, and the resourceVersion to watch from."""
    found: list[Raw] = []
    continue_ = ""
    while True:
        body = await connection.cluster.list(
            resource, namespace, label_selector=label_selector, field_selector=field_selector, continue_=continue_
        )
        page = _PAGE.decode(body)
        found += page.items
        continue_ = page.metadata.continue_
        if not continue_:
            return found, page.metadata.resource_version


async def read(connection: Connection, name: str) -> bytes:
    """Return a job as JSON."""
    with doing(f"reading job {name} in namespace {connection.namespace}"):
        return await connection.cluster.get(TRAINING_JOBS, connection.namespace, name)


async def job(connection: Connection, name: str) -> TrainingJob:
    """Return a job."""
    return typed(await read(connection, name), TrainingJob)


async def pods(connection: Connection, owner: TrainingJob) -> list[Pod]:
    """Return the pods whose controller is this very job, of every attempt."""
    with doing(f"listing the pods of {owner.metadata.name}"):
        found, _ = await items(
            connection, PODS, connection.namespace, label_selector=f"{LABEL_JOB_UID}={owner.metadata.uid}"
        )
    return [pod for pod in (typed(item, Pod) for item in found) if pod.metadata.controller_uid == owner.metadata.uid]


async def claim(connection: Connection, name: str) -> Claim | None:
    """Return a claim, or None where there is none."""
    with doing(f"reading claim {name}"):
        try:
            return typed(await connection.cluster.get(CLAIMS, connection.namespace, name), Claim)
        except NotFound:
            return None


def without_noise(body: Raw | bytes) -> dict[str, Any]:
    """Return an object for printing: without managedFields, which no person reads."""
    manifest: dict[str, Any] = msgspec.json.decode(body)
    manifest.get("metadata", {}).pop("managedFields", None)
    return manifest
