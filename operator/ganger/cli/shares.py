"""What pods hold of nodes, by job and by node: requests, and what is used where the cluster measures it. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from math import ceil
from typing import Any

from msgspec import Struct, field

from ganger.api import quantity
from ganger.cli.checkup import is_gpu, takes_workers
from ganger.contract import LABEL_JOB

Values = dict[str, Any]
_OVER = ("Succeeded", "Failed")


class Share(Struct, kw_only=True):
    """Amounts of cpu (thousandths of a core), memory (bytes) and gpu. used: cpu and memory as measured, if they are."""

    held: Counter[str] = field(default_factory=Counter)
    used: Counter[str] = field(default_factory=Counter)
    pods: int = 0
    jobs: set[str] = field(default_factory=set)


class Node(Struct, kw_only=True):
    """A node, what it offers and what is held of it. open: whether it takes workers."""

    name: str
    open: bool
    offers: Counter[str]
    share: Share


def requests(pod: Values) -> Counter[str]:
    """Return what the scheduler reserves for a pod: its containers together, or its largest init container.

    Init containers that go on beside the others (restartPolicy Always) count with them.
    """
    spec = pod.get("spec") or {}
    total: Counter[str] = Counter()
    largest: Counter[str] = Counter()
    for one in spec.get("initContainers") or ():
        own = _of_container(one)
        if one.get("restartPolicy") == "Always":
            total += own
        largest |= own + total if one.get("restartPolicy") != "Always" else total
    for one in spec.get("containers") or ():
        total += _of_container(one)
    return (total | largest) + amounts(spec.get("overhead") or {})


def _of_container(container: Values) -> Counter[str]:
    resources = container.get("resources") or {}
    # A limit without a request is a request of the same size.
    return amounts((resources.get("limits") or {}) | (resources.get("requests") or {}))


def amounts(resources: Mapping[str, Any]) -> Counter[str]:
    """Return cpu, memory and gpu of a map of resources; of GPUs all kinds and slices together."""
    found: Counter[str] = Counter()
    for name, amount in resources.items():
        if name == "cpu":
            found["cpu"] += ceil(quantity.parse(amount) * 1000)
        elif name == "memory":
            found["memory"] += ceil(quantity.parse(amount))
        elif is_gpu(name):
            found["gpu"] += ceil(quantity.parse(amount))
    return found


def by_job(pods: Iterable[Values], measured: Iterable[Values]) -> dict[tuple[str, str], Share]:
    """Return namespace and name of each job with what its pods hold. measured: PodMetrics of the same pods."""
    used = _usage(measured)
    found: dict[tuple[str, str], Share] = {}
    for pod in pods:
        metadata = pod["metadata"]
        job = (metadata.get("labels") or {}).get(LABEL_JOB)
        if job is None or (pod.get("status") or {}).get("phase") in _OVER:
            continue
        share = found.setdefault((metadata["namespace"], job), Share())
        _add(share, pod, used)
    return found


def by_node(nodes: Iterable[Values], pods: Iterable[Values], measured: Iterable[Values]) -> list[Node]:
    """Return each node by name. measured: NodeMetrics."""
    used = _usage(measured)
    found = {}
    for one in nodes:
        name = one["metadata"]["name"]
        offers = amounts((one.get("status") or {}).get("allocatable") or {})
        share = Share(used=used.get(("", name), Counter()))
        found[name] = Node(name=name, open=takes_workers(one), offers=offers, share=share)
    for pod in pods:
        node = found.get((pod.get("spec") or {}).get("nodeName", ""))
        if node is None or (pod.get("status") or {}).get("phase") in _OVER:
            continue
        _add(node.share, pod, {})
        job = (pod["metadata"].get("labels") or {}).get(LABEL_JOB)
        if job is not None:
            node.share.jobs.add(job)
    return [found[name] for name in sorted(found)]


def _add(share: Share, pod: Values, used: Mapping[tuple[str, str], Counter[str]]) -> None:
    metadata = pod["metadata"]
    share.held += requests(pod)
    share.used += used.get((metadata.get("namespace", ""), metadata["name"]), Counter())
    share.pods += 1


def _usage(measured: Iterable[Values]) -> dict[tuple[str, str], Counter[str]]:
    found = {}
    for one in measured:
        parts = [one] if "usage" in one else one.get("containers") or []
        total: Counter[str] = Counter()
        for part in parts:
            total += amounts(part.get("usage") or {})
        found[one["metadata"].get("namespace", ""), one["metadata"]["name"]] = total
    return found


def cores(thousandths: int) -> str:
    """Return cores: 250m, 1.5, 16; "" for none."""
    if not thousandths:
        return ""
    return f"{thousandths}m" if thousandths < 1000 else f"{thousandths / 1000:.4g}"
