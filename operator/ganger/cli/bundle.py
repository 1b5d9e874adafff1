"""`ganger report`: everything that a bug report about a job needs, in one file, without its secrets."""

import io
import os
import tarfile
from datetime import datetime
from pathlib import Path

import click

from ganger.cli import arguments
from ganger.cli.connection import Connection
from ganger.cli.evidence import Evidence, gather
from ganger.cli.problem import Code, Problem
from ganger.cli.session import Session, Target
from ganger.cli.terminal import escape

_MODE = 0o600  # logs of a training are nobody else's business


@click.command()
@arguments.job_name
@click.option(
    "-f",
    "--file",
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where to. Default: NAME-report.tar.gz.",
)
@click.option("--tail", type=click.IntRange(min=1), default=5000, show_default=True, help="Lines of each log.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@arguments.on_cluster
@arguments.pass_session
def report(session: Session, target: Target, name: str, path: Path | None, tail: int, force: bool) -> Code:
    """Write what a bug report about a job needs into a file, without secrets.

    \b
    Examples:
      ganger report digits
      ganger report digits -f bug.tar.gz --tail 500

    The job, its pods, events and claim, the logs of all workers and of the containers before them, what the operator
    logged of it where you may read that, versions, and what doctor finds. No Secret is read. Values under names that
    sound like secrets, and tokens of known forms, are replaced everywhere: look through it all the same.
    """
    file = path if path is not None else Path(f"{name}-report.tar.gz")
    if file.exists() and not force:
        fix = "name another one with --file, or add --force"
        raise Problem(f"{file} is there already", "", fix, code=Code.USAGE)

    async def body(connection: Connection) -> Evidence:
        return await gather(connection, session, name, tail)

    found = session.with_cluster(target, body)
    _write(file, packed(found.parts, f"{name}-report", session.now()))
    session.terminal.data(escape(str(file)))
    for line in found.missing:
        session.terminal.message(escape(f"not in it: {line}"))
    parts = f"{len(found.parts)} files, {found.hidden} values were hidden"
    session.terminal.message(f"{parts}; look through it before you hand it on: tar tzf {escape(str(file))}")
    return Code.COMPLETE


def packed(parts: dict[str, str], folder: str, now: datetime) -> bytes:
    """Return a compressed archive of texts by their paths. Pure but for the time of the compression."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for path, text in parts.items():
            data = text.encode(errors="backslashreplace")
            member = tarfile.TarInfo(f"{folder}/{path}")
            member.size, member.mode, member.mtime = len(data), 0o644, int(now.timestamp())
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def _write(file: Path, data: bytes) -> None:
    beside = file.with_name(f".{file.name}.part")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _MODE)
    with os.fdopen(handle, "wb") as out:
        out.write(data)
    beside.replace(file)
