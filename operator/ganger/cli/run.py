"""`ganger run`: the job of a manifest as processes of this machine, without a cluster."""

import asyncio
import fcntl
import importlib.metadata
import importlib.util
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from ganger.api.defaults import fill
from ganger.api.types import TrainingJob
from ganger.cli import arguments, codeoptions, exports, localdata, machine, manifests, profiles
from ganger.cli.codeoptions import Asked
from ganger.cli.hint import hint
from ganger.cli.lines import Printer
from ganger.cli.local import LocalGang
from ganger.cli.problem import Code, Problem, missing_library
from ganger.cli.render import IMAGE, placed
from ganger.cli.seen import Seen
from ganger.cli.sentence import sentence
from ganger.cli.session import Session
from ganger.cli.terminal import escape
from ganger.cli.work import Work
from ganger.contract import METRICS_PORT
from ganger.plan import data
from ganger.plan.environment import processes_per_worker
from ganger.plan.seen import Event

RUNS = Path("ganger-runs")
_SIGNALS = {signal.SIGINT: Code.INTERRUPTED, signal.SIGTERM: Code.TERMINATED, signal.SIGHUP: Code.TERMINATED}


@click.command()
@manifests.files
@click.option(
    "--checkpoints",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where checkpoints are kept. Default: ganger-runs/JOB/checkpoints.",
)
@profiles.option
@codeoptions.options
@click.option("--no-prefix", is_flag=True, help="Write the output of the workers as it is, without their names.")
@arguments.common
@arguments.pass_session
def run(
    session: Session,
    files: tuple[str, ...],
    options: tuple[str, ...],
    checkpoints: Path | None,
    profile_files: tuple[str, ...],
    asked: Asked,
    no_prefix: bool,
) -> Code:
    """Run a job as local processes, without a cluster.

    \b
    Examples:
      ganger run job.yaml
      ganger run --from-function train.py:main --arg lr=1e-3

    Every worker is a process with the same supervisor, environment and checkpoint layout as its pod would have; a
    failure does what failurePolicy says. Ctrl-C lets every worker save a checkpoint; a second one ends them at once.

    \b
    0    the job is complete            1    it failed
    2    the manifest is wrong          130  Ctrl-C
    """
    made: Work | None = None
    if (found := codeoptions.of(session, asked, (*files, *options), mounted=False)) is not None:
        document, made = found
    else:
        sources = profiles.resolved(files, options, profile_files)
        document = manifests.one(manifests.jobs(session, sources, what="nothing was started"), what="run")
    assert document.job is not None
    _check_libraries(document.job)
    job = _localised(document.job)
    folder = None
    if job.spec.checkpoint is not None:
        folder = (checkpoints or RUNS / job.metadata.name / "checkpoints").absolute()
    gpus = machine.gpus(os.environ)
    for note in (*machine.notes(document.job, gpus, os.environ), *localdata.notes(RUNS, job)):
        session.terminal.message(escape(f"note: {note}"))
    with _reserved(folder, job.metadata.name), tempfile.TemporaryDirectory(prefix="ganger-") as scratch:
        localdata.provide(RUNS, job, os.environ)
        _announce(session, job, folder)
        environ = _with_code(os.environ, made, Path(scratch))
        return asyncio.run(_run(session, job, folder, Path(scratch), gpus, environ, prefixed=not no_prefix))


def _with_code(environ: Mapping[str, str], made: Work | None, scratch: Path) -> Mapping[str, str]:
    """Return the environment in which Python finds the code that goes along, as it finds /code in a pod."""
    if made is None:
        return environ
    folder = scratch / "code"
    folder.mkdir()
    for name, text in made.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    paths = os.pathsep.join(filter(None, (os.fspath(folder), environ.get("PYTHONPATH"))))
    return dict(environ) | {"PYTHONPATH": paths}


