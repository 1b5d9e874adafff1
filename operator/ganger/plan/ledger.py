"""Where a job's time goes: a ledger whose parts always sum to the age of the job.

Law: the parts of `status.goodput.seconds` are >= 0 and their sum, to the millisecond, is `accountedTime` minus the
creation. It holds by construction: an account begins where the parts end, and what it adds is one stretch of time cut
into spans. What a pod says can move time from one part to another, never in or out.
(docs/adr/0008-metrics-and-goodput.md)
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from msgspec import Struct, structs

from ganger.api.observed import Pod
from ganger.api.status import Goodput, GoodputSeconds, Rollbacks, TrainingJobStatus
from ganger.api.types import TrainingJob
from ganger.contract import CONTAINER
from ganger.plan.gang import Gang, created
from ganger.plan.live import AttemptSeconds, Live, LiveReport
from ganger.plan.quota import is_held
from ganger.plan.report import report, terminated

_OPEN = datetime.max.replace(tzinfo=UTC)  # the end of a span that has not ended
_QUEUE_REASONS = frozenset({"QuotaExceeded", "WaitingForQuota", "WaitingForAdmission", "Queued"})
_OF_PHASE = {"Starting": "starting", "Restoring": "restoring", "Checkpointing": "checkpointing"}


class Span(Struct, frozen=True):
    """Time goes to `cause` until then; spans are in order, and each begins where the one before ends."""

    until: datetime
    cause: str


def account(job: TrainingJob, gang: Gang, live: Live | None, now: datetime) -> Goodput:
    """Return the stored goodput brought up to `now`: the time since then goes to what it was spent on.

    `job` carries the stored status, which says what the job did when that time began; pods and the worker's own seconds
    say what came after it. Nothing is added when `now` lies before the end of the stored account, as after a clock that
    stepped back, nor for the time after `completionTime`.
    """
    goodput, birth = job.status.goodput or Goodput(), job.metadata.creation_timestamp
    if birth is None:
        return goodput
    parts = _milliseconds(goodput)
    begin, end = sum(parts.values()), _since(birth, min(now, job.status.completion_time or now))
    if end <= begin:
        return goodput
    news = _report(job, gang, live)
    trained = parts["productive"]
    for span in _spans(job, gang, live, news):
        stop = max(begin, min(_since(birth, span.until), end))
        parts[span.cause] += stop - begin
        begin = stop
    saving = _saving(job.status, news, parts["checkpointing"], parts["productive"] - trained)
    parts["productive"] -= saving
    parts["checkpointing"] += saving
    return _goodput(parts, goodput.lost_steps, birth + timedelta(milliseconds=end))


def lose(goodput: Goodput, *, steps: int, seconds: float) -> Goodput:
    """Return the goodput after a failure: `seconds` of productive time, at most all of it, were lost with `steps`."""
    parts = _milliseconds(goodput)
    moved = min(max(0, round(seconds * 1000)), parts["productive"])
    parts["productive"] -= moved
    parts["lost"] += moved
    return _goodput(parts, goodput.lost_steps + max(0, steps), goodput.accounted_time)


def lost(job: TrainingJob, gang: Gang, live: Live | None) -> tuple[int, float]:
    """Return steps and seconds that are lost if the present attempt ends now: (0, 0.0) where no step is known.

    The steps since the newest committed checkpoint, or since the attempt's first step where no checkpoint is resumed,
    each as long as the productive seconds of a step of this attempt; of the whole job where no worker told them.
    """
    news, words = _report(job, gang, live), [report(pod) for pod in gang.present.values()]
    known = [word.step for word in words if word.step is not None]
    known += [news.step] if news is not None and news.step is not None else []
    began, newest = (news.resumed_from_step if news is not None else None) or 0, max(known, default=0)
    kept = [began]
    if job.spec.checkpoint is not None and job.spec.checkpoint.resume != "Never":
        kept += [word.checkpoint.step for word in words if word.checkpoint is not None]
        kept += [news.checkpoint.step] if news is not None and news.checkpoint is not None else []
        stored = job.status.checkpoint.latest_step if job.status.checkpoint is not None else None
        # A stored one beyond the newest step is of an attempt that could not be gone on from.
        kept += [stored] if stored is not None and stored <= newest else []
    steps = max(0, newest - max(kept))
    return steps, steps * _step_seconds(job, news, newest)


def rolled_back(job: TrainingJob, gang: Gang, live: Live | None, new: Rollbacks | None) -> tuple[int, float]:
    """Return steps and seconds that are lost by a rollback of which `new` tells and the stored status does not.

    Those between the checkpoint that the gang went back to and the step at which the NaN was seen. Of several rollbacks
    between two status writes only the newest is known.
    """
    old = job.status.rollbacks
    if new is None or (old is not None and new.count <= old.count):
        return 0, 0.0
    bad = new.last_step or 0
    steps = max(0, bad - (new.to_step or 0))
    return steps, steps * _step_seconds(job, _report(job, gang, live), bad)


def _step_seconds(job: TrainingJob, news: LiveReport | None, newest: int) -> float:
    """Return the productive seconds of a step of this attempt; of the job, `newest` steps, where none told them."""
    if news is not None and news.seconds is not None and news.step is not None:
        again = max(0, news.rollbacks.step - news.rollbacks.to_step) if news.rollbacks is not None else 0
        done = news.step - (news.resumed_from_step or 0) + again
        if done > 0:
            return news.seconds.productive / done
    seconds = job.status.goodput.seconds if job.status.goodput is not None else None
    return seconds.productive / newest if newest and seconds is not None else 0.0


def _spans(job: TrainingJob, gang: Gang, live: Live | None, news: LiveReport | None) -> list[Span]:
    """Return the whole way of the present attempt; the last span is open. Training counts as productive."""
    if job.status.is_true("Suspended"):
        return [Span(_OPEN, "queued" if is_held(job.status) else "suspended")]
    if job.status.export is not None:
        return [Span(_OPEN, "exporting")]
    if job.status.round > 0:
        way = _round(job, gang, live, news)
    else:
        way = _way_up(job.status, gang) + _work(gang, news, _container_started(gang, news))
    ends = [end.finished_at for pod in gang.failed if (end := terminated(pod)) is not None and end.finished_at]
    if not ends:
        return way
    broke = min(ends)
    return [Span(min(span.until, broke), span.cause) for span in way] + [Span(_OPEN, "restarting")]


def _way_up(status: TrainingJobStatus, gang: Gang) -> list[Span]:
    """Return what comes before the last worker's container runs; nothing where the status knows that all have run."""
    if status.is_true("PodsReady"):
        return []
    again = _is_restart(status)
    waiting = "restarting" if again and not _is_queued(status) else "queued"
    pods = created(tuple(gang.present.values())) or _OPEN
    placed, started = _last(gang, _placed), _last(gang, _started)
    if again:
        return [Span(pods, waiting), Span(started, "restarting")]
    return [Span(pods, waiting), Span(placed, "scheduling"), Span(started, "image")]


