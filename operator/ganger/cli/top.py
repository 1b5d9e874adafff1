"""`ganger top`: what jobs and nodes hold of CPU, memory and GPUs, and what they use where the cluster measures it."""

from collections import Counter
from typing import Any

import click
import msgspec

from ganger.cli import arguments, figures, jobs, printing, shares
from ganger.cli.connection import Connection
from ganger.cli.problem import Code, doing
from ganger.cli.session import Session, Target
from ganger.cli.shares import Node, Share
from ganger.cli.terminal import escape
from ganger.contract import LABEL_JOB, LABEL_MANAGED_BY, MANAGED_BY
from ganger.kube.errors import ApiError
from ganger.kube.resources import NODES, PODS, Resource

# metrics-server's, or whoever stands for it.
POD_METRICS = Resource(group="metrics.k8s.io", version="v1beta1", plural="pods", kind="PodMetrics")
NODE_METRICS = Resource(group="metrics.k8s.io", version="v1beta1", plural="nodes", kind="NodeMetrics", namespaced=False)
JOB_COLUMNS = ("JOB", "PODS", "GPUS", "CPU", "MEMORY", "CPU USED", "MEMORY USED")
NODE_COLUMNS = ("NODE", "GPUS", "CPU", "MEMORY", "CPU USED", "MEMORY USED", "JOBS")
JOBS_SHOWN = 3


@click.command()
@click.argument("what", type=click.Choice(("jobs", "nodes")), default="jobs")
@click.option("-A", "--all-namespaces", is_flag=True, help="Jobs of every namespace.")
@arguments.for_people_or_scripts
@arguments.on_cluster
@arguments.pass_session
def top(session: Session, target: Target, what: str, all_namespaces: bool, output: str) -> Code:
    """Show what jobs or nodes hold of GPUs, CPU and memory.

    \b
    Examples:
      ganger top
      ganger top nodes

    \b
    jobs    what the pods of each job have requested
    nodes   of what each node offers, how much is held by pods of any kind

    What is used is shown where the cluster serves metrics.k8s.io; of GPUs it measures none: the dashboards do.
    """

    async def body(connection: Connection) -> list[dict[str, Any]]:
        namespace = None if all_namespaces else connection.namespace
        return await (_jobs(connection, namespace) if what == "jobs" else _nodes(connection))

    found = session.with_cluster(target, body)
    if output == "json":
        session.terminal.data(printing.as_json(found))
    elif not found:
        session.terminal.message("no job has pods here" if what == "jobs" else "the cluster has no nodes")
    else:
        with_namespace = what == "jobs" and all_namespaces
        columns = JOB_COLUMNS if what == "jobs" else NODE_COLUMNS
        rows = [_row(one, with_namespace=with_namespace) for one in found]
        for line in figures.table((("NAMESPACE",) if with_namespace else ()) + columns, rows):
            session.terminal.data(line)
    return Code.COMPLETE


async def _jobs(connection: Connection, namespace: str | None) -> list[dict[str, Any]]:
    labels = f"{LABEL_MANAGED_BY}={MANAGED_BY},{LABEL_JOB}"
    with doing("listing pods of jobs"):
        pods = await _list(connection, PODS, namespace, labels)
    measured = await _measured(connection, POD_METRICS, namespace, labels)
    found = shares.by_job(pods, measured)
    return [_values(share) | {"namespace": key[0], "job": key[1]} for key, share in sorted(found.items())]


async def _nodes(connection: Connection) -> list[dict[str, Any]]:
    with doing("listing nodes"):
        nodes = await _list(connection, NODES, None)
    with doing("listing the pods of all namespaces"):
        pods = await _list(connection, PODS, None, fields="status.phase!=Succeeded,status.phase!=Failed")
    measured = await _measured(connection, NODE_METRICS, None)
    return [_of_node(one) for one in shares.by_node(nodes, pods, measured)]


async def _measured(
    connection: Connection, resource: Resource, namespace: str | None, labels: str = ""
) -> list[dict[str, Any]]:
    try:
        return await _list(connection, resource, namespace, labels)
    except ApiError:
        return []  # most clusters without metrics-server answer 404, some 503: what is held is worth showing alone


async def _list(
    connection: Connection, resource: Resource, namespace: str | None, labels: str = "", fields: str = ""
) -> list[dict[str, Any]]:
    found, _ = await jobs.items(connection, resource, namespace, label_selector=labels, field_selector=fields)
    return [msgspec.json.decode(one) for one in found]


def _of_node(node: Node) -> dict[str, Any]:
    offered = {f"{key}Offered": value for key, value in _units(node.offers).items()}
    return _values(node.share) | offered | {"node": node.name, "open": node.open, "jobs": sorted(node.share.jobs)}


def _values(share: Share) -> dict[str, Any]:
    # Absent, not 0, where nobody measures.
    used = {f"{key}Used": value for key, value in _units(share.used).items() if share.used[key]}
    return {"pods": share.pods} | _units(share.held) | used


def _units(amounts: Counter[str]) -> dict[str, float]:
    """Return GPUs, cores and bytes."""
    return {"gpu": amounts["gpu"], "cpu": amounts["cpu"] / 1000, "memory": amounts["memory"]}


def _row(one: dict[str, Any], *, with_namespace: bool) -> tuple[str, ...]:
    used = (_cores(one.get("cpuUsed")), _size(one.get("memoryUsed")))
    if "node" in one:
        name = escape(one["node"]) + ("" if one["open"] else " (takes none)")
        jobs_ = ", ".join(one["jobs"][:JOBS_SHOWN]) + (" ..." if len(one["jobs"]) > JOBS_SHOWN else "")
        gpus = f"{one['gpu']}/{one['gpuOffered']}" if one["gpuOffered"] else ""
        cpu = f"{_cores(one['cpu']) or 0}/{_cores(one['cpuOffered']) or 0}"
        memory = f"{_size(one['memory']) or 0} of {_size(one['memoryOffered']) or 0}"
        return (name, gpus, cpu, memory, *used, escape(jobs_))
    gpus = str(one["gpu"] or "")
    cells = (escape(one["job"]), str(one["pods"]), gpus, _cores(one["cpu"]), _size(one["memory"]), *used)
    return (escape(one["namespace"]), *cells) if with_namespace else cells


def _cores(amount: float | None) -> str:
    return shares.cores(round(amount * 1000)) if amount else ""


def _size(num_bytes: int | None) -> str:
    return figures.size(num_bytes) if num_bytes else ""
