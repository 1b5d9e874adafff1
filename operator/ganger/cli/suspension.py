"""`ganger suspend` and `ganger resume`: one field of the job, spec.suspend."""

import click

from ganger.api.types import TrainingJob
from ganger.cli import arguments, jobs
from ganger.cli.connection import Connection
from ganger.cli.problem import Code, Problem, doing
from ganger.cli.session import Session, Target
from ganger.contract import LABEL_QUEUE
from ganger.kube.resources import TRAINING_JOBS


@click.command()
@arguments.job_name
@arguments.on_cluster
@arguments.pass_session
def suspend(session: Session, target: Target, name: str) -> Code:
    """Stop a job after a checkpoint; its GPUs become free.

    \b
    Examples:
      ganger suspend digits
    """
    return _set(session, target, name, suspended=True)


@click.command()
@arguments.job_name
@arguments.on_cluster
@arguments.pass_session
def resume(session: Session, target: Target, name: str) -> Code:
    """Let a suspended job go on from its checkpoint.

    \b
    Examples:
      ganger resume digits
    """
    return _set(session, target, name, suspended=False)


async def change(connection: Connection, name: str, *, suspended: bool) -> tuple[TrainingJob, bool]:
    """Set spec.suspend. Returns the job as it was, and whether anything had to change.

    Raises Problem where the job is over: that is final.
    """
    job = await jobs.job(connection, name)
    verb = "suspended" if suspended else "resumed"
    if job.status.finished:
        word = "complete" if job.status.is_true("Complete") else "failed"
        raise Problem(
            f"job {name} cannot be {verb}",
            f"it is {word}, and that is final",
            f"'ganger retry {name}' goes on from its checkpoints in a new job",
            code=Code.USAGE,
        )
    if job.spec.suspend == suspended:
        return job, False
    with doing(f"{'suspending' if suspended else 'resuming'} job {name}"):
        await connection.cluster.patch(TRAINING_JOBS, connection.namespace, name, {"spec": {"suspend": suspended}})
    return job, True


def _set(session: Session, target: Target, name: str, *, suspended: bool) -> Code:
    async def body(connection: Connection) -> None:
        verb = "suspended" if suspended else "resumed"
        job, changed = await change(connection, name, suspended=suspended)
        if not changed:
            session.terminal.data(f"{name} is {verb} already")
            return
        session.terminal.data(f"{name} {verb}")
        where = f" -n {connection.namespace}"
        if suspended:
            kept = "it keeps no checkpoints (spec.checkpoint is not set), so it will start at step 0"
            if job.spec.checkpoint is not None:
                point = job.status.checkpoint
                newest = point.latest_step if point is not None else None
                told = f" (the newest so far is of step {newest})" if newest is not None else ""
                kept = f"it saves a checkpoint{told} and stops"
            session.terminal.message(f"{kept}; go on with: ganger resume {name}{where}")
        elif LABEL_QUEUE in job.metadata.labels:
            session.terminal.message("its queue decides when it starts and may suspend it again")
        else:
            session.terminal.message(f"follow it with: ganger logs -f {name}{where}")

    session.with_cluster(target, body)
    return Code.COMPLETE