def _round(job: TrainingJob, gang: Gang, live: Live | None, news: LiveReport | None) -> list[Span]:
    """Return the whole way of a later round of the attempt: until its processes begin, the gang is restarting."""
    if live is None or live.report.attempt != job.status.attempt or live.report.round < job.status.round:
        return [Span(_OPEN, "productive" if job.status.is_true("Running") else "restarting")]
    if news is None or news.seconds is None:
        return _work(gang, news, None)
    began = live.at - timedelta(seconds=sum(structs.astuple(news.seconds)))
    return [Span(began, "restarting"), *_work(gang, news, began)]


def _container_started(gang: Gang, news: LiveReport | None) -> datetime | None:
    return _started(gang.present[news.worker]) if news is not None and news.worker in gang.present else None


def _work(gang: Gang, news: LiveReport | None, began: datetime | None) -> list[Span]:
    """Return what the worker that speaks for the gang has done since its processes began."""
    if news is None:
        return [Span(_OPEN, "productive")]  # a command that says nothing of its training
    if news.seconds is None:
        return [Span(_OPEN, _OF_PHASE.get(news.phase, "productive"))]
    # Saving is not told by its phase here but by its seconds, see `_saving`.
    now = Span(_OPEN, "productive" if news.phase == "Checkpointing" else _OF_PHASE.get(news.phase, "productive"))
    if began is None:
        return [now]
    ready = began + timedelta(seconds=news.seconds.starting)
    return [Span(ready, "starting"), Span(ready + timedelta(seconds=news.seconds.restoring), "restoring"), now]


