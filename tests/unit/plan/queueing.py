"""Workloads in words, as Kueue would show them."""

import msgspec

from builders import at, job
from ganger.api.queueing import Flavor, Workload
from ganger.api.types import TrainingJob
from ganger.plan import workload as asking
from ganger.plan.quota import Priority, Quota

LABEL = "kueue.x-k8s.io/queue-name"


def queued(labels=None, **spec) -> TrainingJob:
    """A job in the queue `team`."""
    made = job(**spec)
    labels = {LABEL: "team"} | (labels or {})
    return msgspec.structs.replace(made, metadata=msgspec.structs.replace(made.metadata, labels=labels))


def workload(a_job, *true: str, admitted=False, evicted="", checks=(), count=None, reclaimed=0, **more) -> Workload:
    """The Workload of a job, or that of `manifest`. true: conditions that are True. evicted: with that reason."""
    conditions = {type_: ("True", type_, "") for type_ in true}
    if admitted:
        conditions |= {"QuotaReserved": ("True", "QuotaReserved", ""), "Admitted": ("True", "Admitted", "")}
    if evicted:
        conditions["Evicted"] = ("True", evicted, "Preempted to accommodate another workload")
    conditions |= more.pop("conditions", {})
    manifest = more.pop("manifest", None) or asking.manifest(a_job, Priority())
    metadata = {"uid": "wl-1", "resourceVersion": "7", "generation": 1}
    assignment = {"name": manifest["spec"]["podSets"][0]["name"], "flavors": {"cpu": "spot"}} | (
        {"count": count} if count is not None else {}
    )
    status = {
        "conditions": [
            {"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": at(5)}
            for type_, (status, reason, message) in conditions.items()
        ],
        "admissionChecks": list(checks),
        "reclaimablePods": [{"name": "workers", "count": reclaimed}] if reclaimed else [],
    }
    if admitted:
        status["admission"] = {"clusterQueue": "gpus", "podSetAssignments": [assignment]}
    spec = manifest["spec"] | more
    return msgspec.convert(
        {"metadata": manifest["metadata"] | metadata, "spec": spec, "status": status}, Workload, strict=False
    )


def flavor(labels=None, tolerations=()) -> Flavor:
    """A ResourceFlavor."""
    spec = {"nodeLabels": {"pool": "spot"} if labels is None else labels, "tolerations": list(tolerations)}
    return msgspec.convert({"metadata": {"name": "spot"}, "spec": spec}, Flavor)


def served(a_workload=None, **more) -> Quota:
    """What is known where Kueue is served and the Workload is this."""
    flavors = {"spot": flavor()} if a_workload is not None and a_workload.status.admission is not None else {}
    return Quota(**{"state": "Served", "workload": a_workload, "priority": Priority(), "flavors": flavors} | more)
