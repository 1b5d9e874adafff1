"""What Kueue is asked and told: the Workload of a job, and each change of it (docs/adr/0019-kueue.md). Pure.

At most one change in a pass; the next follows from what is seen then. A status is written with the resourceVersion that
the decision was made on, so that news of Kueue is never overwritten. Quota is given back only when no container of the
gang can run any more: until then it is the time in which the gang writes its checkpoint.
"""

import hashlib
from datetime import datetime
from typing import Any

import msgspec

from ganger.api.conditions import upsert
from ganger.api.observed import Condition, Metadata
from ganger.api.queueing import GROUP, LABEL_CLASS, LABEL_JOB_UID, LABEL_MAX_SECONDS, PODS_PRIORITY, VERSIONS, Workload
from ganger.api.types import TrainingJob, encode
from ganger.contract import ANNOTATION_EDITION, API_GROUP, KIND
from ganger.plan import boost, edition, elastic, lifecycle, names, pods
from ganger.plan.admission import POD_SET
from ganger.plan.gang import Gang, is_over
from ganger.plan.quota import ADMITTED, Change, Priority, has_stopped, is_old, queue
from ganger.plan.seen import Seen
from ganger.plan.site import NOWHERE, Site

_REQUEUED_AT_ONCE = frozenset({"Preempted", "NodeFailures"})  # the others wait for what Kueue says of them
_HASH_LENGTH = 5
_NAME_LENGTH_MAX = 63


def name(job: TrainingJob) -> str:
    """Return the name of the job's Workload: the one that Kueue itself would give it."""
    return name_of(KIND, job.metadata)


def name_of(kind: str, owner: Metadata) -> str:
    """Return the name of the Workload of an object of that kind of ours."""
    text = f"{kind}\n{API_GROUP}\n{owner.name}\n{owner.uid}"
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:_HASH_LENGTH]
    return f"{kind.lower()}-{owner.name}"[: _NAME_LENGTH_MAX - 1 - _HASH_LENGTH] + f"-{digest}"


def wanted_class(job: TrainingJob) -> tuple[str, str]:
    """Return group and name of the class that gives the job its priority; name "" is the cluster's default."""
    label = job.metadata.labels.get(LABEL_CLASS, "")
    return (GROUP, label) if label else (PODS_PRIORITY, job.spec.priority_class_name or "")


def manifest(job: TrainingJob, priority: Priority, stored: TrainingJob | None = None) -> dict[str, Any]:
    """Return the Workload of a job. stored: the job without the operator's defaults, see plan/edition.py."""
    return {
        "apiVersion": f"{GROUP}/{VERSIONS[0]}",
        "kind": "Workload",
        "metadata": {
            "name": name(job),
            "namespace": job.metadata.namespace,
            "labels": names.labels(job) | {LABEL_JOB_UID: job.metadata.uid},
            "annotations": {ANNOTATION_EDITION: edition.edition(stored or job)}
            | edition.values_mark(job.status.profile),
            "ownerReferences": [names.owner_reference(job)],
        },
        "spec": {key: value for key, value in _spec(job, priority).items() if value is not None},
    }


def change(
    job: TrainingJob,
    gang: Gang,
    seen: Seen,
    now: datetime,
    site: Site = NOWHERE,
    *,
    may_ask: bool = True,
) -> Change | None:
    """Return the next write to the job's Workload, None where nothing is to be said.

    may_ask: False while its profile is missing, so that nobody knows what the job will need.
    """
    quota, stored = seen.quota, seen.stored
    if quota is None or quota.state != "Served":
        return None
    workload = quota.workload
    if workload is None:
        asks = may_ask and queue(job) and not job.status.finished and not job.spec.suspend and has_stopped(gang)
        return Change(verb="create", body=manifest(job, quota.priority, stored)) if asks and quota.priority else None
    if workload.metadata.deletion_timestamp is not None:
        return None
    if job.status.finished:
        return _finish(job, workload, now) if has_stopped(gang) else None
    has_to_go = job.spec.suspend or is_old(job, workload, stored)
    if not queue(job) or (has_to_go and has_stopped(gang)):
        return Change(verb="delete", target=workload.metadata)
    if has_to_go or workload.is_true("Finished"):
        return None
    reserved = workload.is_true("QuotaReserved")
    if workload.is_true("Evicted") and reserved:
        # While it stops, so that it costs no time: in the queue it has no more priority than its equals.
        return _boost(workload, boost.dropped(workload)) or (release(workload, now) if has_stopped(gang) else None)
    spec = _outdated(job, workload, quota.priority, reserved=reserved)
    if spec:
        return patch(workload, spec)
    if not workload.is_true(ADMITTED):
        return _boost(workload, boost.dropped(workload))
    told = ready(workload, now, job.status.is_true(lifecycle.PODS_READY)) or _reclaim(job, gang, workload)
    return told or _boost(workload, boost.kept(job, gang, workload, seen.live, site.priority_boost, now))


