"""`ganger list`: jobs, one line each, with the columns of `kubectl get tj` and, in the plain table, three more."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, get_args

import click
import msgspec
from msgspec import Raw, Struct

from ganger.api.observed import Metadata
from ganger.api.status import Phase
from ganger.api.types import TrainingJob
from ganger.cli import arguments, eta, figures, jobs, ledger, printing
from ganger.cli.connection import Connection
from ganger.cli.problem import Code, doing
from ganger.cli.session import Session, Target
from ganger.cli.terminal import escape
from ganger.contract import LABEL_QUEUE
from ganger.kube.resources import TRAINING_JOBS

COLUMNS = ("NAME", "PHASE", "WORKERS", "STEP", "PROGRESS", "LOSS", "RESTARTS", "AGE")
TABLE_COLUMNS = ("ETA", "SAMPLES/S", "GOODPUT")  # -o wide is that of kubectl, column for column
WIDE_COLUMNS = ("ETA", "CHECKPOINT", "QUEUE", "IMAGE", "MESSAGE")


class _Brief(Struct, frozen=True):
    """What a job is chosen and sorted by; read of jobs of newer operators too."""

    metadata: Metadata = Metadata()
    status: dict[str, Any] = {}

    @property
    def phase(self) -> str:
        return str(self.status.get("phase") or "Pending")

    @property
    def restarts(self) -> int:
        return int((self.status.get("restarts") or {}).get("total") or 0)


_BRIEF = msgspec.json.Decoder(_Brief)
PHASES = get_args(Phase)
# Each with the name behind it, so that the order is the same every time.
_KEYS: dict[str, Callable[[_Brief], Any]] = {
    "name": lambda one: 0,
    "age": lambda one: -one.metadata.creation_timestamp.timestamp() if one.metadata.creation_timestamp else 0.0,
    "phase": lambda one: PHASES.index(one.phase) if one.phase in PHASES else len(PHASES),
    "restarts": lambda one: -one.restarts,
}


@click.command("list")
@click.option("-A", "--all-namespaces", is_flag=True, help="Jobs of every namespace.")
@click.option("-l", "--selector", default="", metavar="LABELS", help="Only jobs with these labels, as in team=vision.")
@click.option("--phase", "phases", type=click.Choice(PHASES), multiple=True, help="Only jobs in this phase, or these.")
@click.option(
    "--sort-by", type=click.Choice(tuple(_KEYS)), default="name", show_default=True, help="age begins with the newest."
)
@click.option("--no-headers", is_flag=True, help="Leave the header line out.")
@arguments.output
@arguments.on_cluster
@arguments.pass_session
def list_jobs(
    session: Session,
    target: Target,
    all_namespaces: bool,
    selector: str,
    phases: tuple[str, ...],
    sort_by: str,
    no_headers: bool,
    output: str,
) -> Code:
    """List jobs with phase, progress and loss.

    \b
    Examples:
      ganger list
      ganger list -A --phase Running --sort-by age
      ganger list -l team=vision -o name
    """

    async def body(connection: Connection) -> tuple[list[Raw], str | None]:
        namespace = None if all_namespaces else connection.namespace
        with doing("listing jobs"):
            found, _ = await jobs.items(connection, TRAINING_JOBS, namespace, label_selector=selector)
        return found, namespace

    found, namespace = session.with_cluster(target, body)
    found = _chosen(found, phases, sort_by)
    if output in ("json", "yaml"):
        whole = printing.listed([jobs.without_noise(item) for item in found])
        session.terminal.data(printing.as_json(whole) if output == "json" else printing.as_yaml(whole))
    elif output == "name":
        for item in found:
            session.terminal.data(printing.as_name(jobs.metadata_of(item).name))
    elif not found:
        where = f"namespace {namespace}" if namespace is not None else "any namespace"
        hint = "leave --phase out to see the others" if phases else "'ganger submit -f job.yaml' starts one"
        session.terminal.message(f"no {'such ' if phases else ''}jobs in {where}; {hint}")
    else:
        header = columns(wide=output == "wide", with_namespace=all_namespaces)
        rows = [_row(session, item, wide=output == "wide", with_namespace=all_namespaces) for item in found]
        for line in figures.table(() if no_headers else header, rows):
            session.terminal.data(line)
    return Code.COMPLETE


def _chosen(found: list[Raw], phases: tuple[str, ...], sort_by: str) -> list[Raw]:
    """Return the jobs of these phases, of all where none is named, in their order."""
    briefs = [(_BRIEF.decode(item), item) for item in found]
    chosen = [(one, item) for one, item in briefs if not phases or one.phase in phases]
    chosen.sort(key=lambda pair: (_KEYS[sort_by](pair[0]), pair[0].metadata.namespace, pair[0].metadata.name))
    return [item for _, item in chosen]


def columns(*, wide: bool, with_namespace: bool) -> tuple[str, ...]:
    """Return the header."""
    return (("NAMESPACE",) if with_namespace else ()) + COLUMNS + (WIDE_COLUMNS if wide else TABLE_COLUMNS)


def _row(session: Session, item: Raw, *, wide: bool, with_namespace: bool) -> tuple[str, ...]:
    metadata = jobs.metadata_of(item)
    try:
        cells = (*_cells(msgspec.json.decode(item, type=TrainingJob), session.now(), wide=wide),)
    except msgspec.ValidationError:
        # A job of a newer operator: it is there, and what it is stays unknown to this version.
        cells = (metadata.name, "?", *("",) * 5, figures.age(metadata.creation_timestamp, session.now()))
        cells += ("",) * (len(columns(wide=wide, with_namespace=False)) - len(cells))
    name, phase, *rest = (escape(cell) for cell in cells)
    row = (name, session.terminal.phase(phase), *rest)
    return (escape(metadata.namespace), *row) if with_namespace else row


def _cells(job: TrainingJob, now: datetime, *, wide: bool) -> Iterator[str]:
    status, progress = job.status, job.status.progress
    yield job.metadata.name
    yield status.phase or "Pending"
    yield status.workers or f"0/{job.spec.workers}"
    yield step(job)
    yield f"{progress.percent}" if progress is not None and progress.percent is not None else ""
    yield (progress.loss or "") if progress is not None else ""
    yield str(status.restarts.total if status.restarts is not None else 0)
    yield figures.age(job.metadata.creation_timestamp, now)
    if not wide:
        end = eta.expected(job)
        yield figures.duration((end - now).total_seconds()) if end is not None else ""
        yield rate(job)
        yield ledger.ratio(job)
    else:
        end = progress.eta_time if progress is not None and not status.finished else None
        yield figures.duration((end - now).total_seconds()) if end is not None else ""
        yield figures.age(status.checkpoint.latest_time if status.checkpoint is not None else None, now)
        yield job.metadata.labels.get(LABEL_QUEUE, "")
        yield job.spec.image or ""
        yield status.message or ""


def step(job: TrainingJob) -> str:
    """Return the steps done, of how many where that is known."""
    progress = job.status.progress
    if progress is None or progress.step is None:
        return ""
    return f"{progress.step}/{progress.total_steps}" if progress.total_steps else str(progress.step)


def rate(job: TrainingJob) -> str:
    """Return the samples a second of all workers while they train, else ""."""
    progress = job.status.progress
    if progress is None or progress.samples_per_second is None or not job.status.is_true("Running"):
        return ""
    return figures.rate(progress.samples_per_second)
