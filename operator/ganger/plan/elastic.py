"""How many pods an attempt has, and when another number is due (docs/adr/0012-elastic.md).

An attempt never changes its size: `status.gangSize` is written ahead with its number, and another size is another
attempt. Only a job with `spec.elastic` has one; any other has `spec.workers` pods.
- Fewer wanted: the gang stops with a checkpoint and goes on smaller.
- No place for some workers of a gang that comes up: after `shrinkAfterSeconds` it goes on with those that have one.
- More wanted, or room again: probes, pods that only take a place, are made beside the running gang. They wait while it
  trains; when they have their places it stops with a checkpoint and goes on larger. So a gang never gives up what it
  has for room that is not there. After a shrink no probe is made for `growAfterSeconds`, twice as long after each
  shrink that follows a growth at once.
"""

from datetime import datetime, timedelta
from typing import Literal

import msgspec
from msgspec import Struct

from ganger.api.observed import Pod
from ganger.api.status import Resize, Resizes, TrainingJobStatus
from ganger.api.types import TrainingJob
from ganger.plan.gang import Gang, created, is_leaving, placed_at

GROW_SECONDS_MAX = 3600  # the longest that shrinks after one another put the next growth off
PODS_READY = "PodsReady"
Reason = Literal["Scaled", "Shrunk", "Grown"]


class Move(Struct, frozen=True, kw_only=True):
    """The next attempt has another size: `resizes` is what the status says of it."""

    size: int
    message: str
    resizes: Resizes


def size(job: TrainingJob) -> int:
    """Return the pods of the present attempt."""
    if job.spec.elastic is None or job.status.gang_size is None:
        return job.spec.workers
    return job.status.gang_size


def stored(job: TrainingJob) -> int | None:
    """Return the size as the status keeps it: None for a job that is not elastic."""
    return None if job.spec.elastic is None else size(job)


def wanted(job: TrainingJob) -> int | None:
    """Return the size of an attempt that begins from nothing, as the status keeps it."""
    return None if job.spec.elastic is None else job.spec.workers


def size_after_failure(job: TrainingJob, gang: Gang) -> int | None:
    """Return the size of the next attempt after a failure: as before, with whoever has found a place meanwhile.

    Of another attempt alone: what starts anew in the same pods has the size that they were told.
    """
    if job.spec.elastic is None:
        return None
    return min(job.spec.workers, gang.num_workers + len(_placed(_probes(job, gang))))


def opened(status: TrainingJobStatus) -> bool:
    """Whether the present attempt began with a resize: the one before it was well and stops with its work."""
    last = status.resizes.last if status.resizes is not None else None
    return last is not None and last.attempt == status.attempt


def keeps_work(job: TrainingJob, status: TrainingJobStatus) -> bool:
    """Whether `status` opens an attempt that goes on from a checkpoint which the present one makes when it stops."""
    checkpoint = job.spec.checkpoint
    return opened(status) and checkpoint is not None and checkpoint.resume != "Never"


def is_enough(job: TrainingJob, gang: Gang) -> bool:
    """Whether the pods that were made are a gang by themselves, should the others be refused for good."""
    return job.spec.elastic is not None and len(gang.present) >= job.spec.elastic.min_workers


def due(job: TrainingJob, gang: Gang, now: datetime) -> Move | None:
    """Return the resize that is due now, or None. A gang of which a worker has ended well only ends. Pure."""
    if job.spec.elastic is None or gang.num_succeeded:
        return None
    if gang.num_workers > job.spec.workers:
        return _move(job, gang, job.spec.workers, "Scaled", f"spec.workers is {job.spec.workers}", now)
    left = _left(job, gang, now)
    if left is None or left > 0:
        return None
    if not job.status.is_true(PODS_READY):
        placed = len(_placed(gang.present))
        without = gang.num_workers - placed
        text = f"{without} of {gang.num_workers} workers found no place in {job.spec.elastic.shrink_after_seconds} s"
        return _move(job, gang, placed, "Shrunk", text, now)
    found = len(_placed(_probes(job, gang)))
    return _move(job, gang, gang.num_workers + found, "Grown", f"there is room for {found} more", now)


