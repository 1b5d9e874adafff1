"""`ganger delete`: a job and its pods; the checkpoints stay where the manifest says so."""

import sys

import click

from ganger.api.types import TrainingJob
from ganger.cli import arguments, jobs
from ganger.cli.connection import Connection
from ganger.cli.problem import Code, Problem, doing
from ganger.cli.session import Session, Target
from ganger.kube.resources import TRAINING_JOBS
from ganger.plan import names


def remains(job: TrainingJob) -> str:
    """Return what happens to the checkpoints when the job is deleted."""
    checkpoint = job.spec.checkpoint
    if checkpoint is None:
        return "it keeps no checkpoints: nothing stays"
    if checkpoint.volume.claim_name is not None:
        return f"claim {checkpoint.volume.claim_name} and the checkpoints in it stay"
    claim = names.claim(job.metadata.name)
    if checkpoint.volume.when_deleted == "Delete":
        return f"claim {claim} goes too, with every checkpoint (whenDeleted: Delete)"
    return f"claim {claim} and its checkpoints stay; a job of the same name goes on from them"


@click.command()
@arguments.job_name
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@arguments.on_cluster
@arguments.pass_session
def delete(session: Session, target: Target, name: str, yes: bool) -> Code:
    """Delete a job and say what stays.

    \b
    Examples:
      ganger delete digits
      ganger delete digits --yes
    """
    job = session.with_cluster(target, lambda connection: jobs.job(connection, name))
    if not yes:
        _ask(session, job)

    async def body(connection: Connection) -> None:
        # By UID: between the question and the answer another job may have taken the name.
        with doing(f"deleting job {name}"):
            await connection.cluster.delete(TRAINING_JOBS, connection.namespace, name, uid=job.metadata.uid)

    session.with_cluster(target, body)
    session.terminal.data(f"{name} deleted")
    session.terminal.message(remains(job))
    return Code.COMPLETE


def _ask(session: Session, job: TrainingJob) -> None:
    if not sys.stdin.isatty():
        raise Problem(
            f"job {job.metadata.name} was not deleted",
            "deleting asks first, and there is no terminal to answer from",
            "add --yes",
            code=Code.USAGE,
        )
    state = (job.status.phase or "Pending").lower()
    question = f"Delete job {job.metadata.name} in namespace {job.metadata.namespace} ({state}; {remains(job)})?"
    if not click.confirm(question, default=False, err=True):
        raise Problem("nothing was deleted", code=Code.FAILED)
