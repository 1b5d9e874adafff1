"""What a job was admitted with: how many workers, and what its pods get from their flavor. Pure.

The admission is read where it is used and never copied into the job, so that an eviction has nothing to undo.
"""

from typing import Any

import msgspec

from ganger.api.queueing import Assignment, FlavorSpec, PodSetUpdate, Workload
from ganger.api.types import TrainingJob
from ganger.contract import LABEL_QUEUE
from ganger.plan.facts import Fact
from ganger.plan.quota import ADMITTED, NOT_SERVED, Hold, Quota, queue

POD_SET = "workers"
LABEL_POD_SET, LABEL_LOCAL_QUEUE = "kueue.x-k8s.io/podset", "kueue.x-k8s.io/local-queue-name"
LABEL_CLUSTER_QUEUE = "kueue.x-k8s.io/cluster-queue-name"
ANNOTATION_WORKLOAD = "kueue.x-k8s.io/workload"
TOPOLOGY_GATE = "kueue.x-k8s.io/topology"  # Kueue takes it away once it has chosen the node
_LABEL_LENGTH_MAX = 63


def bounded(job: TrainingJob, quota: Quota | None) -> TrainingJob:
    """Return the job with no more workers than it has quota for; an elastic one may have been admitted in part.

    While Kueue is not heard that is no more than it has.
    """
    got = num_admitted(quota)
    if got is None and queue(job) and (quota is None or quota.state != "Served"):
        got = job.status.gang_size
    if job.spec.elastic is None or got is None or got >= job.spec.workers:
        return job
    return msgspec.structs.replace(job, spec=msgspec.structs.replace(job.spec, workers=got))


def num_admitted(quota: Quota | None) -> int | None:
    """Return for how many workers the job holds quota, None where it holds none or is in no queue."""
    workload, got = _assignment(quota)
    if workload is None or got is None:
        return None
    asked = next((pod_set.count for pod_set in workload.spec.pod_sets if pod_set.name == got.name), 0)
    returned = sum(each.count for each in workload.status.reclaimable_pods if each.name == got.name)
    return min(got.count if got.count is not None else asked, asked - returned)


def message(job: TrainingJob, quota: Quota | None) -> str:
    """Return by whom the job was admitted, and with how many workers if not with all; "" where it was not."""
    workload, got = _assignment(quota)
    if workload is None or got is None or workload.status.admission is None:
        return ""
    text = f"queue {workload.spec.queue_name}: admitted by cluster queue {workload.status.admission.cluster_queue}"
    flavors = sorted(set(got.flavors.values()))
    if flavors:
        text += f", flavor{'s' if len(flavors) > 1 else ''} {', '.join(flavors)}"
    count = num_admitted(quota)
    if count is not None and count < job.spec.workers:
        text += f", with {count} of {job.spec.workers} workers; suspend and resume the job to ask for all"
    return text


def facts(job: TrainingJob, quota: Quota | None, held: Hold | None) -> tuple[Fact, ...]:
    """Return the condition Admitted of the job; none of a job that was never in a queue."""
    known = job.status.condition(ADMITTED) is not None
    if not queue(job):
        return ((ADMITTED, True, "NotQueued", f"the label {LABEL_QUEUE} is gone: no quota counts"),) if known else ()
    if job.spec.suspend:
        return ((ADMITTED, False, "Suspended", "a suspended job asks for no quota"),) if known else ()
    if held is not None:
        return ((ADMITTED, False, held.reason, held.message),)
    text = message(job, quota)
    return ((ADMITTED, True, ADMITTED, text),) if text else ()


def lacks(job: TrainingJob, quota: Quota | None) -> tuple[str, str] | None:
    """Return reason and sentence of what must be known before a pod of the admission can be made."""
    if queue(job) and (quota is None or quota.state != "Served"):
        absent = quota is not None and quota.state == "Absent"
        text = NOT_SERVED if absent else "Kueue has not been heard yet, and new pods need the labels of their flavor"
        return "WaitingForQueue", text
    _, got = _assignment(quota)
    if quota is None or got is None:
        return None
    missing = sorted({name for name in got.flavors.values() if name not in quota.flavors})
    if not missing:
        return None
    text = f"ResourceFlavor {missing[0]} of the admission could not be read; its node labels are needed for the pods"
    return quota.trouble or ("WaitingForFlavor", text)


def conflict(manifest: dict[str, Any], quota: Quota | None) -> str:
    """Return what of the admission contradicts the pods, "" where nothing does. It never passes by itself."""
    try:
        placed(manifest, quota)
    except ValueError as error:
        return str(error)
    return ""


def placed(manifest: dict[str, Any], quota: Quota | None) -> dict[str, Any]:
    """Return the manifest of a pod with what its admission adds: labels, node selector, tolerations, Kueue's gate.

    Raises ValueError where that contradicts the pod; see `conflict`.
    """
    workload, got = _assignment(quota)
    if quota is None or workload is None or got is None or workload.status.admission is None:
        return manifest
    cluster_queue = workload.status.admission.cluster_queue
    labels = {LABEL_POD_SET: got.name, LABEL_LOCAL_QUEUE: workload.spec.queue_name}
    if len(cluster_queue) <= _LABEL_LENGTH_MAX:
        labels[LABEL_CLUSTER_QUEUE] = cluster_queue
    annotations = {ANNOTATION_WORKLOAD: workload.metadata.name}
    updates = [PodSetUpdate(name=got.name, labels=labels, annotations=annotations)]
    for flavor in dict.fromkeys(got.flavors.values()):
        spec = quota.flavors[flavor].spec if flavor in quota.flavors else FlavorSpec()
        updates.append(PodSetUpdate(name=got.name, node_selector=spec.node_labels, tolerations=spec.tolerations))
    checks = workload.status.admission_checks
    updates += [update for check in checks for update in check.pod_set_updates if update.name == got.name]
    metadata, spec_ = dict(manifest["metadata"]), dict(manifest["spec"])
    for update in updates:
        for target, key, new in (
            (metadata, "labels", update.labels),
            (metadata, "annotations", update.annotations),
            (spec_, "nodeSelector", update.node_selector),
        ):
            target[key] = _joined(key, target.get(key, {}), new)
        fresh = [each for each in update.tolerations if each not in spec_.get("tolerations", [])]
        spec_["tolerations"] = [*spec_.get("tolerations", []), *fresh]
    if got.topology is not None:
        spec_["schedulingGates"] = [*spec_.get("schedulingGates", []), {"name": TOPOLOGY_GATE}]
    return manifest | {"metadata": metadata, "spec": {key: value for key, value in spec_.items() if value != {}}}


def _joined(what: str, old: dict[str, str], new: dict[str, str]) -> dict[str, str]:
    for key, value in new.items():
        if old.get(key, value) != value:
            raise ValueError(f"{what} {key}: the pods have {old[key]}, the admission wants {value}")
    return old | new


def _assignment(quota: Quota | None) -> tuple[Workload | None, Assignment | None]:
    workload = quota.workload if quota is not None else None
    if workload is None or workload.status.admission is None or not workload.is_true(ADMITTED):
        return workload, None
    return workload, next(iter(workload.status.admission.pod_set_assignments), None)  # a Workload of ours has one