def _saving(status: TrainingJobStatus, news: LiveReport | None, accounted: int, trained: int) -> int:
    """Return which part of the newly trained time went into saving; all in milliseconds.

    In the first attempt everything accounted is of this attempt, and what the worker tells beyond it is new. Later it
    is not known how much was accounted since the attempt began: new time is split as all time of the attempt was.
    """
    told = (news.seconds if news is not None else None) or AttemptSeconds()
    if status.attempt == 0 and status.condition("Suspended") is None:
        return min(trained, max(0, round(told.checkpointing * 1000) - accounted))
    whole = told.productive + told.checkpointing
    return round(trained * told.checkpointing / whole) if whole else 0


def _report(job: TrainingJob, gang: Gang, live: Live | None) -> LiveReport | None:
    """Return the live report if it is of this attempt, and not of pods that a suspension removed from it."""
    if live is None or live.report.attempt != job.status.attempt:
        return None
    if job.spec.task is None and live.report.step is None:
        return None  # a script that says nothing of its training: its supervisor cannot know when that begins
    pod = gang.present.get(live.report.worker)
    if pod is not None and pod.metadata.creation_timestamp is not None and live.at < pod.metadata.creation_timestamp:
        return None
    return live.report


def _is_restart(status: TrainingJobStatus) -> bool:
    """Whether the attempt follows a failure: a resumed job comes up as a new one, whatever failed before."""
    suspension, restarts = status.condition("Suspended"), status.restarts
    failed = restarts.last.time if restarts is not None and restarts.last is not None else None
    resumed = suspension.last_transition_time if suspension is not None else None
    return status.attempt > 0 and (resumed is None or (failed is not None and failed >= resumed))


def _is_queued(status: TrainingJobStatus) -> bool:
    """Whether the status says that a quota or a queue holds the pods back."""
    admitted, ready = status.condition("Admitted"), status.condition("PodsReady")
    return (admitted is not None and admitted.status == "False") or (
        ready is not None and ready.reason in _QUEUE_REASONS
    )


def _last(gang: Gang, when: Callable[[Pod], datetime | None]) -> datetime:
    """Return when it was true of the last worker, `_OPEN` while there is one of which it is not."""
    times = [when(pod) or _OPEN for pod in gang.present.values()]
    return _OPEN if gang.missing else max(times, default=_OPEN)


def _placed(pod: Pod) -> datetime | None:
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.status == "True":
            return condition.last_transition_time
    return _started(pod)


def _started(pod: Pod) -> datetime | None:
    for status in pod.status.container_statuses:
        if status.name == CONTAINER:
            state = status.state.running or status.state.terminated
            return state.started_at if state is not None else None
    return None


def _since(birth: datetime, time: datetime) -> int:
    """Return whole milliseconds. Integers, because a sum of many floats drifts."""
    return (time - birth) // timedelta(milliseconds=1)


def _milliseconds(goodput: Goodput) -> dict[str, int]:
    seconds = goodput.seconds or GoodputSeconds()
    return {cause: round(value * 1000) for cause, value in structs.asdict(seconds).items()}


def _goodput(parts: dict[str, int], lost_steps: int, accounted: datetime | None) -> Goodput:
    total = sum(parts.values())
    return Goodput(
        ratio=round(parts["productive"] / total, 4) if total else None,
        seconds=GoodputSeconds(**{cause: part / 1000 for cause, part in parts.items()}),
        lost_steps=lost_steps,
        accounted_time=accounted,
    )
