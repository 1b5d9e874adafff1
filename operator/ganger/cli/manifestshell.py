"""A shell with the image and mounts of a job that is only a manifest: a pod of one's own, gone with the shell."""

import asyncio
import contextlib
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import replace

import msgspec

from ganger.api.defaults import fill
from ganger.api.observed import Pod
from ganger.api.profile import TrainingProfile
from ganger.api.types import TrainingJob, profiled
from ganger.cli import jobs, manifests, profiles, report
from ganger.cli.attaching import attached
from ganger.cli.connection import Connection
from ganger.cli.live import live
from ganger.cli.manifests import Document
from ganger.cli.problem import Code, Problem, doing
from ganger.cli.render import IMAGE, placed
from ganger.cli.session import Session
from ganger.cli.terminal import escape
from ganger.contract import CONTAINER
from ganger.kube.errors import ApiError, Forbidden, NotFound
from ganger.kube.resources import PODS, TRAINING_PROFILES
from ganger.plan import names, profile, shellpod

LIFE_SECONDS = 12 * 3600  # of a pod whose owner has vanished
HOME = "ganger-system"  # the operator's namespace, where it is installed as its chart says
_NAME_CHARACTERS_MAX = 40


def read(session: Session, file: str) -> Document:
    """Return the one job of the file, with its profile where that stands beside it. Raises Problem."""
    if file == manifests.STDIN:
        raise Problem("-f - is not possible here", "standard input is the shell's", "name a file", code=Code.USAGE)
    sources = profiles.resolved((file,), (), (), needed=False)
    return manifests.one(manifests.jobs(session, sources, what="no shell was opened"), what="a shell")


async def opened(
    session: Session,
    connection: Connection,
    document: Document,
    namespace: str | None,
    image: str,
    command: Sequence[str],
) -> int:
    """Make the pod, run the command in it and return its exit code. The pod goes, whatever happens. Raises Problem.

    namespace: that of the command line; the manifest may name one too.
    """
    assert document.job is not None
    where = namespace or document.job.metadata.namespace or connection.namespace
    connection = replace(connection, namespace=where)
    job = await _whole(connection, placed(document.job, where, uid=str(uuid.uuid4())))
    if image:
        job = msgspec.structs.replace(job, spec=msgspec.structs.replace(job.spec, image=image))
    job = fill(job, IMAGE)
    has_checkpoints = await _has_checkpoints(session, connection, job)
    name = f"{job.metadata.name[:_NAME_CHARACTERS_MAX].rstrip('-')}-shell-{secrets.token_hex(3)}"
    manifest = shellpod.pod(job, name, seconds=LIFE_SECONDS, has_checkpoints=has_checkpoints, fetcher=IMAGE)
    with doing(f"making pod {name} in namespace {where}"):
        made = await connection.cluster.create(PODS, where, manifest)
    session.terminal.message(escape(f"pod {name} in namespace {where}, of {job.spec.image}; it goes with the shell"))
    try:
        await _running(session, connection, name)
        return await attached(connection, name, CONTAINER, command)
    finally:
        with contextlib.suppress(ApiError):
            # Shielded: Ctrl-C ends the shell, and the pod with it.
            await asyncio.shield(
                asyncio.ensure_future(connection.cluster.delete(PODS, where, name, uid=made.uid, grace_seconds=1))
            )


async def _whole(connection: Connection, job: TrainingJob) -> TrainingJob:
    """Return the job with the values of its profile: that of the file, else of the cluster. Raises Problem."""
    if not profiles.is_missing(job):
        return job
    what = f"no shell for {job.metadata.name} was opened"
    found = None
    for namespace in dict.fromkeys((connection.namespace, HOME)):
        found = found or await _profile(connection, namespace, job.spec.profile or "")
    reading = profile.read(job, found, HOME)
    if reading.taken is not None:
        return profiled(job, reading.taken)
    if found is None:
        why = f"profile {job.spec.profile} is neither in namespace {connection.namespace} nor in {HOME}"
        fix = "'kubectl get tprof -A' lists them; or put it beside the job in the file"
        raise Problem(what, escape(why), fix, code=Code.NOT_FOUND)
    assert reading.obstacle is not None
    raise Problem(what, escape(reading.obstacle[1]), "correct the job or the profile", code=Code.USAGE)


async def _profile(connection: Connection, namespace: str, name: str) -> TrainingProfile | None:
    with doing(f"reading profile {name} in namespace {namespace}"):
        try:
            return jobs.typed(await connection.cluster.get(TRAINING_PROFILES, namespace, name), TrainingProfile)
        except NotFound:
            return None
        except Forbidden:
            if namespace == connection.namespace:
                raise
            return None  # the namespace of the operator is not everybody's to read


async def _has_checkpoints(session: Session, connection: Connection, job: TrainingJob) -> bool:
    """Whether the claim of the checkpoints is there. Raises Problem where it is one that the job does not make."""
    if job.spec.checkpoint is None:
        return False
    brought = job.spec.checkpoint.volume.claim_name
    claim = brought or names.claim(job.metadata.name)
    if await jobs.claim(connection, claim) is not None:
        return True
    if brought is not None:
        fix = f"'kubectl get pvc -n {connection.namespace}' lists the claims that there are"
        raise Problem(
            f"no shell for {job.metadata.name} was opened", f"there is no claim {brought}", fix, code=Code.NOT_FOUND
        )
    session.terminal.message(f"there are no checkpoints yet (claim {claim}): an empty folder is in their place")
    return False


async def _running(session: Session, connection: Connection, name: str) -> None:
    """Return when the container runs, telling what the pod waits for. Raises Problem where it ends instead."""
    told = ""
    with doing(f"watching pod {name}"):
        async for found in live(connection, PODS, jobs.reader(Pod), field_selector=f"metadata.name={name}"):
            pod = found.get(name)
            if pod is None or pod.status.phase in ("Failed", "Succeeded"):
                why = "it is gone" if pod is None else f"{report.state(pod)} {escape(pod.status.message)}".strip()
                fix = "the image needs sleep and a shell; 'ganger validate' and 'ganger render' show what was asked for"
                raise Problem(f"pod {name} did not start", why, fix)
            if any(one.state.running is not None for one in pod.status.container_statuses if one.name == CONTAINER):
                return
            if (state := report.state(pod)) != told:
                told = state
                text = f"{name}: {state} ('kubectl describe pod {name} -n {connection.namespace}' tells more)"
                session.terminal.message(text, "dim")
