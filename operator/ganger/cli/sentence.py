"""A job in one sentence, for `status`, `wait` and `submit --watch`. Pure."""

from datetime import datetime

from ganger.api.types import TrainingJob
from ganger.cli import figures
from ganger.plan.quota import is_held


def sentence(job: TrainingJob, now: datetime) -> str:
    """Return what the job does, waits for or ended with."""
    name, status = job.metadata.name, job.status
    if job.metadata.deletion_timestamp is not None:
        return f"{name} is being deleted"
    if status.is_true("Complete"):
        return f"{name} is complete{_took(job)}{_metrics(job)}"
    if status.is_true("Failed"):
        condition = status.condition("Failed")
        assert condition is not None
        return f"{name} failed{_took(job)}: {condition.reason}" + (
            f": {condition.message}" if condition.message else ""
        )
    if job.spec.suspend or status.is_true("Suspended"):
        stopped = status.is_true("Suspended") and not status.ready_workers
        if stopped and is_held(status):
            return f"{name} waits: {status.message} ({figures.age(job.metadata.creation_timestamp, now)})"
        return f"{name} is suspended" if stopped else f"{name} stops: it checkpoints and gives its workers back"
    if status.is_true("Running"):
        return f"{name} is running{_progress(job, now)}"
    if status.phase == "Exporting":
        return f"{name} is trained{_metrics(job)}; {_exporting(job)}"
    for_how_long = figures.age(job.metadata.creation_timestamp, now)
    why = status.message or "the operator has not looked at it yet"
    verb = "is restarting" if status.phase == "Restarting" else "is starting" if status.phase == "Starting" else "waits"
    return f"{name} {verb}: {why} ({for_how_long})"


def _exporting(job: TrainingJob) -> str:
    """What keeps the files from being made, where something does."""
    condition = job.status.condition("Exported")
    if condition is not None and condition.reason not in ("", "Exporting"):
        return f"its model files wait: {condition.message}"
    return f"its model files are made: {', '.join(one.format for one in job.spec.export)}"


def _took(job: TrainingJob) -> str:
    start, end = job.status.start_time, job.status.completion_time
    return f" after {figures.duration((end - start).total_seconds())}" if start is not None and end is not None else ""


def _metrics(job: TrainingJob) -> str:
    progress = job.status.progress
    if progress is None or not progress.metrics:
        return ""
    return ": " + ", ".join(f"{metric.name} {figures.number(metric.value)}" for metric in progress.metrics[:4])


def _progress(job: TrainingJob, now: datetime) -> str:
    progress = job.status.progress
    if progress is None or progress.step is None:
        return f": {job.status.message}" if job.status.message else ""
    parts = [f"step {progress.step}" + (f" of {progress.total_steps}" if progress.total_steps else "")]
    if progress.percent is not None:
        parts[0] += f" ({progress.percent})"
    if progress.loss is not None:
        parts.append(f"loss {progress.loss}")
    if progress.eta_time is not None and progress.eta_time > now:
        parts.append(f"done in about {figures.duration((progress.eta_time - now).total_seconds())}")
    return ": " + ", ".join(parts)
