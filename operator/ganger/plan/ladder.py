"""The restart ladder: what of a failed gang is started anew (docs/adr/0010-restart-ladder.md). Pure.

Rungs, the fastest first: the processes in their pods, the containers in their pods, the pods. A failure takes the first
rung; each further one that made no checkpoint progress since takes the next. Whatever needs other pods (a node to
avoid, a disruption, a worker that is gone or cannot be told) takes the last at once.

A worker whose processes failed says so while its pod still runs, and waits for the answer. It is judged as the ended
pod that it would be, so a failure has the same class, count and backoff on every rung.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from ganger.api.observed import ContainerState, ContainerStatus, Pod, Terminated
from ganger.api.status import Restarts, Rung, TrainingJobStatus
from ganger.api.types import TrainingJob
from ganger.contract import CONTAINER, RESTART_CONTAINER_EXIT_CODE, ROUNDS_MAX
from ganger.plan import elastic
from ganger.plan.failure import Verdict
from ganger.plan.gang import Gang
from ganger.plan.hardware import broken_devices
from ganger.plan.live import Heard, LiveReport, ReportedFailure
from ganger.plan.remedy import DISRUPTIONS
from ganger.plan.report import Report, terminated
from ganger.plan.site import Site

RUNGS: tuple[Rung, ...] = ("Process", "Container", "Pods")
NAMES: dict[Rung, str] = {"Process": "in the same pods round", "Container": "in new containers of the same pods round"}
RUNNING = "Running"
DEAF_SECONDS = 60.0  # a worker that has been silent for so long would not hear of a restart either
ROUND_SECONDS = 120.0  # for all workers to be in a new round; guessed: a container starts and imports torch in less
# Workers that never met do not meet in the same pods either.
_NEEDS_PODS = DISRUPTIONS | {"RendezvousTimeout"}


class Order(Struct, frozen=True, kw_only=True):
    """What a worker is told: be in `round`; the rung says how, after so many seconds."""

    round: int = 0
    rung: Rung | None = None
    start_seconds: float = 0.0


def order(status: TrainingJobStatus, now: datetime) -> Order:
    """Return the order that the status gives to every worker of its attempt."""
    restarts = status.restarts
    if status.round == 0 or restarts is None or restarts.last is None:
        return Order()
    wait = (restarts.next_attempt_time - now).total_seconds() if restarts.next_attempt_time is not None else 0.0
    return Order(round=status.round, rung=restarts.last.rung, start_seconds=max(0.0, wait))


def fallen(job: TrainingJob, gang: Gang, heard: Iterable[Heard]) -> Gang:
    """Return the gang as it will be seen when the workers that report their failure have ended.

    What a worker says of an earlier round is answered already.
    """
    ended = {
        word.report.worker: _ended(gang.present[word.report.worker], word, word.report.failure)
        for word in heard
        if word.report.failure is not None and word.report.round >= job.status.round and _runs(gang, word.report)
    }
    return msgspec.structs.replace(gang, present=gang.present | ended) if ended else gang


def rung(
    job: TrainingJob,
    gang: Gang,
    heard: tuple[Heard, ...],
    verdict: Verdict,
    site: Site,
    *,
    progressed: bool,
    now: datetime,
) -> Rung:
    """Return what is started anew after a failure that restarts the gang. `gang` holds the pods as they are."""
    if verdict.exclude or verdict.cause.reason in _NEEDS_PODS or gang.num_running < gang.num_workers:
        return "Pods"
    if any(broken_devices(pod) for pod in gang.present.values()):
        return "Pods"  # the same pod has the same device
    since = now - timedelta(seconds=DEAF_SECONDS)
    told = {word.report.worker for word in heard if word.at >= since and word.report.round >= job.status.round}
    size = elastic.size_after_failure(job, gang)
    if not told >= set(gang.present) or next_round(job, heard) >= ROUNDS_MAX or size not in (None, gang.num_workers):
        return "Pods"
    done = 0 if progressed or job.status.restarts is None else job.status.restarts.in_place
    rungs = [each for each in RUNGS if each != "Container" or site.restarts_containers]
    return rungs[min(done, len(rungs) - 1)]


def next_round(job: TrainingJob, heard: Iterable[Heard]) -> int:
    """Return the number of the next round: later than any that a worker knows, should the status be restored."""
    return 1 + max([job.status.round, *(word.report.round for word in heard)])


def assembling(job: TrainingJob, gang: Gang, heard: Iterable[Heard]) -> bool:
    """Whether a round was ordered and not all workers have reported in it. False where nobody reports at all."""
    if job.status.round == 0 or job.status.is_true(RUNNING):
        return False
    rounds = {word.report.worker: word.report.round for word in heard}
    return bool(rounds) and any(rounds.get(worker, -1) < job.status.round for worker in gang.present)


def fell_through(job: TrainingJob, gang: Gang, heard: Iterable[Heard], now: datetime) -> Verdict | None:
    """Return the restart of the pods where one in place did not come about; it is the same failure, counted once.

    That is where a container that should start anew ended for good, as under a kubelet that is older than the API
    server, and where workers are still missing long after the order.
    """
    status, restarts = job.status, job.status.restarts or Restarts()
    if status.round == 0 or restarts.last is None:
        return None
    codes = [end.exit_code for pod in gang.failed if (end := terminated(pod)) is not None]
    left = restarts.last.rung == "Container" and RESTART_CONTAINER_EXIT_CODE in codes
    if left or (assembling(job, gang, heard) and (seconds_left(job, now) or 0.0) <= 0):
        return Verdict(action="restart", cause=restarts.last, reason=restarts.last.reason)
    return None


def seconds_left(job: TrainingJob, now: datetime) -> float | None:
    """Return the seconds that the workers still have to be in the round that was ordered."""
    condition, restarts = job.status.condition(RUNNING), job.status.restarts or Restarts()
    if condition is None or condition.last_transition_time is None:
        return None
    began = max(condition.last_transition_time, restarts.next_attempt_time or condition.last_transition_time)
    return ROUND_SECONDS - (now - began).total_seconds()


def _runs(gang: Gang, report: LiveReport) -> bool:
    pod = gang.present.get(report.worker)
    return pod is not None and pod.status.phase == "Running"


def _started(pod: Pod) -> datetime | None:
    states = (status.state.running for status in pod.status.container_statuses if status.name == CONTAINER)
    return next((state.started_at for state in states if state is not None), None)


def _ended(pod: Pod, word: Heard, failure: ReportedFailure) -> Pod:
    """Return the pod as the kubelet would show it after its supervisor's last word."""
    said = word.report
    last = Report(
        outcome="Failed", reason=failure.reason, message=failure.message, rank=failure.rank,
        exit_code=failure.exit_code, last_lines=failure.last_lines, step=said.step, total_steps=said.total_steps,
        epoch=said.epoch, loss=said.loss, metrics=said.metrics, checkpoint=said.checkpoint,
        resumed_from_step=said.resumed_from_step,
    )  # fmt: skip
    end = Terminated(
        exit_code=failure.exit_code,
        reason="Error",
        message=msgspec.json.encode(last).decode(),
        started_at=_started(pod),
        finished_at=word.at - timedelta(seconds=failure.seconds),
    )
    known = next((one for one in pod.status.container_statuses if one.name == CONTAINER), ContainerStatus())
    container = msgspec.structs.replace(known, name=CONTAINER, state=ContainerState(terminated=end))
    status = msgspec.structs.replace(pod.status, phase="Failed", container_statuses=(container,))
    return msgspec.structs.replace(pod, status=status)
