"""The profile of a job: read once, when its first attempt is planned or it is resumed (docs/adr/0018-profiles.md).

The values are kept by the first status that is written, and pods may be made before that; see `plan/edition.py`.
"""

from collections.abc import Iterable

from msgspec import Struct

from ganger.api.observed import Pod
from ganger.api.profile import TrainingProfile, misfits, taken
from ganger.api.status import ProfileStatus
from ganger.api.types import TrainingJob
from ganger.plan.quota import is_held, queue

MISFITS_TOLD = 3


class Reading(Struct, frozen=True, kw_only=True):
    """What the profile of a job says now.

    taken: its values, where they make a job. obstacle: reason and message, where they do not or there is no profile.
    is_due: the job does not go on without these: its status keeps none, or it has stopped and asks its queue anew.
    """

    taken: ProfileStatus | None = None
    obstacle: tuple[str, str] | None = None
    is_due: bool = True


def is_wanted(job: TrainingJob) -> bool:
    """Whether the profile has to be looked at: never for a job that runs with values of its own already.

    Nor for one that waits in its queue: it has asked for the quota of the values that it keeps.
    """
    if job.spec.profile is None or job.spec.suspend or job.status.finished:
        return False
    return not _keeps_any(job) or (job.status.is_true("Suspended") and not is_held(job.status))


def read(job: TrainingJob, found: TrainingProfile | None, home: str, pods: Iterable[Pod] = ()) -> Reading:
    """Return what the job makes of its profile, None where there is none. home: the namespace of everybody's ones.

    pods: of the job. One that is not to stop goes on with the values that it has, and so does its gang.
    """
    name, namespace = job.spec.profile, job.metadata.namespace
    stops = all(pod.metadata.deletion_timestamp is not None for pod in pods)
    is_due = not _keeps_any(job) or (stops and bool(queue(job)))
    if found is None:
        where = f"not in namespace {namespace}"
        if home not in ("", namespace):
            where = f"neither in namespace {namespace} nor in {home}"
        remedy = f"create it there, or suspend the job and name another one ('kubectl get tprof -n {namespace}')"
        text = f"profile {name} is {where}: {remedy}"
        return Reading(obstacle=("WaitingForProfile", text), is_due=is_due)
    wrong = misfits(job, taken(found))
    if wrong:
        told = "; ".join(map(str, wrong[:MISFITS_TOLD]))
        text = f"profile {name} of namespace {found.metadata.namespace} does not fit the job: {told}"
        return Reading(obstacle=("ProfileInvalid", text), is_due=is_due)
    return Reading(taken=taken(found), is_due=is_due)


def obstacle(reading: Reading | None) -> tuple[str, str] | None:
    """Return reason and message of what keeps the job from its quota and its pods, None where no profile does."""
    return reading.obstacle if reading is not None and reading.is_due else None


def _keeps_any(job: TrainingJob) -> bool:
    """Whether the status keeps values of the very profile that the job names."""
    return job.status.profile is not None and job.status.profile.name == job.spec.profile
