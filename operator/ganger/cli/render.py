"""`ganger render`: every object that the operator would create for a job, by the operator's own builders."""

from typing import Any

import click
import msgspec

from ganger.api.defaults import fill
from ganger.api.types import TrainingJob
from ganger.cli import arguments, manifests, printing, profiles
from ganger.cli.problem import Code, Problem
from ganger.cli.session import Session
from ganger.plan import pods

IMAGE = "pytorch-cuda:v2.15"  # as the operator has it by default
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
    """Print every object that the operator would create for a job.

    The same builders serve the operator. Only the UID of the job is not known before the cluster gives one.
    """
    documents = manifests.jobs(session, profiles.resolved(files, options, profile_files), what="nothing was rendered")
    objects: list[dict[str, Any]] = []
    for document in documents:
        assert document.job is not None
        objects += pods.objects(fill(placed(document.job, namespace), image), attempt)
    session.terminal.data(
        printing.as_json(printing.listed(objects)) if output == "json" else printing.as_documents(objects)
    )
    return Code.COMPLETE


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
