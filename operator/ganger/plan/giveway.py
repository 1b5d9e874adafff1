"""When a gang gives up the places that it holds, so that another can have all of its own.

Without groups a scheduler places pod by pod, and two gangs may hold half of the cluster each and wait for ever
(docs/adr/0017-gang-scheduling.md). The gangs that hold some places and wait for others have an order: higher priority
first, then older, then the smaller UID. All but the first give way after GIVE_WAY_SECONDS without a change; the first
only after FIRST_SECONDS, for it may be larger than what the cluster has. A gang that nobody else is stuck beside keeps
what it has.
"""

from datetime import UTC, datetime, timedelta

from ganger.api.observed import Pod
from ganger.api.status import Failure, Restarts
from ganger.api.types import TrainingJob
from ganger.plan import elastic
from ganger.plan.failure import Verdict, backoff_seconds
from ganger.plan.gang import Gang, gang, placed_at, refused_at
from ganger.plan.seen import Rank, Seen

GIVE_WAY_SECONDS = 30
FIRST_SECONDS = 300  # as long as the scheduler's own gangs wait for their last pod
PAUSE_SECONDS = 10.0  # at least: the others take the places first
PODS_READY = "PodsReady"


def rank(job: TrainingJob, members: Gang) -> Rank:
    """Return the place of a gang among those that are stuck: the smallest goes first."""
    priority = max((pod.spec.priority for pod in members.present.values()), default=0)
    return -priority, job.metadata.creation_timestamp or datetime.max.replace(tzinfo=UTC), job.metadata.uid


def stuck_since(job: TrainingJob, members: Gang) -> datetime | None:
    """Return since when a gang holds some places and waits for others without a change, None where it does not.

    An elastic gang that holds enough goes on smaller, so it is not stuck.
    """
    if members.num_workers == 1 or _cannot_be(job):
        return None
    workers = members.present.values()
    placed = [time for pod in workers if (time := placed_at(pod)) is not None]
    refused = [time for pod in workers if (time := refused_at(pod)) is not None]
    if not placed or not refused or (job.spec.elastic is not None and len(placed) >= job.spec.elastic.min_workers):
        return None
    return max(*placed, *refused)


def rival(job: TrainingJob, pods: tuple[Pod, ...]) -> Rank | None:
    """Return the rank of another job's gang if it is stuck. Cheap for the many that are not."""
    if _cannot_be(job):
        return None
    members = gang(pods, job.status.attempt, elastic.size(job))
    return rank(job, members) if stuck_since(job, members) is not None else None


def due_seconds(job: TrainingJob, seen: Seen, members: Gang, now: datetime) -> float | None:
    """Return the seconds until the gang gives way, not above 0 if that is now, or until it is looked at again."""
    since = stuck_since(job, members)
    if since is None:
        return None
    seconds = (since + timedelta(seconds=GIVE_WAY_SECONDS) - now).total_seconds()
    if seconds > 0:
        return seconds
    if not seen.rivals:
        return GIVE_WAY_SECONDS
    if min(seen.rivals) < rank(job, members):
        return 0.0
    left = (since + timedelta(seconds=FIRST_SECONDS) - now).total_seconds()
    return min(left, GIVE_WAY_SECONDS)  # a gang that goes before it may come meanwhile


def verdict(job: TrainingJob, members: Gang, now: datetime) -> Verdict:
    """Return the end of an attempt that gives way: not counted, and the next one waits longer each time."""
    num_placed = sum(bool(pod.spec.node_name) for pod in members.present.values())
    message = (
        f"{num_placed} of {members.num_workers} workers had a place while another gang was short of some as well; "
        "this one gave its own back"
    )
    cause = Failure(attempt=job.status.attempt, reason="GaveWay", message=message, time=now)
    backoff = backoff_seconds(job.spec.failure_policy, job.status.restarts or Restarts(), progressed=False)
    return Verdict(
        action="restart", cause=cause, reason=cause.reason, ignored=True, delay_seconds=max(PAUSE_SECONDS, backoff)
    )


def _cannot_be(job: TrainingJob) -> bool:
    is_done = job.status.finished or job.status.export is not None
    return is_done or job.status.is_true(PODS_READY) or job.spec.suspend
