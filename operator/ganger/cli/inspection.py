"""One checkpoint of a job: what its manifest says, and taking it away. Both look into the volume."""

import posixpath
import sys
from typing import Any

import click
import msgspec
from msgspec import Struct

from ganger.api.types import TrainingJob
from ganger.cli import figures, jobs, printing
from ganger.cli.connection import Connection
from ganger.cli.entry import command, entered
from ganger.cli.problem import Code, Problem
from ganger.cli.session import Session, Target
from ganger.cli.terminal import escape
from ganger.plan import volumes

_SHOWN = ("job", "jobUid", "attempt", "step", "worldSize", "samples", "savedAt", "score")


class _File(Struct, frozen=True):
    name: str
    size: int
    sha256: str


class Held(Struct, frozen=True, rename="camel"):
    """What a checkpoint's manifest says of it, as the trainer has written it (ganger-checkpoint/1)."""

    step: int
    files: tuple[_File, ...]
    job: str = ""
    job_uid: str = ""
    attempt: int = 0
    world_size: int = 0
    samples: int = 0
    saved_at: str = ""
    score: float | None = None


def get(session: Session, target: Target, name: str, step: int, output: str) -> Code:
    """Print what the manifest of a checkpoint says."""

    async def body(connection: Connection) -> Held:
        job = await jobs.job(connection, name)
        path = posixpath.join(folder(job), f"step_{step}", "manifest.json")
        async with entered(connection, session, job, worker=None, writes=False) as pod:
            return read(await _output(connection, pod, ["cat", path], job, step), job, step)

    held = session.with_cluster(target, body)
    values: dict[str, Any] = msgspec.to_builtins(held)
    if output == "json":
        session.terminal.data(printing.as_json(values))
        return Code.COMPLETE
    total = sum(file.size for file in held.files)
    facts = [(key, escape(str(values[key]))) for key in _SHOWN if values[key] is not None]
    for line in figures.table((), [*facts, ("bytes", f"{total} ({figures.size(total)})")]):
        session.terminal.data(line)
    rows = [(escape(file.name), str(file.size), escape(file.sha256)) for file in held.files]
    for line in figures.table(("FILE", "BYTES", "SHA-256"), rows):
        session.terminal.data(line)
    session.terminal.message(f"copy it with: ganger cp {name}:step_{step} ./")
    return Code.COMPLETE


def remove(session: Session, target: Target, name: str, step: int, *, yes: bool) -> Code:
    """Delete a checkpoint of a job that does not run, after a question."""
    job = session.with_cluster(target, lambda connection: jobs.job(connection, name))
    _refuse(job, step)
    if not yes:
        _ask(job, step)

    async def body(connection: Connection) -> None:
        now = await jobs.job(connection, name)
        _refuse(now, step)  # between the question and the answer it may have been resumed
        here = posixpath.join(folder(now), f"step_{step}")
        # By way of a name that no worker takes for a checkpoint: a removal that is cut short leaves no half of one.
        words = ["sh", "-c", 'ls -d "$1" && mv "$1" "$1.removed" && rm -rf "$1.removed"', "sh", here]
        async with entered(connection, session, now, worker=None, writes=True) as pod:
            await _output(connection, pod, words, now, step)

    session.with_cluster(target, body)
    session.terminal.data(f"{name}: checkpoint of step {step} deleted")
    return Code.COMPLETE


def folder(job: TrainingJob) -> str:
    """Return where the checkpoints are in a worker. Raises Problem where the job keeps none that Ganger knows. Pure."""
    found = volumes.checkpoint_dir(job)
    what = f"job {job.metadata.name} has no checkpoints of Ganger's kind"
    if found is None:
        raise Problem(what, "spec.checkpoint is not set", "", code=Code.NOT_FOUND)
    if job.spec.task is None:
        fix = f"'ganger cp {job.metadata.name}: ./' copies what is there"
        raise Problem(what, "a script or a command saves in a form of its own", fix, code=Code.NOT_FOUND)
    return found


def read(text: bytes, job: TrainingJob, step: int) -> Held:
    """Return the manifest. Raises Problem where it is none. Pure."""
    try:
        return msgspec.json.decode(text.partition(b"\n")[0], type=Held)
    except msgspec.DecodeError as error:
        what = f"the manifest of step {step} of job {job.metadata.name} cannot be read"
        raise Problem(what, escape(str(error)), "the checkpoint is damaged: no worker loads it") from error


async def _output(connection: Connection, pod: str, words: list[str], job: TrainingJob, step: int) -> bytes:
    said = bytearray()

    async def take(data: bytes) -> None:
        said.extend(data)

    try:
        await command(connection, pod, words, take=take)
    except Problem as problem:
        if problem.code != Code.NOT_FOUND:
            raise
        what = f"job {job.metadata.name} has no checkpoint of step {step}"
        fix = f"'ganger checkpoints ls {job.metadata.name}' tells the newest; spec.checkpoint.keep says which stay"
        raise Problem(what, "", fix, code=Code.NOT_FOUND) from problem
    return bytes(said)


def _refuse(job: TrainingJob, step: int) -> None:
    name = job.metadata.name
    over = job.status.finished or (
        job.status.is_true("Suspended") and job.spec.suspend and not job.status.ready_workers
    )
    if not over:
        what = f"checkpoint {step} of job {name} was not deleted"
        why = "the job is not over, and its workers see to its checkpoints themselves (spec.checkpoint.keep)"
        raise Problem(what, why, f"'ganger suspend {name}' first", code=Code.USAGE)


def _ask(job: TrainingJob, step: int) -> None:
    name = job.metadata.name
    if not sys.stdin.isatty():
        why = "deleting asks first, and there is no terminal to answer from"
        raise Problem(f"checkpoint {step} of job {name} was not deleted", why, "add --yes", code=Code.USAGE)
    point = job.status.checkpoint
    newest = ", the newest that was told of" if point is not None and point.latest_step == step else ""
    if not click.confirm(f"Delete the checkpoint of step {step} of job {name}{newest}?", default=False, err=True):
        raise Problem("nothing was deleted", code=Code.FAILED)
