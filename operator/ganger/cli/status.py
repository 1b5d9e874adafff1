"""`ganger status`: how a job is, what it waits for and what to do."""

import click

from ganger.api.types import TrainingJob
from ganger.cli import arguments, jobs, printing, report
from ganger.cli.connection import Connection
from ganger.cli.problem import Code
from ganger.cli.seen import CORE_EVENTS, Event, Seen
from ganger.cli.session import Session, Target
from ganger.kube.errors import ApiError
from ganger.plan import names
from ganger.plan.gang import attempt_of, worker_of

PODS_ASKED_MAX = 3  # their troubles are nearly always the same one


@click.command()
@arguments.job_name
@arguments.output
@arguments.on_cluster
@arguments.pass_session
def status(session: Session, target: Target, name: str, output: str) -> Code:
    """Tell how a job is, what it waits for and what to do.

    \b
    Examples:
      ganger status digits
      ganger status digits -o json
    """
    if output in ("table", "wide"):
        seen = session.with_cluster(target, lambda connection: look(connection, name, session))
        lines = report.page(seen)
        session.terminal.data(session.terminal.paint(lines[0], "bold"))
        for line in lines[1:]:
            session.terminal.data(line)
        return Code.COMPLETE
    body = session.with_cluster(target, lambda connection: jobs.read(connection, name))
    if output == "name":
        session.terminal.data(printing.as_name(jobs.metadata_of(body).name))
    else:
        manifest = jobs.without_noise(body)
        session.terminal.data(printing.as_json(manifest) if output == "json" else printing.as_yaml(manifest))
    return Code.COMPLETE


async def look(connection: Connection, name: str, session: Session) -> Seen:
    """Return what is to be seen of a job. Raises Problem where there is none or it may not be read."""
    job = await jobs.job(connection, name)
    pods = await jobs.pods(connection, job)
    claim_name = claim_of(job)
    claim = await jobs.claim(connection, claim_name) if claim_name else None
    present = sorted((pod for pod in pods if attempt_of(pod) == job.status.attempt), key=worker_of)
    troubled = [pod.metadata.name for pod in present if pod.status.phase not in ("Running", "Succeeded")]
    events: list[Event] = []
    for about in (("TrainingJob", name), *(("Pod", pod) for pod in troubled[:PODS_ASKED_MAX])):
        events += await _events(connection, *about)
    return Seen(job=job, pods=tuple(pods), events=tuple(events), claim=claim, claim_name=claim_name, now=session.now())


async def _events(connection: Connection, kind: str, name: str) -> list[Event]:
    selector = f"involvedObject.kind={kind},involvedObject.name={name}"
    try:
        found, _ = await jobs.items(connection, CORE_EVENTS, connection.namespace, field_selector=selector)
    except ApiError:
        return []  # who may read jobs may not always read events, and the page is worth reading without them
    return [jobs.typed(item, Event) for item in found]


def claim_of(job: TrainingJob) -> str:
    """Return the name of the claim that holds the job's checkpoints, or ""."""
    if job.spec.checkpoint is None:
        return ""
    return job.spec.checkpoint.volume.claim_name or names.claim(job.metadata.name)