def _spec(job: TrainingJob, priority: Priority) -> dict[str, Any]:
    pod = pods.pod(job, 0, 0)
    labels = {key: value for key, value in pod["metadata"]["labels"].items() if key in names.labels(job)}
    pod_set: dict[str, Any] = {"name": POD_SET, "count": job.spec.workers, "template": template(pod, labels)}
    if job.spec.elastic is not None and job.spec.elastic.min_workers < job.spec.workers:
        pod_set["minCount"] = job.spec.elastic.min_workers
    return asked(job, pod_set, priority)


def template(pod: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
    """Return a pod as what a pod set asks for: with what is true of each of its pods."""
    spec = {key: value for key, value in pod["spec"].items() if key not in ("hostname", "subdomain")}
    return {"metadata": {"labels": labels}, "spec": spec}


def asked(job: TrainingJob, pod_set: dict[str, Any], priority: Priority) -> dict[str, Any]:
    """Return the spec of a Workload with that one pod set; a value None is left out of one that is made."""
    most = job.metadata.labels.get(LABEL_MAX_SECONDS, "")
    return {
        "queueName": queue(job),
        "podSets": [pod_set],
        "maximumExecutionTimeSeconds": int(most) if most.isascii() and most.isdigit() else None,
        **_priority(priority),
    }


def _priority(priority: Priority) -> dict[str, Any]:
    if not priority.name:
        return {"priority": priority.value, "priorityClassRef": None}
    reference = {"group": priority.group, "kind": priority.kind, "name": priority.name}
    return {"priority": priority.value, "priorityClassRef": reference}


def _outdated(job: TrainingJob, workload: Workload, priority: Priority | None, *, reserved: bool) -> dict[str, Any]:
    """Return what of the spec is to be changed; of one with quota only another WorkloadPriorityClass may be."""
    other = other_class(workload, priority, reserved=reserved)
    if reserved:
        return other
    held = next((each for each in workload.spec.pod_sets if each.name == POD_SET), None)
    least = job.spec.elastic.min_workers if job.spec.elastic is not None else None
    wanted = (job.spec.workers, least if least is not None and least < job.spec.workers else None)
    found: dict[str, Any] = {}
    if held is None or (held.count, held.min_count) != wanted:
        found["podSets"] = _spec(job, priority or Priority())["podSets"]
    if workload.spec.queue_name != queue(job):
        found["queueName"] = queue(job)
    return found | other


def other_class(workload: Workload, priority: Priority | None, *, reserved: bool) -> dict[str, Any]:
    """Return the fields of another priority class; of a Workload with quota only Kueue's own may be changed."""
    reference = workload.spec.priority_class_ref
    held = (reference.group, reference.name) if reference is not None else ("", "")
    if priority is None or not priority.name or (priority.group, priority.name) == held:
        return {}
    return _priority(priority) if not reserved or held[0] == priority.group == GROUP else {}


def ready(workload: Workload, now: datetime, is_ready: bool) -> Change | None:
    """Tell whether all pods run: Kueue may wait for that before it admits others, and evicts who takes too long."""
    told = workload.condition("PodsReady")
    if is_ready == (told is not None and told.status == "True"):
        return None
    again = told is not None and told.reason in ("WaitForRecovery", "Recovered")
    reason = ("Recovered" if again else "Started") if is_ready else "WaitForRecovery"
    text = "all pods run" if is_ready else "not all pods run; they are made anew"
    return _conditions(workload, now, ("PodsReady", is_ready, reason, text))


def _reclaim(job: TrainingJob, gang: Gang, workload: Workload) -> Change | None:
    """Give back the quota of workers that an elastic gang was scaled down by, once they are gone; there is no way back.

    Workers that ended well give nothing back before all have: a restart needs them again.
    """
    asked = next((each.count for each in workload.spec.pod_sets if each.name == POD_SET), 0)
    admission = workload.status.admission
    got = next((each.count for each in admission.pod_set_assignments), None) if admission is not None else None
    partial = got is not None and got < asked
    if job.status.export is not None and not partial:
        return _return(workload, asked - 1)  # the training is done for good: one pod is needed yet
    spare = asked - job.spec.workers
    is_smaller = elastic.size(job) <= job.spec.workers and all(is_over(pod) for pod in gang.older)
    if job.spec.elastic is None or partial or not is_smaller:
        return None
    return _return(workload, spare)


def _return(workload: Workload, spare: int) -> Change | None:
    """Tell Kueue that so many workers of those that were asked for are needed no more; the count never falls."""
    if spare <= sum(each.count for each in workload.status.reclaimable_pods if each.name == POD_SET):
        return None
    body = _of(workload, status={"reclaimablePods": [{"name": POD_SET, "count": spare}]})
    return Change(verb="status", body=body, target=workload.metadata)


def _boost(workload: Workload, annotations: boost.Annotations) -> Change | None:
    """Write the annotations, unless Kueue or somebody else has written meanwhile; None for no annotations."""
    if not annotations:
        return None
    body = {"metadata": {"resourceVersion": workload.metadata.resource_version, "annotations": annotations}}
    return Change(verb="patch", body=body, target=workload.metadata)


def release(workload: Workload, now: datetime) -> Change:
    """Give back the quota of who was evicted and has stopped, as Kueue's own controllers do; Kueue queues it anew."""
    evicted, admitted = workload.condition("Evicted") or Condition(), workload.condition(ADMITTED)
    facts = [
        ("Requeued", evicted.reason in _REQUEUED_AT_ONCE, evicted.reason, evicted.message),
        ("QuotaReserved", False, "Pending", evicted.message),
        (ADMITTED, False, "NoReservation", "The workload has no reservation"),
    ]
    if workload.condition("PodsReady") is not None:
        facts.append(("PodsReady", False, "WaitForStart", "the pods stopped for an eviction"))
    change = _conditions(workload, now, *facts)
    status: dict[str, Any] = change.body["status"] | {"admission": None}
    if workload.status.reclaimable_pods:
        status["reclaimablePods"] = None
    if admitted is not None and admitted.status == "True" and admitted.last_transition_time is not None:
        # What spec.maximumExecutionTimeSeconds is counted in.
        seconds = max(0, int((now - admitted.last_transition_time).total_seconds()))
        past = workload.status.accumulated_past_execution_time_seconds
        status["accumulatedPastExecutionTimeSeconds"] = past + seconds
    return msgspec.structs.replace(change, body=change.body | {"status": status})


def _finish(job: TrainingJob, workload: Workload, now: datetime) -> Change | None:
    if workload.is_true("Finished"):
        return None
    done = job.status.is_true(lifecycle.COMPLETE)
    ended = job.status.condition(lifecycle.COMPLETE if done else lifecycle.FAILED) or Condition()
    return _conditions(workload, now, ("Finished", True, "Succeeded" if done else "Failed", ended.message))


def _conditions(workload: Workload, now: datetime, *facts: tuple[str, bool, str, str]) -> Change:
    conditions = workload.status.conditions
    for type_, true, reason, message in facts:
        conditions = upsert(conditions, type_, true, reason, message, now=now, generation=workload.metadata.generation)
    body = _of(workload, status={"conditions": [encode(condition) for condition in conditions]})
    return Change(verb="status", body=body, target=workload.metadata)


def patch(workload: Workload, spec: dict[str, Any]) -> Change:
    """Return the change of these fields of the spec."""
    return Change(verb="patch", body=_of(workload, spec=spec), target=workload.metadata)


def _of(workload: Workload, **parts: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": workload.metadata.resource_version}, **parts}