async def _run(
    session: Session,
    job: TrainingJob,
    folder: Path | None,
    scratch: Path,
    gpus: list[str],
    environ: Mapping[str, str],
    *,
    prefixed: bool,
) -> Code:
    gang = LocalGang(
        job,
        checkpoints=folder,
        data=localdata.folder(RUNS, job),
        scratch=scratch,
        gpus=gpus,
        environ=environ,
        say=Printer(session.terminal, job.spec.workers, prefixed=prefixed).line,
        tell=lambda event: _tell(session, event),
    )
    stopped_by: list[Code] = []

    def stop(code: Code) -> None:
        text = "ending the workers" if stopped_by else "stopping after a checkpoint; once more ends the workers at once"
        session.terminal.message(text, "yellow")
        stopped_by.append(code)
        gang.stop()

    loop = asyncio.get_running_loop()
    for number, code in _SIGNALS.items():
        loop.add_signal_handler(number, stop, code)
    ended = await gang.run()
    if gang.completed:
        session.terminal.message(_last_sentence(ended, "complete"), "green", "bold")
        for line in exports.lines(ended):
            session.terminal.message(escape(line))
        return Code.COMPLETE
    if ended.status.is_true("Failed"):
        session.terminal.message(_last_sentence(ended, "failed"), "red", "bold")
        found = hint(Seen(job=ended))
        if found is not None and "ganger logs" not in found.fix:  # the output is on this very screen
            session.terminal.message(escape(f"  why: {found.cause}"))
            session.terminal.message(escape(f"  fix: {found.fix}"))
        return Code.FAILED
    session.terminal.message(_stopped(ended, folder))
    return stopped_by[0] if stopped_by else Code.INTERRUPTED


def _check_libraries(job: TrainingJob) -> None:
    """Raise Problem where the trainer is not installed; a plain command without data needs none."""
    if job.spec.command is None:
        for name in ("ganger_trainer", "torch"):
            if importlib.util.find_spec(name) is None:
                raise missing_library(name, "trainer")
    if data.fetched(job):
        for name in ("ganger_trainer", "urllib3", "minio"):
            if importlib.util.find_spec(name) is None:
                raise missing_library(name, "data")


def _localised(job: TrainingJob) -> TrainingJob:
    """Return the job as it runs here: at once, ours, and with nothing left of it when it ends."""
    job = fill(placed(job, None, uid=str(uuid.uuid4())), IMAGE)
    spec = msgspec.structs.replace(
        job.spec, suspend=False, managed_by=None, clean_pod_policy="Running", ttl_seconds_after_finished=None
    )
    metadata = msgspec.structs.replace(job.metadata, creation_timestamp=datetime.now(UTC))
    return msgspec.structs.replace(job, spec=spec, metadata=metadata)


@contextmanager
def _reserved(folder: Path | None, name: str) -> Iterator[None]:
    """Make the folder and hold it. Two runs would take the checkpoints from each other again and again."""
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Problem(
                f"job {name} was not started",
                f"another 'ganger run' keeps its checkpoints in {folder}",
                "wait for it, or choose another folder with --checkpoints",
                code=Code.REFUSED,
            ) from None
        yield
    finally:
        os.close(handle)


def _announce(session: Session, job: TrainingJob, folder: Path | None) -> None:
    processes = processes_per_worker(job.spec)
    gang = f"{job.spec.workers} worker{'s' * (job.spec.workers > 1)}, {processes} process{'es' * (processes > 1)} each"
    python = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    if job.spec.command is None:
        python += f", torch {importlib.metadata.version('torch')}"
    where = f"checkpoints in {folder}" if folder is not None else "no checkpoints (spec.checkpoint is not set)"
    session.terminal.message(escape(f"{job.metadata.name}: {gang}, {python}; {where}"), "bold")
    if job.spec.command is None:
        session.terminal.message(f"metrics of worker 0: http://127.0.0.1:{METRICS_PORT}/metrics, if the port is free")


def _tell(session: Session, event: Event) -> None:
    if event.reason not in ("Running", "Suspended"):
        session.terminal.message(escape(f"{event.reason}: {event.message}"), *(("yellow",) if event.warning else ()))


def _last_sentence(job: TrainingJob, word: str) -> str:
    text = sentence(job, datetime.now(UTC))
    return escape(text if job.status.finished else f"{job.metadata.name} is {word}")


def _stopped(job: TrainingJob, folder: Path | None) -> str:
    name, point = job.metadata.name, job.status.checkpoint
    if folder is None:
        return escape(f"{name} was stopped; it keeps no checkpoints, so the same command begins at step 0")
    if point is None or point.latest_step is None:
        return escape(f"{name} was stopped before its first checkpoint of this run; {folder} holds what was there")
    return escape(f"{name} was stopped with a checkpoint of step {point.latest_step}; the same command goes on from it")
