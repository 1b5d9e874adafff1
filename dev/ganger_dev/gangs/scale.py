"""How large a run is, and the objects that it is made of: queues, priority classes and jobs. Pure.

Both queues together have a little more quota than there are nodes, so that Kueue lets gangs wait and the scheduler does
too. The gangs of the queue `north` get their priority from the class of their pods, which the scheduler knows as well:
it takes nodes from others for them. Those of `south` have one that only Kueue knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final

from msgspec import Struct

from ganger.api.queueing import LABEL_CLASS
from ganger.contract import API_GROUP, API_VERSION, KIND, LABEL_QUEUE
from ganger_dev.gangs.expected import Expected, Gang
from ganger_dev.kwok import ENV_SECONDS

GPU: Final = "nvidia.com/gpu"
NORTH, SOUTH = QUEUES = ("north", "south")
_KUEUE = "kueue.x-k8s.io/v1beta2"
_URGENT, _URGENCY = "urgent", 1000
_FLAVOR = "gpus"


class Scale(Struct, frozen=True, kw_only=True):
    """The size of a run.

    nodes: with one GPU each. gangs: in both queues together; each worker needs one GPU. quota: GPUs of each queue.
    urgent_one_in: so many gangs of a queue for one that is urgent. seconds: for how long gangs train, least and most;
    urgent ones the least. partial_seconds: how long Kueue waits until all workers of an admitted gang run, before it
    evicts the gang (waitForPodsReady), and so for how long a gang may be in part; the scheduler itself waits 300 s.
    still_seconds: without another gang that is Complete the run has failed. limit_seconds: for all gangs.
    """

    nodes: int
    gangs: int
    workers: int
    quota: int
    urgent_one_in: int
    seconds: tuple[int, int]
    partial_seconds: int
    still_seconds: float
    limit_seconds: float

    @property
    def fitting(self) -> int:
        """How many gangs there are nodes for."""
        return self.nodes // self.workers


FULL = Scale(
    nodes=1000, gangs=200, workers=16, quota=544, urgent_one_in=5, seconds=(20, 40),
    partial_seconds=120, still_seconds=150.0, limit_seconds=540.0,
)  # fmt: skip
SMALL = Scale(
    nodes=40, gangs=24, workers=4, quota=24, urgent_one_in=4, seconds=(2, 4),
    partial_seconds=20, still_seconds=40.0, limit_seconds=120.0,
)  # fmt: skip


def gangs(scale: Scale) -> dict[str, Gang]:
    """Return the gangs by name, in the order in which they are submitted: the urgent ones last."""
    found = {}
    for number in range(scale.gangs):
        is_urgent = number // len(QUEUES) % scale.urgent_one_in == scale.urgent_one_in - 1
        name = f"{'urgent' if is_urgent else 'batch'}-{number}"
        found[name] = Gang(size=scale.workers, queue=QUEUES[number % len(QUEUES)], urgent=is_urgent)
    return dict(sorted(found.items(), key=lambda item: item[1].urgent))


def expected(scale: Scale) -> Expected:
    """Return what the run has to keep."""
    quota = {GPU: Fraction(scale.quota), "cpu": Fraction(scale.quota)}
    return Expected(
        gangs=gangs(scale), quota=dict.fromkeys(QUEUES, quota), partial_seconds=float(scale.partial_seconds)
    )


def job(name: str, gang: Gang, scale: Scale) -> dict[str, Any]:
    """Return the manifest of a gang's job. How long it trains follows from its number: every run has the same work."""
    least, most = scale.seconds
    number = int(name.rpartition("-")[2])
    seconds = least if gang.urgent else least + number % (most - least + 1)
    labels = {LABEL_QUEUE: gang.queue}
    spec: dict[str, Any] = {
        "task": "m:t",
        "workers": gang.size,
        "image": "pytorch-cuda:v2.15",
        "resources": {"requests": {"cpu": "1"}, "limits": {GPU: 1}},
        "env": [{"name": ENV_SECONDS, "value": f"{seconds}s"}],
    }
    if gang.urgent and gang.queue == NORTH:
        spec["priorityClassName"] = _URGENT
    elif gang.urgent:
        labels[LABEL_CLASS] = _URGENT
    return {
        "apiVersion": f"{API_GROUP}/{API_VERSION}", "kind": KIND,
        "metadata": {"name": name, "labels": labels}, "spec": spec,
    }  # fmt: skip


def objects(scale: Scale, namespace: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the path and the manifest of each object that the queues are made of."""
    shared = "/apis/kueue.x-k8s.io/v1beta2"
    priority = {"kind": "PriorityClass", "apiVersion": "scheduling.k8s.io/v1", "value": _URGENCY}
    yield "/apis/scheduling.k8s.io/v1/priorityclasses", priority | {"metadata": {"name": _URGENT}}
    yield f"{shared}/workloadpriorityclasses", _of("WorkloadPriorityClass", _URGENT, value=_URGENCY)
    yield f"{shared}/resourceflavors", _of("ResourceFlavor", _FLAVOR)
    for queue in QUEUES:
        resources = [{"name": name, "nominalQuota": str(scale.quota)} for name in ("cpu", GPU)]
        spec = {
            "namespaceSelector": {},
            "preemption": {"withinClusterQueue": "LowerPriority"},
            "resourceGroups": [
                {"coveredResources": ["cpu", GPU], "flavors": [{"name": _FLAVOR, "resources": resources}]}
            ],
        }
        yield f"{shared}/clusterqueues", _of("ClusterQueue", queue, spec=spec)
        local = _of("LocalQueue", queue, spec={"clusterQueue": queue})
        yield f"{shared}/namespaces/{namespace}/localqueues", local


def _of(kind: str, name: str, **rest: Any) -> dict[str, Any]:
    return {"apiVersion": _KUEUE, "kind": kind, "metadata": {"name": name}} | rest
