"""`ganger cp`: files of a job to this machine and back, through tar in a worker or in a pod that has its volumes."""

import asyncio
import os
import posixpath
import shutil
import tarfile
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import click
from msgspec import Struct

from ganger.api.types import TrainingJob
from ganger.cli import arguments, jobs
from ganger.cli.connection import Connection
from ganger.cli.entry import command, entered
from ganger.cli.problem import Code, Problem
from ganger.cli.session import Session, Target
from ganger.cli.terminal import escape
from ganger.plan import volumes

PIECE_BYTES = 64 * 1024


class Remote(Struct, frozen=True):
    """A path in the pods of a job."""

    job: str
    path: str


def place(text: str) -> Remote | None:
    """Return the place in a job that NAME:PATH names, None for a path of this machine. Pure.

    As with scp, a path of this machine in which a colon stands before any slash is written ./a:b.
    """
    name, colon, path = text.partition(":")
    return Remote(name, path) if colon and name and "/" not in name and not name.startswith(".") else None


@click.command()
@click.argument("source", metavar="SOURCE")
@click.argument("destination", metavar="DESTINATION")
@click.option("--worker", type=click.IntRange(min=0), metavar="N", help="In the pod of this worker. Default: any.")
@arguments.on_cluster
@arguments.pass_session
def cp(session: Session, target: Target, source: str, destination: str, worker: int | None) -> Code:
    """Copy files of a job to this machine, or back.

    \b
    ganger cp digits:step_300 ./                a checkpoint
    ganger cp digits:/checkpoints/eval.json .   any file of a worker
    ganger cp best.pt digits:start/             a file to the volume

    A path of the job that does not begin with / is one in the folder of its checkpoints. While a worker runs it is
    asked; else a pod with the job's image and volumes, deleted afterwards, takes its place. What is there already is
    not written over on this machine.
    """
    far, near = place(source), place(destination)
    if (far is None) == (near is None):
        raise click.UsageError("one of the two is NAME:PATH, and the other a path of this machine")

    async def body(connection: Connection) -> str:
        if far is not None:
            return await fetch(connection, session, far, Path(destination), worker)
        assert near is not None, "one of the two is in the job"
        return await send(connection, session, Path(source), near, worker)

    session.terminal.data(escape(session.with_cluster(target, body)))
    return Code.COMPLETE


def absolute(job: TrainingJob, path: str) -> str:
    """Return the path in a worker. Raises Problem for a relative one of a job that keeps no checkpoints. Pure."""
    if path.startswith("/"):
        return posixpath.normpath(path)
    folder = volumes.checkpoint_dir(job)
    if folder is None:
        what = f"{path or '.'} is relative to the checkpoints of job {job.metadata.name}, and it keeps none"
        raise Problem(escape(what), "", "name a path that begins with /", code=Code.USAGE)
    return posixpath.normpath(posixpath.join(folder, path))


async def fetch(connection: Connection, session: Session, far: Remote, destination: Path, worker: int | None) -> str:
    """Copy from a job to this machine, and return what went where. Raises Problem; nothing is left of half a copy."""
    job = await jobs.job(connection, arguments.ObjectName().convert(far.job, None, None))
    path = absolute(job, far.path)
    folder, name = posixpath.split(path)
    target = _free(destination, name)
    # Beside its place and renamed: a copy that was cut short is never taken for a whole one.
    beside = Path(tempfile.mkdtemp(prefix=".ganger-cp-", dir=target.parent))
    try:
        async with entered(connection, session, job, worker=worker, writes=False) as pod:
            read, write = os.pipe()
            unpacking = asyncio.create_task(asyncio.to_thread(_unpack, read, beside))
            try:

                async def take(data: bytes) -> None:
                    await asyncio.to_thread(_write, write, data)

                await command(connection, pod, ["tar", "-C", folder, "-cf", "-", "--", name or "."], take=take)
            finally:
                os.close(write)
                done = await asyncio.gather(unpacking, return_exceptions=True)
        if isinstance(done[0], BaseException):
            raise Problem(f"{path} of {far.job} cannot be unpacked", escape(str(done[0])), code=Code.FAILED)
        (beside / name if name else beside).rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return f"{far.job}:{path} -> {target}"


async def send(connection: Connection, session: Session, source: Path, near: Remote, worker: int | None) -> str:
    """Copy from this machine to a job, and return what went where. Raises Problem."""
    _present(source)
    job = await jobs.job(connection, arguments.ObjectName().convert(near.job, None, None))
    path = absolute(job, near.path)
    into = not near.path or near.path.endswith("/")
    folder, name = (path, source.name) if into else posixpath.split(path)

    async def ignore(data: bytes) -> None:
        return

    # The folder is made where it is missing; owners are those of the container.
    words = ["sh", "-c", 'mkdir -p "$1" && exec tar -xof - -C "$1"', "sh", folder]
    async with entered(connection, session, job, worker=worker, writes=True) as pod:
        await command(connection, pod, words, take=ignore, feed=_packed(source, name))
    return f"{source} -> {near.job}:{posixpath.join(folder, name)}"


def _free(destination: Path, name: str) -> Path:
    """Return where the copy goes: a name that is not taken, in a folder that is there. Raises Problem."""
    target = destination / name if destination.is_dir() else destination
    if target.exists() or target.is_symlink():
        raise Problem(f"{target} is there already", "", "remove it, or name another place", code=Code.USAGE)
    if not target.parent.is_dir():
        raise Problem(f"there is no folder {target.parent}", "", "make it first", code=Code.USAGE)
    return target


def _present(source: Path) -> None:
    if not source.exists():
        raise Problem(f"there is no {source} on this machine", "", "check its name", code=Code.NOT_FOUND)


def _unpack(read: int, folder: Path) -> None:
    """Unpack what comes through the pipe. Raises tarfile.TarError for what would leave the folder."""
    with os.fdopen(read, "rb") as source, tarfile.open(fileobj=source, mode="r|") as archive:
        archive.extractall(folder, filter="data")
        while source.read(PIECE_BYTES):  # tar fills its last block: the writer must not meet a closed pipe
            pass


def _write(write: int, data: bytes) -> None:
    try:
        while data:
            data = data[os.write(write, data) :]
    except BrokenPipeError:
        return  # the unpacking has failed, and says why


async def _packed(source: Path, name: str) -> AsyncIterator[bytes]:
    """Yield the file or folder as a tar archive, under another name."""
    read, write = os.pipe()

    def pack() -> None:
        with os.fdopen(write, "wb") as sink, tarfile.open(fileobj=sink, mode="w|") as archive:
            archive.add(source, arcname=name)

    packing = asyncio.create_task(asyncio.to_thread(pack))
    try:
        while data := await asyncio.to_thread(os.read, read, PIECE_BYTES):
            yield data
    finally:
        os.close(read)
        await asyncio.gather(packing, return_exceptions=True)
    await packing
