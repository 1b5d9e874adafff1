"""`ganger render`: every object that the operator would create for a job, by the operator's own builders."""

from collections.abc import Sequence
from typing import Any

import click
import msgspec

from ganger.api.defaults import fill
from ganger.api.session import DevSession
from ganger.api.types import TrainingJob
from ganger.cli import arguments, manifests, printing, profiles
from ganger.cli.problem import Code, Problem
from ganger.cli.session import Session
from ganger.plan import exportpod, sessionpod
from ganger.plan.site import Site

IMAGE = "pytorch-cuda:v2.15"  # as the operator has it by default
SESSION_IMAGE = "pytorch-cuda-dev:v2.15"
TOKEN = "drawn-by-the-operator"  # noqa: S105 - there is none before the operator makes it
# The cluster gives the real one; what refers to it is told from a mistake by being plainly none.
UID = "00000000-0000-0000-0000-000000000000"


@click.command()
@manifests.files
@click.option("-n", "--namespace", type=arguments.ObjectName(), metavar="NAME", help="Namespace. Default: default.")
@click.option("--attempt", type=click.IntRange(min=0), default=0, help="Pods of which attempt. Default: the first.")
@click.option("--image", default=IMAGE, show_default=True, help="Image where the manifest names none.")
@profiles.option
@click.option("-o", "--output", type=click.Choice(("yaml", "json")), default="yaml", show_default=True, help="Format.")
@arguments.common
@arguments.pass_session
def render(
    session: Session,
    files: tuple[str, ...],
    options: tuple[str, ...],
    namespace: str | None,
    attempt: int,
    image: str,
    profile_files: tuple[str, ...],
    output: str,
) -> Code:
    """Print every object that the operator would create for a job or a session.

    \b
    Examples:
      ganger render job.yaml
      ganger render job.yaml -n team -o json

    The same builders serve the operator. Only the UID is not known before the cluster gives one, nor the token of a
    session. The job that a session forks belongs beside it.
    """
    sources = profiles.resolved(files, options, profile_files)
    devs = [document for source in sources for document in source.documents if document.dev is not None]
    documents = manifests.jobs(session, sources, what="nothing was rendered", needed=not devs)
    objects: list[dict[str, Any]] = []
    jobs = [placed(document.job, namespace) for document in documents if document.job is not None]
    for job in jobs:
        objects += exportpod.objects(fill(job, image), attempt, Site(image=image))
    for document in devs:
        assert document.dev is not None
        objects += of_session(document.dev, jobs, namespace)
    session.terminal.data(
        printing.as_json(printing.listed(objects)) if output == "json" else printing.as_documents(objects)
    )
    return Code.COMPLETE


def of_session(dev: DevSession, jobs: Sequence[TrainingJob], namespace: str | None) -> list[dict[str, Any]]:
    """Return the objects of a session. Raises Problem where the job that it forks is not among these."""
    metadata = dev.metadata
    where = namespace or metadata.namespace or "default"
    name = metadata.name or "generated"
    metadata = msgspec.structs.replace(metadata, name=name, namespace=where, uid=UID)
    dev = msgspec.structs.replace(dev, metadata=metadata)
    forked = next((job for job in jobs if job.key == (where, dev.spec.from_job)), None)
    if dev.spec.from_job is not None and forked is None:
        raise Problem(
            f"session {name} cannot be rendered",
            f"it forks job {dev.spec.from_job}, which is in none of the files",
            "name the file of the job as well",
            code=Code.USAGE,
        )
    secret = sessionpod.secret(dev, TOKEN) if dev.spec.jupyter else None
    made = (secret, sessionpod.claim(dev), sessionpod.pod(dev, forked, SESSION_IMAGE))
    return [each for each in made if each is not None]


def placed(job: TrainingJob, namespace: str | None, *, uid: str = UID) -> TrainingJob:
    """Return the job as it would be in the cluster: in a namespace, with a UID. Raises Problem for two namespaces."""
    metadata = job.metadata
    if namespace is not None and metadata.namespace not in ("", namespace):
        raise Problem(
            f"job {metadata.name} belongs to namespace {metadata.namespace}",
            f"the manifest says so, and -n says {namespace}",
            "remove one of the two",
            code=Code.USAGE,
        )
    name = metadata.name or "generated"  # where the manifest leaves it to the API server (generateName)
    where = namespace or metadata.namespace or "default"
    return msgspec.structs.replace(job, metadata=msgspec.structs.replace(metadata, name=name, namespace=where, uid=uid))