def wake_seconds(job: TrainingJob, gang: Gang, now: datetime) -> float | None:
    """Return the seconds until a resize is due or a probe may be made, None while only a change of pods can tell."""
    left = _left(job, gang, now)
    if left is None and _may_grow(job, gang):
        left = _until(job.status.resizes.grow_time if job.status.resizes is not None else None, now)
    return left if left is not None and left > 0 else None


def probes_to_make(job: TrainingJob, gang: Gang, now: datetime) -> tuple[int, ...]:
    """Return the numbers of the probes that are missing."""
    later = _until(job.status.resizes.grow_time if job.status.resizes is not None else None, now)
    if not _may_grow(job, gang) or (later is not None and later > 0):
        return ()
    return tuple(number for number in range(job.spec.workers - gang.num_workers) if number not in gang.probes)


def probes_to_remove(job: TrainingJob, gang: Gang) -> tuple[Pod, ...]:
    """Return the probes that nobody waits for any more."""
    return tuple(pod for number, pod in gang.probes.items() if number >= job.spec.workers - gang.num_workers)


def _may_grow(job: TrainingJob, gang: Gang) -> bool:
    if job.spec.elastic is None or gang.num_workers >= job.spec.workers or gang.num_succeeded:
        return False
    return job.status.is_true(PODS_READY)


def _left(job: TrainingJob, gang: Gang, now: datetime) -> float | None:
    """Return the seconds until the gang goes on with the pods that have a place, None if it does not depend on time.

    While it comes up that is without those that have none; while it trains, with the probes that have one.
    """
    elastic = job.spec.elastic
    if elastic is None:
        return None
    if job.status.is_true(PODS_READY):
        placed = _placed(_probes(job, gang))
        if not _may_grow(job, gang) or not placed:
            return None
        if len(placed) == job.spec.workers - gang.num_workers:
            return 0.0
        since = min((placed_at(pod) or now for pod in placed), default=now)
    else:
        found = len(_placed(gang.present))
        born = created(tuple(gang.present.values()))
        if born is None or not elastic.min_workers <= found < gang.num_workers:
            return None
        since = born
    return (since + timedelta(seconds=elastic.shrink_after_seconds) - now).total_seconds()


def _probes(job: TrainingJob, gang: Gang) -> dict[int, Pod]:
    return {number: pod for number, pod in gang.probes.items() if number < job.spec.workers - gang.num_workers}


def _placed(pods: dict[int, Pod]) -> tuple[Pod, ...]:
    return tuple(pod for pod in pods.values() if pod.spec.node_name and not is_leaving(pod))


def _until(time: datetime | None, now: datetime) -> float | None:
    return None if time is None else (time - now).total_seconds()


def _move(job: TrainingJob, gang: Gang, new: int, reason: Reason, why: str, now: datetime) -> Move:
    old = job.status.resizes or Resizes()
    attempt = job.status.attempt + 1
    message = f"{why}; attempt {attempt} goes on with {new} workers instead of {gang.num_workers} (not counted)"
    last = Resize(
        attempt=attempt, from_workers=gang.num_workers, to_workers=new, reason=reason, message=message, time=now
    )
    resizes = msgspec.structs.replace(old, total=old.total + 1, last=last)
    if reason == "Shrunk":
        resizes = msgspec.structs.replace(resizes, **_put_off(job, old, now))
    elif reason == "Scaled":
        resizes = msgspec.structs.replace(resizes, shrinks=0, grow_time=None)
    return Move(size=new, message=message, resizes=resizes)


def _put_off(job: TrainingJob, old: Resizes, now: datetime) -> dict[str, object]:
    """When the next growth may be tried. Shrinks that do not follow one another closely are no flapping."""
    assert job.spec.elastic is not None
    first = job.spec.elastic.grow_after_seconds
    calm = old.grow_time is None or now - old.grow_time > timedelta(seconds=max(first, GROW_SECONDS_MAX))
    shrinks = 1 if calm else old.shrinks + 1
    # The exponent is clamped before use: 2 ** 10_000 would overflow.
    seconds = min(max(first, GROW_SECONDS_MAX), first * 2 ** min(shrinks - 1, 20))
    return {"shrinks": shrinks, "grow_time": now + timedelta(seconds=seconds)}
