"""The pods of a job, sorted by attempt and by what they are doing."""

from datetime import datetime

from msgspec import Struct

from ganger.api.observed import Pod
from ganger.contract import LABEL_ATTEMPT, LABEL_WORKER
from ganger.plan.names import EXPORT_PREFIX, PROBE_PREFIX

_TERMINAL = ("Succeeded", "Failed")


def attempt_of(pod: Pod) -> int:
    """Return the attempt that a pod belongs to; -1, older than any, for a label that is no number."""
    text = pod.metadata.labels.get(LABEL_ATTEMPT, "")
    return int(text) if text.isascii() and text.isdigit() else -1


def worker_of(pod: Pod) -> int:
    """Return the worker index of a pod, or -1 for a label that is no number."""
    text = pod.metadata.labels.get(LABEL_WORKER, "")
    return int(text) if text.isascii() and text.isdigit() else -1


def probe_of(pod: Pod) -> int:
    """Return the number of a probe (plan/elastic.py), or -1 for a pod that is none."""
    return _numbered(pod, PROBE_PREFIX)


def export_of(pod: Pod) -> int:
    """Return the number of the try of a pod that makes model files (plan/exporting.py), or -1 for any other pod."""
    return _numbered(pod, EXPORT_PREFIX)


def _numbered(pod: Pod, prefix: str) -> int:
    text = pod.metadata.labels.get(LABEL_WORKER, "")
    number = text.removeprefix(prefix)
    return int(number) if text.startswith(prefix) and number.isascii() and number.isdigit() else -1


def is_over(pod: Pod) -> bool:
    """Whether the containers of the pod have ended for good."""
    return pod.status.phase in _TERMINAL


def is_leaving(pod: Pod) -> bool:
    """Whether somebody asked for the pod's deletion while it was alive."""
    return pod.metadata.deletion_timestamp is not None and not is_over(pod)


def placed_at(pod: Pod) -> datetime | None:
    """Return when the pod got its node, None while it has none."""
    if not pod.spec.node_name:
        return None
    times = (condition.last_transition_time for condition in pod.status.conditions if condition.type == "PodScheduled")
    return next((time for time in times if time is not None), pod.metadata.creation_timestamp)


def refused_at(pod: Pod) -> datetime | None:
    """Return when the scheduler first found no node for the pod, None where it did not say so or found one since."""
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False":
            return condition.last_transition_time or pod.metadata.creation_timestamp
    return None


def created(pods: tuple[Pod, ...]) -> datetime | None:
    """Return when the first of the pods was created."""
    return min((pod.metadata.creation_timestamp for pod in pods if pod.metadata.creation_timestamp), default=None)


class Gang(Struct, frozen=True, kw_only=True):
    """The pods of one job, seen from its present attempt.

    present: pods of the attempt by worker. older, newer: pods of other attempts. probes: pods of the attempt that only
    look for room, by number. exports: pods that make model files, by number. lost: pods that were given up
    (plan/lost.py); those of earlier attempts are in no other list, for nothing waits for them.
    """

    num_workers: int
    present: dict[int, Pod]
    older: tuple[Pod, ...]
    newer: tuple[Pod, ...]
    probes: dict[int, Pod] = {}
    exports: dict[int, Pod] = {}
    lost: tuple[Pod, ...] = ()

    @property
    def has_meeting_point(self) -> bool:
        """Whether worker 0, where the others meet it, has an address."""
        return 0 in self.present and bool(self.present[0].status.pod_ip)

    @property
    def missing(self) -> tuple[int, ...]:
        """Workers without a pod."""
        return tuple(worker for worker in range(self.num_workers) if worker not in self.present)

    @property
    def is_placed(self) -> bool:
        """Whether every worker has a node."""
        return not self.missing and all(pod.spec.node_name for pod in self.present.values())

    @property
    def failed(self) -> tuple[Pod, ...]:
        """Pods that ended badly."""
        return tuple(pod for pod in self.present.values() if pod.status.phase == "Failed")

    @property
    def leaving(self) -> tuple[Pod, ...]:
        """Live pods that somebody deleted."""
        return tuple(pod for pod in self.present.values() if is_leaving(pod))

    @property
    def given_up(self) -> tuple[Pod, ...]:
        """Workers of the attempt that are lost: their names are taken, so there must be another attempt."""
        return tuple(pod for pod in self.present.values() if pod in self.lost)

    @property
    def alive(self) -> tuple[Pod, ...]:
        """Pods of any attempt whose containers may still run."""
        return tuple(pod for pod in self.all if not is_over(pod))

    @property
    def all(self) -> tuple[Pod, ...]:
        """Every pod of the job."""
        return (*self.older, *self.present.values(), *self.probes.values(), *self.exports.values(), *self.newer)

    @property
    def num_running(self) -> int:
        """Workers that run now."""
        return sum(pod.status.phase == "Running" and not is_leaving(pod) for pod in self.present.values())

    @property
    def num_succeeded(self) -> int:
        """Workers that ended well."""
        return sum(pod.status.phase == "Succeeded" for pod in self.present.values())

    @property
    def started(self) -> bool:
        """Whether every worker runs or has already ended well."""
        return self.num_running + self.num_succeeded == self.num_workers


def gang(pods: tuple[Pod, ...], attempt: int, num_workers: int, lost: frozenset[str] = frozenset()) -> Gang:
    """Sort the pods of a job by attempt. A pod whose worker index is out of range counts as older: it must go.

    lost: names of the pods that were given up.
    """
    present: dict[int, Pod] = {}
    probes: dict[int, Pod] = {}
    exports: dict[int, Pod] = {}
    older: list[Pod] = []
    newer: list[Pod] = []
    for pod in sorted(pods, key=lambda pod: pod.metadata.name):
        number, worker = attempt_of(pod), worker_of(pod)
        if export_of(pod) >= 0:
            exports[export_of(pod)] = pod
        elif number > attempt:
            newer.append(pod)
        elif number == attempt and 0 <= worker < num_workers:
            present[worker] = pod
        elif number == attempt and probe_of(pod) >= 0:
            probes[probe_of(pod)] = pod
        elif pod.metadata.name not in lost:
            older.append(pod)
    ordered = dict(sorted(present.items()))
    return Gang(
        num_workers=num_workers,
        present=ordered,
        older=tuple(older),
        newer=tuple(newer),
        probes=probes,
        exports=exports,
        lost=tuple(pod for pod in pods if pod.metadata.name in lost),
    )
