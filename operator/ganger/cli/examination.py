"""The questions that `ganger doctor` puts to a cluster, each once and all side by side; nothing is stored or polled.

Whoever may not ask is told so in that line: a user of a namespace sees what a user may see.
"""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import msgspec
from msgspec import Struct

from ganger import __version__
from ganger.api.crd import definitions
from ganger.cli import checkup, jobs
from ganger.cli.checkup import Finding
from ganger.cli.connection import Connection
from ganger.cli.session import Session
from ganger.contract import API_GROUP, OPERATOR_LEASE, PLURAL
from ganger.kube.errors import ApiError, Forbidden, NotFound, Unauthorized, Unreachable
from ganger.kube.resources import (
    BINDINGS,
    DEFINITIONS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    LEASES,
    LOCAL_QUEUES,
    NODES,
    OWN_RIGHTS,
    POLICIES,
    SERVICES,
    STORAGE_CLASSES,
    Resource,
)

OPERATOR = "app.kubernetes.io/name=ganger"


class Right(Struct, frozen=True):
    """What a user of jobs does in a namespace. needed_for: what is refused without it."""

    verb: str
    group: str
    plural: str
    needed_for: str
    subresource: str = ""

    @property
    def what(self) -> str:
        """The resource as `kubectl auth can-i` takes it."""
        return f"{self.plural}/{self.subresource}" if self.subresource else self.plural


RIGHTS = (
    Right("create", API_GROUP, PLURAL, "ganger submit"),
    Right("create", "", "pods", "ganger submit, by the chart's admission policy,"),
    Right("patch", API_GROUP, PLURAL, "ganger suspend, resume and request"),
    Right("delete", API_GROUP, PLURAL, "ganger delete"),
    Right("watch", API_GROUP, PLURAL, "ganger watch, wait and logs -f"),
    Right("get", "", "pods", "ganger logs", "log"),
)


async def examine(connection: Connection, session: Session, operator_namespace: str | None) -> list[Finding]:
    """Return every finding, in the order in which they are worth reading."""
    try:
        first = checkup.server(await connection.cluster.version())
    except (Unreachable, Unauthorized) as error:
        why = "does not accept these credentials" if isinstance(error, Unauthorized) else "did not answer"
        fix = "check --context and --kubeconfig, and that the cluster is up and reachable from here"
        return [Finding("API server", "mend", f"{why} ({error.message})", fix)]
    except ApiError as error:
        first = Finding("API server", "note", f"answers, and refuses to say its version ({error.reason})")
    questions: list[tuple[str, Awaitable[list[Finding]]]] = [
        *((str(one["spec"]["names"]["kind"]), definition(connection, one)) for one in definitions()),
        ("operator", _operator(connection, session, operator_namespace)),
        *((f"may {right.verb} {right.what}", _right(connection, right)) for right in RIGHTS),
        ("nodes", _nodes(connection)),
        ("PodGroups", _pod_groups(connection)),
        ("Kueue", _kueue(connection)),
        ("storage", _storage(connection)),
        ("admission", _admission(connection, operator_namespace)),
    ]
    found = await asyncio.gather(*(answered(about, question) for about, question in questions))
    return [first, *checkup.weighed(finding for findings in found for finding in findings)]


async def answered(about: str, question: Awaitable[list[Finding]]) -> list[Finding]:
    """Return what the question found, or that it may not be asked."""
    try:
        return await question
    except Forbidden:
        return [Finding(about, "unknown", "you may not read that", "ask an administrator to run ganger doctor")]
    except ApiError as error:
        return [Finding(about, "unknown", f"the API server says: {error.message or error.reason}")]


async def definition(connection: Connection, wanted: dict[str, Any]) -> list[Finding]:
    """Return whether the cluster has this definition. Raises ApiError."""
    try:
        body = await connection.cluster.get(DEFINITIONS, None, wanted["metadata"]["name"])
    except NotFound:
        return [checkup.definition(wanted, None)]
    return [checkup.definition(wanted, msgspec.json.decode(body))]


async def deployments(connection: Connection, namespace: str | None = None) -> list[dict[str, Any]]:
    """Return the Deployments of operators. namespace: None for all of them. Raises ApiError."""
    return await _list(connection, DEPLOYMENTS, namespace, OPERATOR)


async def _operator(connection: Connection, session: Session, namespace: str | None) -> list[Finding]:
    """The Deployment, then what only its namespace tells: the lease and the metrics."""
    present = await deployments(connection, namespace)
    found = [checkup.operator(present, __version__)]
    if not present:
        return found
    home = present[0]["metadata"]["namespace"]
    parts = (("lease", _lease(connection, session, home)), ("metrics", _metrics(connection, home)))
    for more in await asyncio.gather(*(answered(about, question) for about, question in parts)):
        found += more
    return found


async def _lease(connection: Connection, session: Session, namespace: str) -> list[Finding]:
    try:
        spec = msgspec.json.decode(await connection.cluster.get(LEASES, namespace, OPERATOR_LEASE)).get("spec")
    except NotFound:
        spec = None
    now = session.now() + timedelta(seconds=connection.cluster.server_offset_seconds())
    return [checkup.lease(spec, namespace, now)]


async def _metrics(connection: Connection, namespace: str) -> list[Finding]:
    labels = f"{OPERATOR},app.kubernetes.io/component=metrics"
    services = await _list(connection, SERVICES, namespace, labels)
    slices = await _list(connection, ENDPOINT_SLICES, namespace, OPERATOR) if services else []
    return [checkup.metrics(services, slices)]


async def _right(connection: Connection, right: Right) -> list[Finding]:
    asked = {"namespace": connection.namespace, "verb": right.verb, "group": right.group, "resource": right.plural}
    asked |= {"subresource": right.subresource} if right.subresource else {}
    answer = msgspec.json.decode(await connection.cluster.review(OWN_RIGHTS, {"resourceAttributes": asked}))
    allowed = bool((answer.get("status") or {}).get("allowed"))
    return [checkup.right(right.verb, right.what, connection.namespace, allowed, right.needed_for)]


async def _nodes(connection: Connection) -> list[Finding]:
    return checkup.nodes(await _list(connection, NODES, None))


async def _pod_groups(connection: Connection) -> list[Finding]:
    return [checkup.pod_groups(await connection.cluster.discover("scheduling.k8s.io"))]


async def _kueue(connection: Connection) -> list[Finding]:
    served = await connection.cluster.discover(LOCAL_QUEUES.group)
    local = None
    if LOCAL_QUEUES.version in served:
        try:
            local = await _list(connection, LOCAL_QUEUES, connection.namespace)
        except Forbidden:
            local = None
    return [checkup.queues(served, local, connection.namespace)]


async def _storage(connection: Connection) -> list[Finding]:
    return [checkup.storage(await _list(connection, STORAGE_CLASSES, None))]


async def _admission(connection: Connection, namespace: str | None) -> list[Finding]:
    found, bound = await asyncio.gather(
        *(_list(connection, kind, None, "app.kubernetes.io/part-of=ganger") for kind in (POLICIES, BINDINGS))
    )
    return [checkup.policies(found, bound, namespace or "ganger-system")]


async def _list(
    connection: Connection, resource: Resource, namespace: str | None, labels: str = ""
) -> list[dict[str, Any]]:
    found, _ = await jobs.items(connection, resource, namespace, label_selector=labels)
    return [msgspec.json.decode(one) for one in found]
