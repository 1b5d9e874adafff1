"""The series of jobs, `ganger_job_*` and `ganger_worker_info` of `catalog`, kept as text.

A job's lines are written once when something about it changes and joined at a scrape: a general-purpose client would
render every series at every scrape, and no job is served meanwhile (docs/adr/0008-metrics-and-goodput.md).
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime

from msgspec import Struct, structs

from ganger.api.types import TrainingJob
from ganger.contract import LABEL_QUEUE
from ganger.observe import catalog
from ganger.observe.text import escaped, head, number

NAMES_MAX = 100  # of metrics and of live settings of one job; the names are the user's
NAME_CHARS_MAX = 64
Key = tuple[str, str]  # namespace and name
Sample = tuple[str, tuple[str, ...], float]  # name of the family, values of its labels after JOB_LABELS, value


class WorkerRow(Struct, frozen=True, kw_only=True):
    """One worker that has a pod. node is "" until the pod has one."""

    pod: str
    worker: int
    node: str = ""


class JobFigures(Struct, frozen=True, kw_only=True):
    """What of a job is not in its status. None for what is not known; what is not known has no series.

    gpus: over all workers. last_step_time: when the newest step was first reported. step_seconds: recent wall time of a
    step. checkpoint_failures: of the present attempt. workers: shown for a job with GPUs alone. stragglers: rank and
    score of each.
    """

    gpus: int = 0
    last_step_time: datetime | None = None
    step_seconds: float | None = None
    checkpoint_failures: int | None = None
    workers: tuple[WorkerRow, ...] = ()
    stragglers: tuple[tuple[int, float], ...] = ()


class JobSeries:
    """The lines of every job. Belongs to one event loop; nothing here waits."""

    def __init__(self) -> None:
        self._lines: dict[str, dict[Key, bytes]] = {family.name: {} for family in catalog.JOBS}
        self._heads = {family.name: head(family.name, family.type, family.help) for family in catalog.JOBS}
        self._labels = {family.name: family.labels[len(catalog.JOB_LABELS) :] for family in catalog.JOBS}

    def update(self, job: TrainingJob, figures: JobFigures) -> None:
        """Replace what is shown of the job, and of any job before it of that name."""
        namespace, name = job.key
        of_job = f'namespace="{escaped(namespace)}",training_job="{escaped(name)}"'
        texts: defaultdict[str, list[str]] = defaultdict(list)
        for family, values, value in _samples(job, figures):
            labels = of_job
            for label, text in zip(self._labels[family], values, strict=True):
                labels += f',{label}="{escaped(text)}"'
            texts[family].append(f"{family}{{{labels}}} {number(value)}\n")
        for family, lines in self._lines.items():
            if family in texts:
                lines[job.key] = "".join(texts[family]).encode()
            else:
                lines.pop(job.key, None)

    def forget(self, key: Key) -> None:
        """Show nothing of that job any more. A job that was never shown is fine."""
        for lines in self._lines.values():
            lines.pop(key, None)

    def clear(self) -> None:
        """Show no job any more: another process leads, and shows them."""
        for lines in self._lines.values():
            lines.clear()

    def exposition(self) -> bytes:
        """Return all lines in the Prometheus text format, each family in one block; b"" where there is no job."""
        parts: list[bytes] = []
        for family, lines in self._lines.items():
            if lines:
                parts.append(self._heads[family])
                parts.extend(lines.values())
        return b"".join(parts)


def _samples(job: TrainingJob, figures: JobFigures) -> Iterator[Sample]:
    """Yield every series of the job, those of one family next to each other."""
    metadata, spec, status = job.metadata, job.spec, job.status
    yield "ganger_job_info", (metadata.labels.get(LABEL_QUEUE, ""), spec.priority_class_name or ""), 1
    yield "ganger_job_phase", (status.phase or "Pending",), 1
    yield "ganger_job_workers_wanted", (), spec.workers
    yield "ganger_job_workers_ready", (), status.ready_workers or 0
    yield "ganger_job_gpus", (), figures.gpus
    yield "ganger_job_attempt", (), status.attempt
    yield from _one("ganger_job_created_timestamp_seconds", _seconds(metadata.creation_timestamp))
    yield from _one("ganger_job_completed_timestamp_seconds", _seconds(status.completion_time))
    yield from _progress(job)
    yield from _one("ganger_job_last_step_timestamp_seconds", _seconds(figures.last_step_time))
    yield from _one("ganger_job_step_seconds", figures.step_seconds)
    for rank, score in figures.stragglers:
        yield "ganger_job_straggler_ratio", (str(rank),), score
    yield from _checkpoint(job, figures)
    yield from _restarts(job)
    if (goodput := status.goodput) is not None:
        for cause, seconds in (structs.asdict(goodput.seconds) if goodput.seconds is not None else {}).items():
            if seconds > 0:
                yield "ganger_job_seconds", (cause,), seconds
        yield from _one("ganger_job_goodput_ratio", goodput.ratio)
        yield "ganger_job_lost_steps", (), goodput.lost_steps
    yield from _named(
        "ganger_job_live_config_step", ((value.name, value.applied_at_step) for value in status.live_config)
    )
    for row in figures.workers if figures.gpus else ():
        yield "ganger_worker_info", (row.pod, str(row.worker), row.node), 1


def _progress(job: TrainingJob) -> Iterator[Sample]:
    progress, phase = job.status.progress, job.status.phase
    if progress is None:
        return
    yield from _one("ganger_job_step", progress.step)
    yield from _one("ganger_job_steps_planned", progress.total_steps)
    yield from _one("ganger_job_epoch", progress.epoch)
    if progress.step is not None and progress.total_steps:
        yield "ganger_job_progress_ratio", (), progress.step / progress.total_steps
    yield from _one("ganger_job_loss", _loss(progress.loss))
    if phase == "Running":  # what was reported last says nothing of a gang that stands still
        yield from _one("ganger_job_samples_per_second", progress.samples_per_second)
    yield from _named("ganger_job_metric", ((metric.name, metric.value) for metric in progress.metrics))
    if phase not in ("Suspended", "Complete", "Failed"):
        for bound, moment in (
            ("earliest", progress.eta_earliest_time),
            ("expected", progress.eta_time),
            ("latest", progress.eta_latest_time),
        ):
            if moment is not None:
                yield "ganger_job_eta_timestamp_seconds", (bound,), moment.timestamp()


def _checkpoint(job: TrainingJob, figures: JobFigures) -> Iterator[Sample]:
    newest, plan = job.status.checkpoint, job.spec.checkpoint
    if newest is not None:
        yield from _one("ganger_job_checkpoint_step", newest.latest_step)
        yield from _one("ganger_job_checkpoint_bytes", newest.bytes)
        yield from _one("ganger_job_checkpoint_timestamp_seconds", _seconds(newest.latest_time))
    if plan is not None:
        interval: float | None = plan.every_seconds
        if plan.every_steps is not None and figures.step_seconds is not None:
            interval = plan.every_steps * figures.step_seconds
        yield from _one("ganger_job_checkpoint_interval_seconds", interval)
    yield from _one("ganger_job_checkpoint_failures", figures.checkpoint_failures)


def _restarts(job: TrainingJob) -> Iterator[Sample]:
    status, restarts = job.status, job.status.restarts
    total, counted = (restarts.total, restarts.counted) if restarts is not None else (0, 0)
    yield "ganger_job_restarts_total", ("true",), counted
    yield "ganger_job_restarts_total", ("false",), max(0, total - counted)
    last, ended = restarts.last if restarts is not None else None, status.condition("Failed")
    if ended is not None and ended.status == "True" and (last is None or last.attempt != status.attempt):
        yield "ganger_job_failure_info", (ended.reason, ""), 1  # a deadline, say: no worker of this attempt failed
    elif last is not None:
        yield "ganger_job_failure_info", (last.reason, "" if last.rank is None else str(last.rank)), 1


def _one(family: str, value: float | None) -> Iterator[Sample]:
    if value is not None:
        yield family, (), value


def _named(family: str, values: Iterator[tuple[str, float]]) -> Iterator[Sample]:
    """Yield values under names of the user's; of two names that are the same once cut, the first."""
    seen: set[str] = set()
    for name, value in values:
        short = name[:NAME_CHARS_MAX]
        if short not in seen and len(seen) < NAMES_MAX:
            seen.add(short)
            yield family, (short,), value


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment is not None else None


def _loss(text: str | None) -> float | None:
    """Return a loss that the status has as text, None for what is no number."""
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None
