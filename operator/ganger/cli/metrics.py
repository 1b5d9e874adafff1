"""`ganger metrics`: the newest figures of a job's training, as its workers have reported them."""

from datetime import datetime
from typing import Any

import click
import msgspec

from ganger.api.types import TrainingJob
from ganger.cli import arguments, eta, figures, jobs, printing
from ganger.cli.connection import Connection
from ganger.cli.live import one_job
from ganger.cli.problem import Code, Problem
from ganger.cli.session import Session, Target
from ganger.cli.terminal import escape
from ganger.cli.wait import outcome


@click.command()
@arguments.job_name
@click.option(
    "-w", "--watch", is_flag=True, help="A line for each report, until the job ends; its exit code mirrors it."
)
@arguments.for_people_or_scripts
@arguments.on_cluster
@arguments.pass_session
def metrics(session: Session, target: Target, name: str, watch: bool, output: str) -> Code:
    """Print the newest figures of a job: loss, throughput, its own metrics.

    \b
    Examples:
      ganger metrics digits
      ganger metrics digits --watch -o json > run.jsonl

    They come from the status of the job, which the operator keeps up to date while workers report; no pod is asked.
    With --watch and -o json each report is one line of JSON.
    """

    async def body(connection: Connection) -> Code:
        if watch:
            return await _follow(session, connection, name, as_json=output == "json")
        job = await jobs.job(connection, name)
        found = values(job)
        if output == "json":
            session.terminal.data(printing.as_json(found))
        elif not found:
            _none(session, name)
        else:
            for line in figures.table(("NAME", "VALUE"), rows(job, session.now())):
                session.terminal.data(line)
        return Code.COMPLETE

    return session.with_cluster(target, body)


def values(job: TrainingJob) -> dict[str, Any]:
    """Return what is known, by name, for scripts. Times are UTC; what nobody has reported is absent. Pure."""
    progress, goodput = job.status.progress, job.status.goodput
    if progress is None:
        return {}
    expected = eta.expected(job)
    found = {
        "time": _time(progress.updated_time),
        "step": progress.step,
        "totalSteps": progress.total_steps,
        "epoch": progress.epoch,
        "loss": _loss(progress.loss),
        "samplesPerSecond": progress.samples_per_second,
        "goodput": goodput.ratio if goodput is not None else None,
        "etaTime": _time(expected),
    }
    known = {key: value for key, value in found.items() if value is not None}
    own = {metric.name: metric.value for metric in progress.metrics}
    return known | ({"metrics": own} if own else {})


def rows(job: TrainingJob, now: datetime) -> list[tuple[str, str]]:
    """Return the same for people: name and value, escaped. Pure."""
    found, progress = values(job), job.status.progress
    assert progress is not None, "where there are values there is progress"
    own = found.pop("metrics", {})
    cells = {
        "step": f"{found['step']}/{found['totalSteps']}" if "totalSteps" in found else str(found.get("step", "")),
        "epoch": str(found.get("epoch", "")),
        "loss": progress.loss or "",
        "samples/s": figures.rate(found["samplesPerSecond"]) if "samplesPerSecond" in found else "",
        "goodput": f"{100 * found['goodput']:.0f}%" if "goodput" in found else "",
        "done": eta.in_words(job, now),
        **{metric: figures.number(value) for metric, value in own.items()},
        "reported": f"{figures.age(progress.updated_time, now)} ago" if progress.updated_time is not None else "",
    }
    return [(escape(key), escape(cell)) for key, cell in cells.items() if cell]


def _loss(text: str | None) -> float | str | None:
    """Return the loss as a number; NaN and infinity, which JSON has not, as text."""
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        return text
    return number if abs(number) < float("inf") else text


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None


async def _follow(session: Session, connection: Connection, name: str, *, as_json: bool) -> Code:
    told: dict[str, Any] = {}
    async for job in one_job(connection, name):
        found = values(job)
        if found and found != told:
            told = found
            session.terminal.data(_line(found, as_json=as_json))
        code = outcome(job, "complete")
        if code is not None:
            return code
    raise Problem(f"job {name} was deleted", "", "'ganger list' shows what is left", code=Code.NOT_FOUND)


def _line(found: dict[str, Any], *, as_json: bool) -> str:
    if as_json:
        return msgspec.json.encode(found).decode()
    flat = {key: value for key, value in found.items() if key != "metrics"} | found.get("metrics", {})
    return escape(" ".join(f"{key}={value}" for key, value in flat.items()))


def _none(session: Session, name: str) -> None:
    session.terminal.message(f"{name} has reported nothing yet; 'ganger status {name}' tells what it does")
