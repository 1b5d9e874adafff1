"""`ganger request`: ask the workers of a running job to save a checkpoint now, or to show where they are."""

import asyncio
from datetime import UTC, datetime, timedelta

import click

from ganger.api.types import TrainingJob
from ganger.cli import arguments, figures, jobs
from ganger.cli.connection import Connection
from ganger.cli.live import one_job
from ganger.cli.problem import Code, Problem, doing
from ganger.cli.reporting import DEAF, LISTEN, is_deaf
from ganger.cli.sentence import sentence
from ganger.cli.session import Session, Target
from ganger.cli.terminal import escape
from ganger.contract import ANNOTATION_CHECKPOINT, ANNOTATION_STACKS
from ganger.kube.resources import TRAINING_JOBS
from ganger.plan.gang import attempt_of

ANNOTATIONS = {"checkpoint": ANNOTATION_CHECKPOINT, "stacks": ANNOTATION_STACKS}


@click.command()
@arguments.job_name
@click.argument("what", type=click.Choice(tuple(ANNOTATIONS)))
@click.option("--wait", "waits", is_flag=True, help="Wait until the checkpoint is committed.")
@click.option(
    "--timeout", type=arguments.Duration(), metavar="DURATION", help="Give up after, as in 10m. Default: never."
)
@arguments.on_cluster
@arguments.pass_session
def request(session: Session, target: Target, name: str, what: str, waits: bool, timeout: int | None) -> Code:
    """Ask a running job for a checkpoint now, or for the stacks of its processes.

    \b
    Examples:
      ganger request digits checkpoint --wait
      ganger request digits stacks

    \b
    checkpoint   a task saves at the next step that its workers agree on,
                 a script where it asks ganger_trainer.should_save()
    stacks       every worker writes into its log where its processes are
    """
    if waits and what != "checkpoint":
        raise click.UsageError("--wait waits for a checkpoint: stacks are in the log")
    if timeout is not None and not waits:
        raise click.UsageError("--timeout ends a --wait: add it")

    async def body(connection: Connection) -> Code:
        job, asked = await ask(connection, session, name, what, waits=waits)
        session.terminal.data(f"{name}: {what} requested")
        if not waits:
            session.terminal.message(_next(job, what))
            return Code.COMPLETE
        try:
            async with asyncio.timeout(timeout):
                done = await committed(connection, job, asked, session)
        except TimeoutError:
            raise Problem(
                f"job {name} has no new checkpoint after {timeout} s",
                "",
                f"'ganger status {name}' tells how it is; the request still stands",
                code=Code.TIMEOUT,
            ) from None
        point = done.status.checkpoint
        assert point is not None, "it was waited for"
        size = f", {figures.size(point.bytes)}" if point.bytes is not None else ""
        session.terminal.data(f"{name}: checkpoint of step {point.latest_step} committed{size}")
        return Code.COMPLETE

    return session.with_cluster(target, body)


async def ask(
    connection: Connection, session: Session, name: str, what: str, *, waits: bool = False
) -> tuple[TrainingJob, datetime]:
    """Ask the workers, and return the job as it was and the time of the request, by the server's clock.

    what: a key of ANNOTATIONS. waits: whether the answer will be waited for. Raises Problem where nobody would do it.
    """
    job = await jobs.job(connection, name)
    _refuse(job, what, session.now())
    if waits and job.spec.script is not None:
        why = "a script does not report its checkpoints"
        fix = f"leave --wait out; 'ganger logs -f {name}' shows what the script says of it"
        raise Problem("--wait would wait for ever", why, fix, code=Code.USAGE)
    await _refuse_the_deaf(connection, job)
    asked = _now(connection, session)
    patch = {"metadata": {"annotations": {ANNOTATIONS[what]: f"{asked:%Y-%m-%dT%H:%M:%SZ}"}}}
    with doing(f"asking job {name}"):
        await connection.cluster.patch(TRAINING_JOBS, connection.namespace, name, patch)
    return job, asked


def _now(connection: Connection, session: Session) -> datetime:
    """Return the time by the server's clock, which also wrote when the pods were created, in whole seconds."""
    offset = timedelta(seconds=connection.cluster.server_offset_seconds())
    return (session.now() + offset).astimezone(UTC).replace(microsecond=0)


def _refuse(job: TrainingJob, what: str, now: datetime) -> None:
    """Raise the problem of a job whose workers cannot do it."""
    name, spec = job.metadata.name, job.spec
    failed = f"job {name} cannot be asked for {'a checkpoint' if what == 'checkpoint' else 'stacks'}"
    if job.status.finished:
        raise Problem(failed, escape(sentence(job, now)), f"'ganger status {name}' tells how it ended", code=Code.USAGE)
    if spec.command is not None:
        fix = "use spec.task or spec.script"
        raise Problem(failed, "spec.command runs without the supervisor that would hear it", fix, code=Code.USAGE)
    if what == "checkpoint" and spec.task is not None and spec.checkpoint is None:
        fix = "set spec.checkpoint; it holds from the next run on"
        raise Problem(failed, "it keeps no checkpoints: spec.checkpoint is not set", fix, code=Code.USAGE)
    if not job.status.is_true("Running") or spec.suspend:
        fix = f"'ganger wait {name} --for running' waits until it is"
        raise Problem(failed, escape(sentence(job, now)), fix, code=Code.USAGE)


async def _refuse_the_deaf(connection: Connection, job: TrainingJob) -> None:
    """Raise the problem of workers that nobody can reach, where that can be seen."""
    try:
        pods = await jobs.pods(connection, job)
    except Problem:
        return  # who may change jobs may not always read pods
    if is_deaf(pod for pod in pods if attempt_of(pod) == job.status.attempt):
        raise Problem(f"job {job.metadata.name} cannot be asked for anything", DEAF, LISTEN, code=Code.USAGE)


def _next(job: TrainingJob, what: str) -> str:
    name = f"{job.metadata.name} -n {job.metadata.namespace}"
    if what == "checkpoint" and job.spec.script is not None:
        return f"the script saves where it asks ganger_trainer.should_save(); its log tells: ganger logs -f {name}"
    if what == "checkpoint":
        return f"worker 0 saves at the next agreed step; watch status.checkpoint.latestStep: ganger watch {name}"
    return f"every worker writes the stacks of its processes to its log: ganger logs -f {name}"


async def committed(connection: Connection, job: TrainingJob, asked: datetime, session: Session) -> TrainingJob:
    """Return the job once it has a checkpoint that is newer than the one before and than the request.

    Raises Problem where it stops before.
    """
    name = job.metadata.name
    before = job.status.checkpoint.latest_time if job.status.checkpoint is not None else None
    floor = asked if before is None else max(asked, before + timedelta(microseconds=1))
    async for now in one_job(connection, name, uid=job.metadata.uid):
        point = now.status.checkpoint
        if point is not None and point.latest_time is not None and point.latest_time >= floor:
            return now
        stopped = now.status.is_true("Suspended") and not now.status.ready_workers
        if now.status.finished or stopped or now.status.attempt != job.status.attempt:
            why = escape(sentence(now, session.now()))
            fix = f"'ganger status {name}' tells which checkpoint is the newest"
            raise Problem(f"job {name} stopped before it saved", why, fix)
    raise Problem(
        f"job {name} was deleted before it saved", "", "'ganger list' shows what is left", code=Code.NOT_FOUND
    )
