"""A session in a queue of Kueue: what is asked for it, what holds it, and each change of its Workload. Pure.

Kueue is asked for the job that the session's pod is built from (`sessionfork`), with one pod (docs/adr/0019-kueue.md).
A session at rest, or one that something else keeps from a start, asks for nothing. A pod says by an annotation of Kueue
that it was made with quota: one that was made without, before the session had a queue, runs on until its end.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from ganger.api.observed import Pod
from ganger.api.queueing import GROUP, LABEL_CLASS, LABEL_JOB_UID, LABEL_MAX_SECONDS, VERSIONS
from ganger.api.session import DevSession
from ganger.api.types import TrainingJob, TrainingJobSpec, encode
from ganger.contract import ANNOTATION_EDITION, LABEL_QUEUE, SESSION_KIND
from ganger.plan import admission, quota, sessionfork, sessionname, sessionpod, workload
from ganger.plan.facts import Fact
from ganger.plan.gang import is_over
from ganger.plan.quota import ADMITTED, Change, Hold, Priority, Quota

POD_SET = "session"
_WHO = "session"
_COUNTS = ("resources", "node_selector", "affinity", "tolerations", "runtime_class_name")  # what Kueue reads of a pod
_DIGITS = 16  # of the digest: to tell two editions of one session apart, not to resist anybody


def name(session: DevSession, source: TrainingJob | None) -> str:
    """Return the local queue of the session, "" where it is in none: its own label, else that of the job it forks.

    A label without a value takes the fork of a job out of that job's queue.
    """
    of_job = source.metadata.labels.get(LABEL_QUEUE, "") if source is not None else ""
    return session.metadata.labels.get(LABEL_QUEUE, of_job)


def whole(session: DevSession, source: TrainingJob | None, image: str) -> TrainingJob:
    """Return the session as the job that Kueue is asked for, under the session's own name and UID.

    Its queue is that of `name`; its priority class is the session's own, else the job's. It is suspended while the
    session rests. source, image: as for the pod.
    """
    own, of_job = session.metadata.labels, source.metadata.labels if source is not None else {}
    labels = {LABEL_QUEUE: name(session, source)}
    named = own.get(LABEL_CLASS, of_job.get(LABEL_CLASS, "") if session.spec.priority_class_name is None else "")
    labels |= {
        key: value for key, value in ((LABEL_CLASS, named), (LABEL_MAX_SECONDS, own.get(LABEL_MAX_SECONDS))) if value
    }
    rests = session.spec.suspend or session.status.ended
    spec = replace(sessionfork.blueprint(session, source, image).spec, suspend=rests)
    return TrainingJob(metadata=replace(session.metadata, labels=labels), spec=spec)


def manifest(session: DevSession, source: TrainingJob | None, image: str, priority: Priority) -> dict[str, Any]:
    """Return the Workload of a session."""
    job, labels = whole(session, source, image), sessionname.labels(session)
    template = workload.template(sessionpod.pod(session, source, image), labels)
    spec = workload.asked(job, {"name": POD_SET, "count": 1, "template": template}, priority)
    return {
        "apiVersion": f"{GROUP}/{VERSIONS[0]}",
        "kind": "Workload",
        "metadata": {
            "name": workload.name_of(SESSION_KIND, session.metadata),
            "namespace": session.metadata.namespace,
            "labels": labels | {LABEL_JOB_UID: session.metadata.uid},
            "annotations": {ANNOTATION_EDITION: _edition(job)},
            "ownerReferences": [sessionname.owner_reference(session)],
        },
        "spec": {key: value for key, value in spec.items() if value is not None},
    }


def hold(job: TrainingJob, known: Quota | None) -> Hold | None:
    """Return what keeps a session without a pod from getting one, None where nothing of Kueue does. job: of `whole`."""
    asked, queue = known.workload if known is not None else None, quota.queue(job)
    if queue and asked is not None and asked.metadata.deletion_timestamp is not None:
        return Hold(reason="WaitingForQuota", message=f"queue {queue}: quota is asked for anew")
    old = asked is not None and _is_old(job, known)
    return quota.held(queue, known, _WHO, admitted=False, old=old)


def eviction(pod: Pod, known: Quota | None) -> Hold | None:
    """Return why a pod that lives has to stop, None where it need not: silence of Kueue stops none."""
    if not _is_queued(pod):
        return None
    asked = known.workload if known is not None else None
    queue = asked.spec.queue_name if asked is not None else pod.metadata.labels.get(admission.LABEL_LOCAL_QUEUE, "")
    return quota.held(queue, known, _WHO, admitted=True, old=False)


def conflict(job: TrainingJob, pod: dict[str, Any], known: Quota | None) -> str:
    """Return what of the admission contradicts the pod, "" where nothing does. It never passes by itself."""
    return admission.conflict(pod, known) if quota.queue(job) else ""


def placed(job: TrainingJob, pod: dict[str, Any], known: Quota | None) -> dict[str, Any]:
    """Return the pod with what its admission adds. Raises ValueError where that contradicts it; see `conflict`."""
    return admission.placed(pod, known) if quota.queue(job) else pod


def fact(
    job: TrainingJob, pod: Pod | None, known: Quota | None, held: Hold | None, *, told: bool, ended: bool
) -> Fact | None:
    """Return the condition Admitted of a session, None where it has none or stays. told: it has one already."""
    is_queued = _is_queued(pod) if pod is not None else bool(quota.queue(job))
    if ended or job.spec.suspend:
        return (ADMITTED, False, "Ended", "a session that has ended asks for no quota") if told else None
    if not is_queued:
        return (ADMITTED, True, "NotQueued", "it is in no queue: no quota counts") if told else None
    if held is not None:
        return ADMITTED, False, held.reason, held.message
    text = admission.message(job, known)
    return (ADMITTED, True, ADMITTED, text) if text else None


def change(
    session: DevSession,
    source: TrainingJob | None,
    image: str,
    pods: Iterable[Pod],
    known: Quota | None,
    now: datetime,
    *,
    is_ready: bool,
    may_ask: bool,
) -> Change | None:
    """Return the next write to the session's Workload, None where nothing is to be said.

    pods: all of the session. is_ready: the present one is. may_ask: False where something else keeps it from a start.
    Quota is given back only when no container can run any more.
    """
    if known is None or known.state != "Served":
        return None
    asked, job = known.workload, whole(session, source, image)
    stopped = all(is_over(pod) for pod in pods)
    wants = bool(quota.queue(job)) and may_ask and not job.spec.suspend
    if asked is None:
        if not (wants and stopped and known.priority is not None):
            return None
        return Change(verb="create", body=manifest(session, source, image, known.priority))
    if asked.metadata.deletion_timestamp is not None:
        return None
    if stopped and (not wants or _is_old(job, known)):
        return Change(verb="delete", target=asked.metadata)
    if job.spec.suspend or asked.is_true("Finished"):
        return None
    reserved = asked.is_true("QuotaReserved")
    if asked.is_true("Evicted") and reserved:
        return workload.release(asked, now) if stopped else None
    if other := workload.other_class(asked, known.priority, reserved=reserved):
        return workload.patch(asked, other)
    return workload.ready(asked, now, is_ready) if asked.is_true(ADMITTED) and asked.spec.active else None


def _is_queued(pod: Pod) -> bool:
    return admission.ANNOTATION_WORKLOAD in pod.metadata.annotations


def _is_old(job: TrainingJob, known: Quota | None) -> bool:
    asked = known.workload if known is not None else None
    return asked is not None and asked.metadata.annotations.get(ANNOTATION_EDITION) != _edition(job)


def _edition(job: TrainingJob) -> str:
    """Return a digest of what quota is asked for and where: another one is another place in the queue."""
    spec = encode(replace(TrainingJobSpec(), **{field: getattr(job.spec, field) for field in _COUNTS}))
    counts = {"queue": quota.queue(job), "spec": spec}
    return hashlib.sha256(msgspec.json.encode(counts, order="sorted")).hexdigest()[:_DIGITS]
