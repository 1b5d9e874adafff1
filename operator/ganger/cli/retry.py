"""`ganger retry`: a failed job anew, under its name and from its newest checkpoint."""

from typing import Any

import click
import msgspec

from ganger.api.types import TrainingJob
from ganger.cli import arguments, jobs, printing, submit
from ganger.cli.connection import Connection
from ganger.cli.problem import Code, Problem, doing
from ganger.cli.session import Session, Target
from ganger.cli.status import claim_of
from ganger.cli.terminal import escape
from ganger.contract import API_GROUP, API_VERSION, KIND
from ganger.kube.resources import TRAINING_JOBS

# What others write onto a job, or onto this very one: an apply's memory, requests to its workers, a queue's notes.
_NOT_OURS = ("kubectl.kubernetes.io/", f"{API_GROUP}/", "kueue.x-k8s.io/")


@click.command()
@arguments.job_name
@arguments.on_cluster
@arguments.pass_session
def retry(session: Session, target: Target, name: str) -> Code:
    """Start a failed job anew, from its newest checkpoint.

    \b
    Examples:
      ganger retry digits

    Failed is final, so the job is deleted and made again under its name, as it is stored: spec, labels and annotations.
    The API server is asked first whether it would take it. The new one counts its restarts from 0.
    """

    async def body(connection: Connection) -> list[str]:
        job = await again(connection, session, name)
        session.terminal.data(f"{name} retried")
        session.terminal.message(escape(goes_on(job)))
        return submit.next_commands(name, connection.namespace)

    for line in session.with_cluster(target, body):
        session.terminal.message(escape(line))
    return Code.COMPLETE


async def again(connection: Connection, session: Session, name: str) -> TrainingJob:
    """Make the job anew and return the failed one. Raises Problem where it has not failed or is refused.

    The manifest of a job that is refused after its predecessor was deleted is written to the terminal.
    """
    job = await jobs.job(connection, name)
    _refuse(job)
    stored: dict[str, Any] = msgspec.json.decode(await jobs.read(connection, name))
    manifest = anew(stored)
    unnamed = {key: value for key, value in manifest["metadata"].items() if key != "name"}
    with doing(f"retrying job {name}"):
        rehearsal = {**manifest, "metadata": unnamed | {"generateName": f"{name}-"}}
        await connection.cluster.rehearse(TRAINING_JOBS, connection.namespace, rehearsal)
    await submit.remove(connection, job)
    try:
        with doing(f"retrying job {name}"):
            await connection.cluster.create(TRAINING_JOBS, connection.namespace, manifest)
    except Problem as problem:
        session.terminal.data(printing.as_yaml(manifest))
        fix = "the manifest of the job, which is deleted, is on stdout: submit it when the trouble is over"
        raise Problem(problem.what, problem.why, fix, code=problem.code) from problem
    return job


def anew(stored: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest of a stored job as its user would write it again. Pure."""
    old = stored["metadata"]
    kept = {key: value for key, value in (old.get("annotations") or {}).items() if not key.startswith(_NOT_OURS)}
    metadata = {"name": old["name"], "namespace": old["namespace"]}
    metadata |= {"labels": old["labels"]} if old.get("labels") else {}
    metadata |= {"annotations": kept} if kept else {}
    spec = {**stored["spec"], "suspend": False}
    return {"apiVersion": f"{API_GROUP}/{API_VERSION}", "kind": KIND, "metadata": metadata, "spec": spec}


def goes_on(job: TrainingJob) -> str:
    """Return where the new job begins. Pure."""
    checkpoint, point = job.spec.checkpoint, job.status.checkpoint
    if checkpoint is None or checkpoint.resume == "Never":
        return (
            "it begins at step 0: it keeps no checkpoints"
            if checkpoint is None
            else "it begins at step 0: resume Never"
        )
    if job.spec.task is None:
        return f"it finds in claim {claim_of(job)} what the failed one has saved"
    if point is None or point.latest_step is None:
        return f"it begins at step 0, unless claim {claim_of(job)} has a checkpoint that was not told of"
    return f"it goes on from step {point.latest_step} of claim {claim_of(job)}"


def _refuse(job: TrainingJob) -> None:
    name, status, checkpoint = job.metadata.name, job.status, job.spec.checkpoint
    what = f"job {name} was not retried"
    if not status.is_true("Failed"):
        why = (
            "it is complete" if status.is_true("Complete") else "it has not failed: its operator restarts it by itself"
        )
        fix = f"'ganger status {name}' tells how it is"
        raise Problem(what, why, fix, code=Code.USAGE)
    if checkpoint is not None and checkpoint.volume.claim_name is None and checkpoint.volume.when_deleted == "Delete":
        why = f"claim {claim_of(job)} and its checkpoints would go with the failed job (whenDeleted: Delete)"
        fix = "to begin at step 0: 'ganger delete', then 'ganger submit'"
        raise Problem(what, why, fix, code=Code.USAGE)
