"""What one watch event says of a pod, of a Workload or of a TrainingJob, and no more of it. Pure.

`version` is the event's resourceVersion: the number of the write in etcd, one count for all resources of a cluster, so
that the events of several watches have one order. `at` is when the event was read, in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct, field

from ganger.api import quantity
from ganger.api.observed import Condition, Metadata
from ganger.contract import LABEL_ATTEMPT, LABEL_JOB

Amounts = Mapping[str, Fraction]
OVER = ("Succeeded", "Failed")


class PodFact(Struct, frozen=True, kw_only=True):
    """A pod of a gang. bound: it has a node. gone: it was deleted. requests: what it takes from its node."""

    version: int
    at: float
    name: str
    gang: str
    attempt: int = 0
    bound: bool = False
    phase: str = "Pending"
    gone: bool = False
    requests: Amounts = {}

    @property
    def is_live(self) -> bool:
        """Whether it holds a place on a node: it is bound, and its containers have not all ended."""
        return self.bound and not self.gone and self.phase not in OVER


class WorkloadFact(Struct, frozen=True, kw_only=True):
    """The Workload of a gang. queue: the cluster queue whose quota it holds, "" for none.

    pods, usage: for how many pods it holds quota, and how much. evicted: the reason, "" while it is not.
    """

    version: int
    at: float
    name: str
    gang: str
    queue: str = ""
    pods: int = 0
    usage: Amounts = {}
    evicted: str = ""
    told: str = ""


class JobFact(Struct, frozen=True, kw_only=True):
    """The TrainingJob of a gang. reason: why its newest attempt began."""

    version: int
    at: float
    name: str
    gang: str
    phase: str = ""
    attempt: int = 0
    reason: str = ""
    told: str = ""


Fact = PodFact | WorkloadFact | JobFact


class _Resources(Struct, frozen=True):
    requests: dict[str, str] = {}


class _Container(Struct, frozen=True):
    resources: _Resources = _Resources()


class _PodSpec(Struct, frozen=True, rename="camel"):
    node_name: str = ""
    containers: tuple[_Container, ...] = ()
    init_containers: tuple[_Container, ...] = ()


class _PodStatus(Struct, frozen=True):
    phase: str = "Pending"


class _Pod(Struct, frozen=True):
    metadata: Metadata = Metadata()
    spec: _PodSpec = _PodSpec()
    status: _PodStatus = _PodStatus()


class _Assignment(Struct, frozen=True, rename="camel"):
    count: int = 0
    resource_usage: dict[str, str] = {}


class _Admission(Struct, frozen=True, rename="camel"):
    cluster_queue: str = ""
    pod_set_assignments: tuple[_Assignment, ...] = ()


class _WorkloadStatus(Struct, frozen=True):
    conditions: tuple[Condition, ...] = ()
    admission: _Admission | None = None


class _Workload(Struct, frozen=True):
    metadata: Metadata = Metadata()
    status: _WorkloadStatus = _WorkloadStatus()


class _Last(Struct, frozen=True):
    reason: str = ""


class _Restarts(Struct, frozen=True):
    last: _Last = _Last()


class _JobStatus(Struct, frozen=True):
    phase: str = ""
    attempt: int = 0
    message: str = ""
    restarts: _Restarts = _Restarts()


class _Job(Struct, frozen=True):
    metadata: Metadata = Metadata()
    status: _JobStatus = _JobStatus()


class Line(Struct, frozen=True):
    """A line of a watch whose object is not decoded yet."""

    type: str = ""
    object: msgspec.Raw = field(default_factory=msgspec.Raw)


_pods = msgspec.json.Decoder(_Pod)
_workloads = msgspec.json.Decoder(_Workload)
_jobs = msgspec.json.Decoder(_Job)


def pod(type_: str, body: bytes | msgspec.Raw, at: float) -> PodFact:
    """Return the fact of an event of pods."""
    seen = _pods.decode(body)
    labels = seen.metadata.labels
    return PodFact(
        version=int(seen.metadata.resource_version),
        at=at,
        name=seen.metadata.name,
        gang=labels.get(LABEL_JOB, ""),
        attempt=int(labels.get(LABEL_ATTEMPT, "0")),
        bound=bool(seen.spec.node_name),
        phase=seen.status.phase,
        gone=type_ == "DELETED",
        requests=_requests(seen.spec),
    )


def workload(type_: str, body: bytes | msgspec.Raw, at: float) -> WorkloadFact:
    """Return the fact of an event of Workloads. A finished one holds no quota, as Kueue counts."""
    seen = _workloads.decode(body)
    conditions = {condition.type: condition for condition in seen.status.conditions}
    admission = seen.status.admission
    holds = admission is not None and type_ != "DELETED" and not _is_true(conditions.get("Finished"))
    sets = admission.pod_set_assignments if admission is not None and holds else ()
    usage: dict[str, Fraction] = {}
    for one in sets:
        for resource, text in one.resource_usage.items():
            usage[resource] = usage.get(resource, Fraction(0)) + _amount(text)
    evicted = conditions.get("Evicted")
    return WorkloadFact(
        version=int(seen.metadata.resource_version),
        at=at,
        name=seen.metadata.name,
        gang=seen.metadata.labels.get(LABEL_JOB, ""),
        queue=admission.cluster_queue if admission is not None and holds else "",
        pods=sum(one.count for one in sets),
        usage=usage,
        evicted=evicted.reason if evicted is not None and _is_true(evicted) else "",
        told="; ".join(f"{one.type} {one.status} ({one.reason}): {one.message}" for one in conditions.values()),
    )


def job(type_: str, body: bytes | msgspec.Raw, at: float) -> JobFact:
    """Return the fact of an event of TrainingJobs."""
    seen = _jobs.decode(body)
    return JobFact(
        version=int(seen.metadata.resource_version),
        at=at,
        name=seen.metadata.name,
        gang=seen.metadata.name,
        phase="Deleted" if type_ == "DELETED" else seen.status.phase,
        attempt=seen.status.attempt,
        reason=seen.status.restarts.last.reason,
        told=seen.status.message,
    )


def _is_true(condition: Condition | None) -> bool:
    return condition is not None and condition.status == "True"


def _requests(spec: _PodSpec) -> dict[str, Fraction]:
    """Return what a pod takes of each resource: its containers together, or an init container that takes more."""
    total: dict[str, Fraction] = {}
    for container in spec.containers:
        for resource, text in container.resources.requests.items():
            total[resource] = total.get(resource, Fraction(0)) + _amount(text)
    for container in spec.init_containers:
        for resource, text in container.resources.requests.items():
            total[resource] = max(total.get(resource, Fraction(0)), _amount(text))
    return total


@lru_cache(maxsize=1024)
def _amount(text: Any) -> Fraction:
    return quantity.parse(text)
