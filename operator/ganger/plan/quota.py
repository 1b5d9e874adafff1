"""What is known of a job's place in Kueue, and what holds it there (docs/adr/0019-kueue.md). Pure.

A job with a queue's label has pods only while its Workload is admitted, not evicted and active; what holds it back is
said in a sentence. What a running gang was admitted with stays true while Kueue is not heard: silence stops no gang.
"""

from typing import Any, Literal

from msgspec import Struct

from ganger.api.observed import Metadata
from ganger.api.queueing import Flavor, Workload
from ganger.api.status import TrainingJobStatus
from ganger.api.types import TrainingJob
from ganger.contract import LABEL_QUEUE
from ganger.plan import edition
from ganger.plan.gang import Gang, is_over

ADMITTED = "Admitted"
NOT_ADMITTED = "NotAdmitted"  # reason of the condition Suspended while Kueue holds the job
RETRY_SECONDS = 30.0
NOT_SERVED = (
    f"the label {LABEL_QUEUE} is set, but this cluster does not serve Kueue's Workloads (kueue.x-k8s.io/v1beta2); "
    "install Kueue 0.15 or later, or remove the label"
)


class Priority(Struct, frozen=True, kw_only=True):
    """A priority with the class that it is of; name "": of no class."""

    group: str = ""
    kind: str = ""
    name: str = ""
    value: int = 0


class Quota(Struct, frozen=True, kw_only=True):
    """What is known of Kueue and of one job there.

    state: Unknown until the Workloads were listed; Absent where Kueue is not served. priority: of the Workload to be
    made or changed, where it was read. flavors: those of the admission that could be read. trouble: reason and sentence
    of what could not be read.
    """

    state: Literal["Unknown", "Absent", "Served"] = "Unknown"
    workload: Workload | None = None
    priority: Priority | None = None
    flavors: dict[str, Flavor] = {}
    trouble: tuple[str, str] | None = None


class Change(Struct, frozen=True, kw_only=True):
    """One write to a Workload. body: the manifest of a create, else a merge patch. target: whose, but for create."""

    verb: Literal["create", "patch", "status", "delete"]
    body: dict[str, Any] = {}
    target: Metadata = Metadata()


class Hold(Struct, frozen=True):
    """Why a job has no pods, as a condition says it."""

    reason: str
    message: str


def queue(job: TrainingJob) -> str:
    """Return the local queue of the job, "" where it is in none."""
    return job.metadata.labels.get(LABEL_QUEUE, "")


def is_held(status: TrainingJobStatus) -> bool:
    """Whether the status says that a queue holds the job, not spec.suspend."""
    suspension = status.condition("Suspended")
    return suspension is not None and (suspension.status, suspension.reason) == ("True", NOT_ADMITTED)


def hold(job: TrainingJob, quota: Quota | None, stored: TrainingJob | None = None) -> Hold | None:
    """Return what keeps the job from having pods, None where nothing of Kueue does. stored: see plan/edition.py."""
    workload = quota.workload if quota is not None else None
    old = workload is not None and is_old(job, workload, stored)
    return held(queue(job), quota, "job", admitted=job.status.is_true(ADMITTED), old=old)


def held(name: str, quota: Quota | None, who: str, *, admitted: bool, old: bool) -> Hold | None:
    """Return what keeps who is in the queue `name` from having pods, None where nothing of Kueue does.

    name: "" for no queue. who: job or session, for the sentence. admitted: it was, when Kueue was last heard. old: its
    Workload asks for what it needs no more.
    """
    if not name:
        return None
    state = quota.state if quota is not None else "Unknown"
    if quota is None or state != "Served":
        if admitted:
            return None
        if state == "Absent":
            return Hold(reason="QueueNotServed", message=NOT_SERVED)
        return _stuck(quota, "WaitingForQueue", f"queue {name}: Kueue has not been heard yet")
    workload = quota.workload
    if workload is None:
        return _stuck(quota, "WaitingForQuota", f"queue {name}: quota is asked for")
    if workload.is_true("Finished"):
        text = f"Workload {workload.metadata.name} was finished by somebody else; delete it to queue the {who} anew"
        return Hold(reason="WorkloadFinished", message=text)
    if old:
        text = f"queue {name}: the spec or its profile was changed; quota is asked for anew"
        return Hold(reason="SpecChanged", message=text)
    evicted = workload.condition("Evicted")
    if evicted is not None and evicted.status == "True" and workload.is_true("QuotaReserved"):
        text = f"queue {name}: Kueue evicted the {who} ({evicted.reason}): {evicted.message}"
        return Hold(reason="Evicted", message=text)
    if not workload.spec.active:
        text = f"queue {name}: Workload {workload.metadata.name} is not active; set its spec.active to true"
        return Hold(reason="Deactivated", message=text)
    if workload.is_true(ADMITTED):
        return None
    return _waiting(name, workload)


def _stuck(quota: Quota | None, reason: str, message: str) -> Hold:
    """Return what could not be read, else what is given."""
    if quota is not None and quota.trouble is not None:
        reason, message = quota.trouble
    return Hold(reason=reason, message=message)


def _waiting(name: str, workload: Workload) -> Hold:
    reserved = workload.condition("QuotaReserved")
    if reserved is None or reserved.status != "True":
        why = reserved.message if reserved is not None else "waiting for quota"
        return Hold(reason="WaitingForQuota", message=f"queue {name}: {why}")
    checks = "; ".join(
        f"{check.name} is {check.state or 'Pending'}" + (f": {check.message}" if check.message else "")
        for check in workload.status.admission_checks
        if check.state != "Ready"
    )
    return Hold(reason="WaitingForAdmissionChecks", message=f"queue {name}: {checks or 'waiting for admission'}")


def is_old(job: TrainingJob, workload: Workload, stored: TrainingJob | None = None) -> bool:
    """Whether the Workload was made from another spec, or other values of the profile, than the job has now."""
    other = edition.has_other_values((workload,), job.status.profile)
    return other or edition.outdated(stored or job, (workload,))


def has_stopped(gang: Gang) -> bool:
    """Whether no container of the job can still run, but on nodes that were given up."""
    return all(is_over(pod) or pod in gang.lost for pod in gang.all)


def retry_seconds(quota: Quota | None) -> float | None:
    """Return the seconds until what could not be read is tried again: nobody tells when it is there."""
    return RETRY_SECONDS if quota is not None and quota.state == "Served" and quota.trouble is not None else None
