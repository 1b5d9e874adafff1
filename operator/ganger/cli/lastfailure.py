"""The newest failure of a job, for people: which worker, how it ended and what it said last. Pure."""

from datetime import datetime

from ganger.api.status import Failure
from ganger.api.types import TrainingJob
from ganger.cli import figures
from ganger.cli.podlog import Line
from ganger.cli.terminal import log_line
from ganger.plan import names

_ANEW = {"Process": "processes", "Container": "containers", "Pods": "pods"}


def of(job: TrainingJob) -> Failure | None:
    """Return the failure that the status keeps, or None where nothing has failed."""
    restarts, export = job.status.restarts, job.status.export
    if export is not None and export.last is not None:
        return export.last  # of the model files, which come after the training
    return restarts.last if restarts is not None else None


def headline(failure: Failure, now: datetime) -> str:
    """Return reason, exit code, rank, pod, node and age in one line; what is unknown is left out."""
    text = failure.reason or "a failure"
    if failure.exit_code is not None:
        text += f", exit {failure.exit_code}"
    if failure.rank is not None:
        text += f", rank {failure.rank}"
    text += f" in {failure.pod or 'a worker'}"
    if failure.node:
        text += f" on {failure.node}"
    if failure.time is not None:
        text += f", {figures.age(failure.time, now)} ago"
    anew = f", {_ANEW[failure.rung]} started anew" if failure.rung is not None else ""
    return f"{text} (attempt {failure.attempt}{anew})"


def last_lines(failure: Failure) -> list[str]:
    """Return what the worker wrote last, without anything that a terminal would obey."""
    return [log_line(line) for text in failure.last_lines for line in text.splitlines() or [""]]


def of_attempt(job: TrainingJob, attempt: int, worker: int | None) -> list[Line]:
    """Return the last lines that the status keeps of that attempt, of that worker or of any, without their times."""
    failure = of(job)
    if failure is None or failure.attempt != attempt:
        return []
    pods = {names.pod(job.metadata.name, attempt, index): index for index in range(job.spec.most_workers)}
    failed = pods.get(failure.pod)
    if failed is None or worker not in (None, failed):
        return []
    return [Line(time=0, worker=failed, text=text) for text in last_lines(failure)]
