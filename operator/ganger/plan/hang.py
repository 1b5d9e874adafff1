"""Whether a gang that says it is alive has stopped making progress, and which rank holds it up.

What counts is said by the workers: where each rank is and for how long it has been there, measured by a supervisor that
needs no help of its ranks. Workers that do not report at all prove nothing: training never depends on the operator. So
the silence of a gang is only as long as every one of its workers has said it is.

Two steps, each a status write, so that any leader goes on from there: a suspicion (condition HangSuspected, an event,
stacks of all ranks), and, when every worker has reported again after that and still no rank has moved, a failure.
"""

from datetime import datetime, timedelta

from msgspec import Struct

from ganger.api.policy import Hang
from ganger.api.status import Failure, TrainingJobStatus
from ganger.api.types import TrainingJob
from ganger.contract import REPORT_SECONDS, REPORT_STAGES
from ganger.plan.facts import state
from ganger.plan.gang import Gang
from ganger.plan.lifecycle import HANG_SUSPECTED
from ganger.plan.live import Heard, LiveReport, Longest, RankBeat
from ganger.plan.seen import Event

FACTOR = 5.0  # times the longest so far; as NVRx (NVIDIA's resiliency extension) takes its timeouts
FLOOR_SECONDS = 120.0  # guessed: a volume or an object store may well hold a step up for a minute
PATIENCE_SECONDS = 1800.0  # guessed: a first step that compiles, an evaluation, a checkpoint that was never seen
CONFIRM_SECONDS = 2 * REPORT_SECONDS
_STOPPED = ("T", "t")
_UNINTERRUPTIBLE = "D"


class Silence(Struct, frozen=True, kw_only=True):
    """How long no rank has moved, by the word of all workers, and for how long that is nothing unusual.

    said_at: when the worker spoke that has not spoken for longest. beats: every rank, with the number of its worker.
    """

    seconds: float
    limit_seconds: float
    said_at: datetime
    beats: tuple[tuple[int, RankBeat], ...]

    @property
    def is_long(self) -> bool:
        """Whether it is longer than anything that this job should need."""
        return self.seconds >= self.limit_seconds


class Culprit(Struct, frozen=True, kw_only=True):
    """Who holds the gang up, as far as that can be told. worker, rank: None where it cannot."""

    sentence: str
    worker: int | None = None
    rank: int | None = None


def silence(policy: Hang, gang: Gang, heard: tuple[Heard, ...]) -> Silence | None:
    """Return the gang's silence, None where nothing can be said of it.

    That is while a worker is not heard, comes up or stops, while a rank has not reached its loop, and of scripts whose
    timeout is `auto`: what a script does between two steps is not known.
    """
    reports = {each.report.worker: each for each in heard}
    if gang.num_running != gang.num_workers or set(reports) != set(gang.present):
        return None
    if any(each.report.phase == "Stopping" for each in heard):
        return None
    beats = tuple((each.report.worker, beat) for each in heard for beat in each.report.ranks)
    longest = _least([each.report.longest for each in heard if each.report.ranks])
    limits = [_limit_seconds(policy, beat, longest) for _, beat in beats]
    known = [limit for limit in limits if limit is not None]
    if not known or len(known) < len(limits):
        return None
    moved = max(reports[worker].at - timedelta(seconds=beat.age_seconds) for worker, beat in beats)
    said_at = min(each.at for each in heard)
    return Silence(
        seconds=max(0.0, (said_at - moved).total_seconds()), limit_seconds=max(known), said_at=said_at, beats=beats
    )


def is_news(job: TrainingJob, report: LiveReport) -> bool:
    """Whether a report may begin, end or confirm a suspicion: it is looked at without delay."""
    timeout = job.spec.failure_policy.hang.timeout_seconds
    least = FLOOR_SECONDS if timeout == "auto" else timeout
    still = bool(report.ranks) and min(beat.age_seconds for beat in report.ranks) >= least
    return still or job.status.is_true(HANG_SUSPECTED)


def noted(
    job: TrainingJob, gang: Gang, heard: tuple[Heard, ...], status: TrainingJobStatus, now: datetime
) -> tuple[TrainingJobStatus, tuple[Event, ...]]:
    """Return the status of a running job with a suspicion that begins or ends, and the event that tells of it."""
    found = silence(job.spec.failure_policy.hang, gang, heard)
    suspected = job.status.is_true(HANG_SUSPECTED)
    if found is None or found.is_long == suspected:
        return status, ()
    if suspected:
        message = "the ranks move again"
        return state(status, job, now, (HANG_SUSPECTED, False, "ProgressSeen", message)), (
            Event(reason="HangOver", message=message),
        )
    message = f"{_told(found)}; {culprit(found).sentence}"
    where = "in their pods' logs"
    if job.spec.checkpoint is not None:
        where += f", and in files stacks/attempt-{job.status.attempt}-worker-*-rank-*.txt beside the checkpoints"
    event = Event(reason=HANG_SUSPECTED, message=f"{message}; all ranks show their stacks {where}", warning=True)
    return state(status, job, now, (HANG_SUSPECTED, True, "NoProgress", message)), (event,)


