"""`ganger submit`: jobs to the cluster, checked here before and by the API server again."""

import asyncio
import dataclasses
from collections.abc import Sequence
from typing import Any

import click
import msgspec

from ganger.api.observed import Metadata
from ganger.api.types import TrainingJob
from ganger.cli import arguments, codemap, codeoptions, figures, jobs, manifests, printing, work
from ganger.cli.codeoptions import Asked
from ganger.cli.connection import Connection
from ganger.cli.follow import Follower
from ganger.cli.lines import Printer
from ganger.cli.live import one_job
from ganger.cli.manifests import Document, Mistake, Source
from ganger.cli.problem import Code, Problem, doing, from_api
from ganger.cli.render import placed
from ganger.cli.sentence import sentence
from ganger.cli.session import Session, Target
from ganger.cli.terminal import escape
from ganger.cli.wait import outcome
from ganger.cli.work import Work
from ganger.contract import PROFILE_KIND, SESSION_KIND
from ganger.kube.errors import AlreadyExists, ApiError, Invalid, NotFound
from ganger.kube.resources import TRAINING_JOBS

GONE_SECONDS = 60  # a job goes at once; only a finalizer of somebody else's could hold it


@click.command()
@manifests.files
@click.option("--watch", is_flag=True, help="Follow the job's logs; the exit code mirrors how it ends.")
@click.option(
    "--if-exists",
    type=click.Choice(("fail", "skip", "replace")),
    default="fail",
    show_default=True,
    help="What to do about a job of that name. replace deletes it; its checkpoints stay unless whenDeleted is Delete.",
)
@codeoptions.options
@click.option(
    "--dry-run",
    type=click.Choice(("client", "server")),
    help="Send nothing, print the job: as it would be sent, or as the API server would store it.",
)
@arguments.on_cluster
@arguments.pass_session
def submit(
    session: Session,
    target: Target,
    files: tuple[str, ...],
    options: tuple[str, ...],
    watch: bool,
    if_exists: str,
    asked: Asked,
    dry_run: str | None,
) -> Code:
    """Send a job to the cluster; --watch follows it.

    \b
    Examples:
      ganger submit -f job.yaml --watch
      ganger submit --from-notebook try.ipynb                  its cells, as a script
      ganger submit --from-notebook try.ipynb --function main -f job.yaml
      ganger submit --from-function train.py:main --arg lr=1e-3 -f job.yaml

    \b
    0    it is submitted; with --watch: complete    1    it failed (--watch)
    2    the manifest is wrong or the name taken    3    no operator or no namespace
    5    the cluster refused or is away             130  Ctrl-C: the job goes on
    """
    made: Work | None = None
    if (found := codeoptions.of(session, asked, (*files, *options), mounted=True)) is not None:
        documents, made = [found[0]], found[1]
    else:
        sources = [without_profiles(source) for source in manifests.read(files, options)]
        documents = manifests.jobs(session, sources, what="nothing was submitted")
    if watch and dry_run:
        raise click.UsageError("--watch follows a job, and --dry-run makes none: leave one out")
    if watch:
        manifests.one(documents, what="--watch")
    if dry_run == "client":
        return _print(session, _to_send(session, target, documents, made))

    async def body(connection: Connection) -> Code:
        rehearsed: list[dict[str, Any]] = []
        for document in documents:
            where = dataclasses.replace(connection, namespace=namespace_of(document, target, connection))
            if dry_run:
                rehearsed.append(await rehearse(where, document))
                continue
            async with codemap.carried(where, document, made) as (carrying, own):
                created = await send(session, where, carrying, if_exists)
                await own(created)
            if watch:
                return await _watch(session, where, document, created)
            if len(documents) > 1:
                session.terminal.message(escape(f"watch it with: ganger watch {created.name} -n {where.namespace}"))
                continue
            for line in next_commands(created.name, where.namespace):
                session.terminal.message(escape(line))
        return _print(session, rehearsed) if dry_run else Code.COMPLETE

    return session.with_cluster(target, body)


def next_commands(name: str, namespace: str) -> list[str]:
    """Return where the job is, and the commands that are useful now."""
    words = f"{name} -n {namespace}"
    commands = [
        (f"  ganger watch {words}", "live: progress, loss, workers"),
        (f"  ganger logs -f {words}", "every worker, through restarts"),
        (f"  ganger status {words}", "what it waits for, what to do about it"),
    ]
    return [f"in namespace {namespace}; next:", *figures.table((), commands)]


def _print(session: Session, manifests_: list[dict[str, Any]]) -> Code:
    session.terminal.data(printing.as_documents(manifests_))
    return Code.COMPLETE


def _named(document: Document, target: Target) -> str | None:
    """Return the namespace that the file or -n names. Raises Problem where they name two."""
    assert document.job is not None
    placed(document.job, target.namespace)
    return target.namespace or document.job.metadata.namespace or None


