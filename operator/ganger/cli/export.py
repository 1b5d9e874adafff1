"""`ganger export`: model files of any checkpoint that a job keeps, made and compared on the cluster."""

import asyncio
import re
import secrets
from collections.abc import Sequence

import click

from ganger.api.status import Artifact
from ganger.api.types import TrainingJob
from ganger.cli import arguments, exportjob, exports, jobs, printing
from ganger.cli.connection import Connection
from ganger.cli.exportjob import Wish
from ganger.cli.hint import hint
from ganger.cli.problem import Code, Problem, doing
from ganger.cli.reporting import Hint
from ganger.cli.seen import Seen
from ganger.cli.session import Session, Target
from ganger.cli.terminal import escape
from ganger.cli.wait import until
from ganger.contract import EXPORT_FORMATS, EXPORT_TOLERANCE
from ganger.kube.resources import TRAINING_JOBS
from ganger.plan.gang import attempt_of
from ganger.plan.report import artifacts, report

_CLAIM = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", re.ASCII)
_FOLDER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_.-]+)*", re.ASCII)


def target_of(text: str | None) -> tuple[str, str] | None:
    """Return claim and folder of `--to`. Pure; raises click.UsageError."""
    if text is None:
        return None
    claim, _, folder = text.partition(":")
    if _CLAIM.fullmatch(claim) is None:
        raise click.UsageError(f"--to {text!r} names no claim: write CLAIM or CLAIM:FOLDER, as in models:digits/v1")
    if folder and (_FOLDER.fullmatch(folder) is None or {".", ".."} & set(folder.split("/"))):
        raise click.UsageError(f"--to {text!r}: the folder is relative, without '.', '..' and a slash at its end")
    return claim, folder


def wish_of(
    formats: Sequence[str], *, step: int | None, best: bool, to: str | None, tolerance: float, opset: int | None
) -> Wish:
    """Return what is asked for. Pure; raises click.UsageError where its parts contradict each other."""
    if step is not None and best:
        raise click.UsageError("--step names a checkpoint and --best another one: leave one out")
    if opset is not None and "onnx" not in formats:
        raise click.UsageError("--opset is for the format onnx alone: leave it out")
    once = tuple(dict.fromkeys(formats))
    return Wish(formats=once, tolerance=tolerance, opset=opset, step=step, best=best, to=target_of(to))


async def begun(connection: Connection, name: str, wish: Wish) -> str:
    """Create the job that makes the files and return its name. Raises Problem where none can be made."""
    job = await jobs.job(connection, name)
    found = exportjob.obstacle(job, wish.formats)
    if found is not None:
        raise Problem(f"no model file of {name} can be made", *found, code=Code.USAGE)
    manifest = exportjob.manifest(job, wish, secrets.token_hex(2))
    with doing(f"submitting the export of {name}"):
        return (await connection.cluster.create(TRAINING_JOBS, connection.namespace, manifest)).name


async def files_of(
    session: Session, connection: Connection, ended: TrainingJob
) -> tuple[tuple[Artifact, ...], Hint | None]:
    """Return what the job made, and why it did not make the rest, None where it made all."""
    pods = sorted(await jobs.pods(connection, ended), key=attempt_of)
    files = artifacts(report(pods[-1])) if pods else ()
    if not ended.status.is_true("Failed"):
        return files, None
    return files, hint(Seen(job=ended, pods=tuple(pods), now=session.now()))


@click.command()
@arguments.job_name
@click.option(
    "--format", "formats", type=click.Choice(EXPORT_FORMATS), multiple=True, required=True, help="May be repeated."
)
@click.option("--step", type=click.IntRange(min=0), metavar="N", help="Of the checkpoint of that step.")
@click.option("--best", is_flag=True, help="Of the one with the lowest loss. Default: of the newest.")
@click.option("--to", "to", metavar="CLAIM[:FOLDER]", help="Where to. Default: exports/ beside the checkpoints.")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0, max=1, min_open=True),
    default=EXPORT_TOLERANCE,
    show_default=True,
    help="Largest absolute difference from the model.",
)
@click.option("--opset", type=click.IntRange(min=7, max=64), metavar="N", help="Version of the operators of onnx.")
@click.option(
    "--timeout", type=arguments.Duration(), metavar="DURATION", help="Stop waiting after, as in 30m. Default: never."
)
@arguments.for_people_or_scripts
@arguments.on_cluster
@arguments.pass_session
def export(
    session: Session,
    target: Target,
    name: str,
    formats: tuple[str, ...],
    step: int | None,
    best: bool,
    to: str | None,
    tolerance: float,
    opset: int | None,
    timeout: int | None,
    output: str,
) -> Code:
    """Make model files from a checkpoint of a job, and compare them with it.

    \b
    Examples:
      ganger export digits --format onnx --format safetensors
      ganger export digits --format onnx --best --to models:digits/v2

    A job of one worker without GPUs does it, with the image, the code and the volumes of the training; the job itself
    may run or have ended. Each file is loaded anew and compared with the model on real batches before it counts.

    \b
    0    every file was made and compared   1    one was not
    2    this job has no model to export    3    there is no such job
    4    the time is over: it goes on       5    the cluster refused
    """
    wish = wish_of(formats, step=step, best=best, to=to, tolerance=tolerance, opset=opset)

    async def body(connection: Connection) -> Code:
        made = await begun(connection, name, wish)
        session.terminal.message(escape(f"{made} makes them; follow it with: ganger logs -f {made}"))
        try:
            async with asyncio.timeout(timeout):
                code = await until(connection, made, "complete", session)
        except TimeoutError:
            fix = f"it goes on: 'ganger wait {made}', and 'ganger status {made}' tells what it waits for"
            raise Problem(f"{made} is not complete after {timeout} s", "", fix, code=Code.TIMEOUT) from None
        except asyncio.CancelledError:
            session.terminal.message(escape(f"{made} goes on; 'ganger delete {made}' ends it"))
            raise
        await _tell(session, connection, await jobs.job(connection, made), output)
        return code

    return session.with_cluster(target, body)


async def _tell(session: Session, connection: Connection, ended: TrainingJob, output: str) -> None:
    """Print what was made, and why the rest was not."""
    files, found = await files_of(session, connection, ended)
    if output == "json":
        session.terminal.data(printing.as_json(exports.as_values(files)))
    else:
        for line in exports.table(files) if files else ():
            session.terminal.data(escape(line))
    if found is not None:
        session.terminal.message(escape(f"  why: {found.cause}"))
        session.terminal.message(escape(f"  fix: {found.fix}"))
