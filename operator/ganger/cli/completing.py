"""Names of the cluster for the shell: asked once, soon given up, and never a message where there are none."""

import asyncio
from typing import TYPE_CHECKING

import click

from ganger.cli.session import Session, Target
from ganger.contract import PLURAL, SESSION_PLURAL

if TYPE_CHECKING:
    from ganger.cli.connection import Connection

PATIENCE_SECONDS = 2.0  # a person waits with a finger on the key
NAMES_MAX = 100


def jobs(ctx: click.Context, incomplete: str) -> list[str]:
    """Return names of jobs that begin so, of the namespace that the command line names. Never raises."""
    return _names(ctx, incomplete, PLURAL)


def sessions(ctx: click.Context, incomplete: str) -> list[str]:
    """Return names of dev sessions that begin so, as `jobs` does. Never raises."""
    return _names(ctx, incomplete, SESSION_PLURAL)


def namespaces(ctx: click.Context, incomplete: str) -> list[str]:
    """Return names of namespaces that begin so. Never raises."""
    return _names(ctx, incomplete, "namespaces")


def _names(ctx: click.Context, incomplete: str, what: str) -> list[str]:
    session = ctx.find_object(Session)
    if session is None:
        return []
    target = Target(
        namespace=ctx.params.get("namespace"),
        context=ctx.params.get("context"),
        kubeconfig=ctx.params.get("kubeconfig"),
        act_as=ctx.params.get("act_as"),
        act_as_groups=tuple(ctx.params.get("act_as_groups") or ()),
    )
    try:
        found = session.names(target, what)
        if found is None:
            found = session.with_cluster(target, lambda connection: _ask(connection, what))
    except Exception:  # noqa: BLE001 - no cluster, no right, no answer: the line that is being typed must stay whole
        return []
    return sorted(name for name in found if name.startswith(incomplete))


async def _ask(connection: "Connection", what: str) -> list[str]:
    import msgspec

    from ganger.api.observed import Metadata
    from ganger.kube.resources import DEV_SESSIONS, TRAINING_JOBS, Resource

    class Named(msgspec.Struct):
        metadata: Metadata = Metadata()

    class Page(msgspec.Struct):
        items: list[Named] = []

    namespaces = Resource(group="", version="v1", plural="namespaces", kind="Namespace", namespaced=False)
    asked = {PLURAL: (TRAINING_JOBS, connection.namespace), SESSION_PLURAL: (DEV_SESSIONS, connection.namespace)}
    async with asyncio.timeout(PATIENCE_SECONDS):
        body = await connection.cluster.list(*asked.get(what, (namespaces, None)), limit=NAMES_MAX)
    return [one.metadata.name for one in msgspec.json.decode(body, type=Page).items]