def _to_send(
    session: Session, target: Target, documents: Sequence[Document], made: Work | None
) -> list[dict[str, Any]]:
    """Return what would be sent. Of objects that kubectl makes nobody is the owner: it is told what stays."""
    objects: list[dict[str, Any]] = []
    for document in documents:
        namespace = _named(document, target)
        if made is not None:
            carried = work.config_map(document.name, made, namespace)
            objects.append(carried)
            text = f"applied by kubectl, ConfigMap {carried['metadata']['name']} stays when the job is deleted"
            session.terminal.message(escape(text))
        objects.append(as_sent(document, namespace))
    return objects


def as_sent(document: Document, namespace: str | None) -> dict[str, Any]:
    """Return the manifest as it is sent: as it was written, in its namespace."""
    manifest: dict[str, Any] = document.located.manifest
    return {**manifest, "metadata": manifest["metadata"] | ({"namespace": namespace} if namespace else {})}


async def rehearse(connection: Connection, document: Document) -> dict[str, Any]:
    """Return the job as the API server would store it. Raises Problem where it would refuse."""
    what = f"rehearsing {document.name} in namespace {connection.namespace}"
    try:
        body = await connection.cluster.rehearse(
            TRAINING_JOBS, connection.namespace, as_sent(document, connection.namespace)
        )
    except Invalid as error:
        raise _refused(error, document, what) from error
    except ApiError as error:
        raise from_api(error, what) from error
    return jobs.without_noise(body)


def without_profiles(source: Source) -> Source:
    """Return the source with a mistake for each profile and session in it: neither is made by the way."""
    found = tuple(
        Mistake(source.name, document.located.line("kind"), f"kind: apply the {kind} with kubectl, once")
        for document in source.documents
        for kind, there in ((PROFILE_KIND, document.profile), (SESSION_KIND, document.dev))
        if there is not None
    )
    return msgspec.structs.replace(source, mistakes=source.mistakes + found)


def namespace_of(document: Document, target: Target, connection: Connection) -> str:
    """Return where the job goes. Raises Problem where the file and -n name two namespaces."""
    return _named(document, target) or connection.namespace


async def send(session: Session, connection: Connection, document: Document, if_exists: str) -> Metadata:
    """Create the job, or do what if_exists says where there is one. Returns its metadata. Raises Problem."""
    what, word = f"submitting {document.name} to namespace {connection.namespace}", "submitted"
    try:
        created = await _create(connection, document, what)
    except AlreadyExists as error:
        if if_exists == "fail":
            raise from_api(error, what) from error
        present = await jobs.job(connection, document.name)
        if if_exists == "skip":
            session.terminal.data(escape(f"{document.name} is there already"))
            return present.metadata
        await remove(connection, present)
        with doing(what):
            created, word = await _create(connection, document, what), "replaced"
    session.terminal.data(escape(f"{created.name} {word}"))
    return created


async def _create(connection: Connection, document: Document, what: str) -> Metadata:
    """Create the job. Raises AlreadyExists, and Problem for everything else."""
    manifest = as_sent(document, connection.namespace)
    try:
        return await connection.cluster.create(TRAINING_JOBS, connection.namespace, manifest)
    except AlreadyExists:
        raise
    except Invalid as error:
        raise _refused(error, document, what) from error
    except ApiError as error:
        raise from_api(error, what) from error


def _refused(error: Invalid, document: Document, what: str) -> Problem:
    """Return the problem with the line of every field that the API server names: it knows rules of its own."""
    known = from_api(error, what)
    places = [f"{document.at(cause.field)}: {cause.field}: {cause.message}" for cause in error.causes if cause.field]
    return Problem(known.what, escape("; ".join(places)) or known.why, known.fix, code=known.code)


async def remove(connection: Connection, job: TrainingJob) -> None:
    """Delete this very job and return when it is gone."""
    name = job.metadata.name
    with doing(f"deleting {name}"):
        try:
            await connection.cluster.delete(TRAINING_JOBS, connection.namespace, name, uid=job.metadata.uid)
        except NotFound:
            return
    try:
        async with asyncio.timeout(GONE_SECONDS):
            async for _ in one_job(connection, name, uid=job.metadata.uid):
                pass
    except TimeoutError:
        fix = f"'kubectl get tj {name} -o yaml' shows its finalizers; run the command again when it is gone"
        raise Problem(
            f"job {name} was not replaced", f"the old one is not gone after {GONE_SECONDS} s", fix, code=Code.TIMEOUT
        ) from None


async def _watch(session: Session, connection: Connection, document: Document, created: Metadata) -> Code:
    assert document.job is not None
    printer = Printer(session.terminal, document.job.spec.workers)
    name, where = created.name, f"-n {connection.namespace}"
    try:
        ended = await Follower(session, connection, printer).follow(name, uid=created.uid)
    except asyncio.CancelledError:
        session.terminal.message(f"{name} goes on; follow it with: ganger logs -f {name} {where}")
        raise
    if ended is None:
        raise Problem(f"job {name} was deleted", "", "'ganger list' shows what is left", code=Code.NOT_FOUND)
    code = outcome(ended, "complete")
    assert code is not None, "only a job that is over ends the following"
    colour = "green" if code == Code.COMPLETE else "red"
    session.terminal.message(escape(sentence(ended, session.now())), colour, "bold")
    if code != Code.COMPLETE:
        session.terminal.message(f"more with: ganger status {name} {where}")
    return code