def failure(job: TrainingJob, gang: Gang, heard: tuple[Heard, ...], now: datetime) -> Failure | None:
    """Return the failure that a confirmed hang is; None without one, and where the policy wants it reported alone."""
    policy, suspicion = job.spec.failure_policy.hang, job.status.condition(HANG_SUSPECTED)
    if policy.action != "Restart" or suspicion is None or suspicion.status != "True":
        return None
    found, since = silence(policy, gang, heard), suspicion.last_transition_time
    if found is None or since is None or (found.said_at - since).total_seconds() < CONFIRM_SECONDS:
        return None
    if found.seconds < found.limit_seconds + CONFIRM_SECONDS:  # a clock that was set forward proves nothing
        return None
    who = culprit(found)
    pod = gang.present[who.worker] if who.worker is not None else None
    return Failure(
        attempt=job.status.attempt,
        reason="Hang",
        rank=who.rank,
        pod=pod.metadata.name if pod is not None else "",
        node=pod.spec.node_name if pod is not None else "",
        message=f"{_told(found)}; {who.sentence}",
        time=now,
    )


def culprit(found: Silence) -> Culprit:
    """Return who holds the others up: a rank that is stopped, else the one that is behind, else one that sits in I/O.

    A rank is behind if its step, or its stage within the step, comes before that of most others: they wait for it.
    """
    beats = sorted(found.beats, key=lambda each: each[1].rank)
    for worker, beat in beats:
        if beat.state in _STOPPED:
            return _named(worker, beat, f"is stopped (process state {beat.state})")
    first = min(_position(beat) for _, beat in beats)
    behind = [(worker, beat) for worker, beat in beats if _position(beat) == first]
    if 2 * len(behind) <= len(beats) and len(behind) < len(beats):
        others = f", as {len(behind) - 1} more" if len(behind) > 1 else ""
        return _named(*behind[0], f"is behind{others}")
    waiting = [(worker, beat) for worker, beat in beats if beat.state == _UNINTERRUPTIBLE]
    if len(waiting) == 1:
        return _named(*waiting[0], "waits for a device or a volume (process state D)")
    stage = beats[0][1].stage
    everywhere = f"all ranks are at step {beats[0][1].step}, {stage}" if len(behind) == len(beats) else "ranks differ"
    return Culprit(sentence=f"{everywhere}, and nothing tells which of them holds the others up")


def _named(worker: int, beat: RankBeat, what: str) -> Culprit:
    return Culprit(
        sentence=f"rank {beat.rank} {what}, at step {beat.step}, {beat.stage}", worker=worker, rank=beat.rank
    )


def _position(beat: RankBeat) -> tuple[int, int]:
    return beat.step, REPORT_STAGES.index(beat.stage)


def _limit_seconds(policy: Hang, beat: RankBeat, longest: Longest) -> float | None:
    """Return how long the rank may stay where it is, None for any time."""
    timeout = policy.timeout_seconds
    if beat.stage == "starting" or (beat.stage == "script" and timeout == "auto"):
        return None
    # Twice the first step, for another shape may compile anew.
    learned = max(FLOOR_SECONDS, FACTOR * longest.step, 2.0 * longest.first)
    step = learned if timeout == "auto" else float(timeout)
    if beat.stage == "evaluate":
        return max(step, PATIENCE_SECONDS, FACTOR * longest.evaluation)
    if beat.stage == "checkpoint":
        return max(step, PATIENCE_SECONDS, FACTOR * longest.checkpoint)
    if beat.steps == 0 and beat.stage != "script":
        return max(step, PATIENCE_SECONDS)
    return step


def _least(said: list[Longest]) -> Longest:
    """Return the least of what the workers say, where they say anything.

    While one rank evaluates or saves, the others wait in a step: for them alone that step was long.
    """

    def least(name: str) -> float:
        return min((value for each in said if (value := getattr(each, name)) > 0.0), default=0.0)

    return Longest(**{name: least(name) for name in Longest.__struct_fields__})


def _told(found: Silence) -> str:
    return f"no rank has made progress for {found.seconds:.0f} s (limit {found.limit_seconds:.0f} s)"
