"""What a pass sees and what it decides: the two values around `decide`."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from ganger.api.observed import Claim, Metadata, NetworkPolicy, Pod, PodGroup, Service
from ganger.api.status import TrainingJobStatus
from ganger.api.types import TrainingJob
from ganger.plan.inquiry import Answer
from ganger.plan.live import Heard, Live
from ganger.plan.profile import Reading
from ganger.plan.quota import Change, Quota
from ganger.plan.track import Track

Rank = tuple[int, datetime, str]  # of a gang among others: the smallest goes first (plan/giveway.py)


class Refusal(Struct, frozen=True, kw_only=True):
    """The API server refused to create an object: quota, policy, a full namespace.

    permanent: the same manifest can never pass, so there is no point in trying again.
    """

    reason: str
    message: str
    permanent: bool = False


class Seen(Struct, frozen=True, kw_only=True):
    """The children of one job as the caches hold them.

    stored: the job itself without the operator's own defaults.
    pods: all pods whose controller is this very job (by UID), in any order.
    service, claim, policy, group: the objects of the names that the job would give them, whoever owns them; policy:
    its NetworkPolicy, where jobs are isolated. groups: the PodGroups of this very job, of every attempt.
    squatters: names that this job needs for pods and that belong to another owner, such as a predecessor's.
    refusal: what the API server said to the newest create, while that is still fresh.
    live: what the workers of the present attempt say, where they say anything; heard: the same, worker by worker;
    track: how their ranks keep up with each other. answer: what was read of the node of a failure;
    asks: it is being read, since less than inquiry.HOLD_SECONDS. rivals: if this gang is stuck, the others that are.
    quota: what Kueue says, where the job is or was in a queue of it.
    profile: what the job's profile says, where it is to be read; values that are due are in the job already.
    """

    stored: TrainingJob | None = None
    pods: tuple[Pod, ...] = ()
    service: Service | None = None
    claim: Claim | None = None
    policy: NetworkPolicy | None = None
    group: PodGroup | None = None
    groups: tuple[PodGroup, ...] = ()
    squatters: tuple[str, ...] = ()
    refusal: Refusal | None = None
    live: Live | None = None
    heard: tuple[Heard, ...] = ()
    track: Track = Track()
    answer: Answer | None = None
    asks: bool = False
    rivals: tuple[Rank, ...] = ()
    quota: Quota | None = None
    profile: Reading | None = None


class Deletion(Struct, frozen=True, kw_only=True):
    """A pod, or another object, to delete. `grace_seconds` None leaves the pod's own grace period."""

    metadata: Metadata
    grace_seconds: int | None = None
    api_version: str = "v1"
    kind: str = "Pod"


def deletions_of(doomed: Iterable[Pod], grace_seconds: int | None) -> tuple[Deletion, ...]:
    """Return the deletions of pods, without those that somebody has deleted already."""
    return tuple(
        Deletion(metadata=pod.metadata, grace_seconds=grace_seconds)
        for pod in doomed
        if pod.metadata.deletion_timestamp is None
    )


class Event(Struct, frozen=True, kw_only=True):
    """One event of a job: `warning` picks the type."""

    reason: str
    message: str
    warning: bool = False


class Decision(Struct, frozen=True, kw_only=True):
    """Everything one pass will do, as one value.

    status: the whole new status, or None when it stays. status_delay_seconds: how long the write may wait for company;
    a later pass replaces it. shared: Service, claim, NetworkPolicy and PodGroup to create before the pods. events:
    emitted after the status write succeeded. workload: what Kueue is told. delete_job: the time to live is over.
    requeue_after_seconds: look again then, whatever happens.
    """

    status: TrainingJobStatus | None = None
    status_delay_seconds: float = 0.0
    deletions: tuple[Deletion, ...] = ()
    shared: tuple[dict[str, Any], ...] = ()
    pods: tuple[dict[str, Any], ...] = ()
    events: tuple[Event, ...] = ()
    workload: Change | None = None
    delete_job: bool = False
    requeue_after_seconds: float | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing is to be done now."""
        return not (self.status or self.deletions or self.shared or self.pods or self.workload or self.delete_job)

    def until(self, *seconds: float | None) -> "Decision":
        """Return the same decision with the next look no later than in so many seconds; None asks for none."""
        times = [each for each in (*seconds, self.requeue_after_seconds) if each is not None]
        return msgspec.structs.replace(self, requeue_after_seconds=min(times, default=None))
