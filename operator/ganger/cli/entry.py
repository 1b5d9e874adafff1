"""A way to the files of a job: a worker that runs, else a pod of one's own with the job's image and volumes."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from ganger.api.defaults import fill
from ganger.api.observed import Pod
from ganger.api.types import TrainingJob
from ganger.cli import jobs
from ganger.cli.connection import Connection
from ganger.cli.live import live
from ganger.cli.problem import Code, Problem, doing, from_api
from ganger.cli.render import IMAGE
from ganger.cli.report import state
from ganger.cli.session import Session
from ganger.cli.terminal import escape
from ganger.contract import CONTAINER
from ganger.kube.errors import ApiError, ServerError, Unreachable
from ganger.kube.resources import PODS
from ganger.plan.gang import attempt_of, worker_of
from ganger.plan.reader import reader

if TYPE_CHECKING:
    from ganger.kube.exec import Process

START_SECONDS = 180  # the image may have to be pulled
ERROR_CHARACTERS_MAX = 2000


@asynccontextmanager
async def entered(
    connection: Connection, session: Session, job: TrainingJob, *, worker: int | None, writes: bool
) -> AsyncIterator[str]:
    """Yield the name of a pod whose trainer container runs and has the job's files. Raises Problem.

    worker: that of this worker, None for any; where none runs, a pod of one's own, deleted afterwards.
    """
    pods = await jobs.pods(connection, job)
    running = [one for one in pods if attempt_of(one) == job.status.attempt and _runs(one)]
    for pod in sorted(running, key=worker_of):
        if worker in (None, worker_of(pod)):
            yield pod.metadata.name
            return
    if worker is not None:
        fix = "leave --worker out: a pod of its own then shows the files in the volumes of the job"
        raise Problem(f"worker {worker} of job {job.metadata.name} does not run", "", fix, code=Code.REFUSED)
    image = job.spec.image or await _image(connection, job) or IMAGE
    manifest = reader(fill(job, image), f"{job.metadata.name}-files-{secrets.token_hex(3)}", writes=writes)
    name = manifest["metadata"]["name"]
    session.terminal.message(f"no worker runs: pod {name} shows the volumes of the job")
    with doing(f"making pod {name}"):
        made = await connection.cluster.create(PODS, connection.namespace, manifest)
    try:
        await _started(connection, name)
        yield name
    finally:
        with suppress(ApiError):
            await connection.cluster.delete(PODS, connection.namespace, name, uid=made.uid, grace_seconds=1)


async def command(
    connection: Connection,
    pod: str,
    words: list[str],
    *,
    take: Callable[[bytes], Awaitable[None]],
    feed: AsyncIterator[bytes] | None = None,
) -> None:
    """Run a command in the pod's trainer container; take: is given its output. feed: its input.

    Raises Problem where it cannot be started or ends with an error, with what it said of it.
    """
    from ganger.kube import exec as kube_exec

    said = b""
    try:
        async with kube_exec.run(
            connection.streams, connection.namespace, pod, CONTAINER, words, tty=False, stdin=feed is not None
        ) as process:
            feeding = asyncio.create_task(_feed(process, feed)) if feed is not None else None
            try:
                async for channel, data in process.output():
                    if channel == kube_exec.STDERR:
                        said = (said + data)[-ERROR_CHARACTERS_MAX:]
                    else:
                        await take(data)
            finally:
                if feeding is not None:
                    feeding.cancel()
                    await asyncio.gather(feeding, return_exceptions=True)
    except Unreachable as error:
        why = f"the connection to the container was cut ({escape(error.message)})"
        raise Problem(f"the way into {pod} is lost", why, "run the command again", code=Code.REFUSED) from error
    except ServerError as error:
        fix = f"the image of the job needs {words[0]} for this"
        raise Problem(f"{words[0]} was not started in {pod}", escape(error.message), fix) from error
    except ApiError as error:
        raise from_api(error, f"entering {pod}") from error
    if process.exit_code:
        text = escape(" ".join(said.decode(errors="replace").split()))
        missing = "No such file" in text
        code = Code.NOT_FOUND if missing else Code.FAILED
        fix = "a path that does not begin with / is looked for where the job keeps its checkpoints" if missing else ""
        raise Problem(f"{words[0]} in {pod} ended with {process.exit_code}", text, fix, code=code)


async def _feed(process: "Process", feed: AsyncIterator[bytes]) -> None:
    with suppress(Unreachable):  # the command has ended; what it said tells why
        async for data in feed:
            await process.write(data)
        await process.end_input()


def _runs(pod: Pod) -> bool:
    states = [one.state for one in pod.status.container_statuses if one.name == CONTAINER]
    return any(one.running is not None for one in states) and pod.metadata.deletion_timestamp is None


async def _image(connection: Connection, job: TrainingJob) -> str:
    """Return the image of a pod that is left of the job, "" where there is none: the operator has filled it in."""
    found, _ = await jobs.items(
        connection, PODS, connection.namespace, label_selector=f"ganger.dev/job-uid={job.metadata.uid}"
    )
    for one in found:
        spec = msgspec.json.decode(one).get("spec") or {}
        for container in spec.get("containers") or ():
            if container.get("name") == CONTAINER:
                return str(container.get("image") or "")
    return ""


async def _started(connection: Connection, name: str) -> None:
    """Return when the container of the pod runs. Raises Problem where it does not."""
    what, doing_now = f"pod {name} did not start", "Pending"
    try:
        async with asyncio.timeout(START_SECONDS):
            with doing(f"watching pod {name}"):
                selector = f"metadata.name={name}"
                async for pods in live(connection, PODS, jobs.reader(Pod), field_selector=selector):
                    pod = pods.get(name)
                    if pod is None or pod.status.phase in ("Failed", "Succeeded"):
                        raise Problem(what, "it is gone" if pod is None else state(pod), "run the command again")
                    if _runs(pod):
                        return
                    doing_now = state(pod)
    except TimeoutError:
        fix = f"'kubectl describe pod {name}' while it waits; a ReadWriteOnce volume may be bound to another node"
        raise Problem(what, f"{doing_now} after {START_SECONDS} s", fix, code=Code.TIMEOUT) from None
