"""`Client`: one way to a cluster, and the verbs of `ganger` as calls that return typed values."""

import builtins
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from ganger.api.defaults import fill
from ganger.api.status import Artifact, CheckpointStatus, TrainingJobStatus
from ganger.api.types import TrainingJob, decode
from ganger.cli import codemap, cp, jobs, report, request, retry, setting, status, submit, suspension, wait
from ganger.cli import metrics as figures
from ganger.cli.connection import Connection
from ganger.cli.live import one_job
from ganger.cli.manifests import Document
from ganger.cli.podlog import Range
from ganger.cli.problem import Code, Problem, doing
from ganger.cli.render import IMAGE, placed
from ganger.cli.sentence import sentence
from ganger.cli.work import Work
from ganger.client import exporting, following, functions, given
from ganger.client.following import LogLine
from ganger.client.given import Manifest
from ganger.client.link import Link, target, within
from ganger.client.sessions import Sessions
from ganger.contract import EXPORT_TOLERANCE
from ganger.kube.resources import TRAINING_JOBS
from ganger.plan import exportpod
from ganger.plan.site import Site


class Client:
    """A cluster, opened at the first call that needs it. Calls raise `Problem`, which says what, why and what to do.

    namespace, context, kubeconfig, act_as, act_as_groups: as the options of `ganger`; without them a pod asks with its
    service account, and everybody else with the kubeconfig. request_seconds: how long one request may take.
    Use it as a context, or call `close`. Calls may come from several threads.
    """

    def __init__(
        self,
        *,
        namespace: str | None = None,
        context: str | None = None,
        kubeconfig: str | os.PathLike[str] | None = None,
        act_as: str | None = None,
        act_as_groups: tuple[str, ...] = (),
        request_seconds: int | None = None,
    ) -> None:
        self._link = Link(target(namespace, context, kubeconfig, act_as, act_as_groups, request_seconds))
        self.sessions = Sessions(self._link)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; iterators that still wait end with an error."""
        self._link.close()

    @property
    def namespace(self) -> str:
        """The namespace that calls are about: the one that was named, else that of the context or of the pod."""
        return self._link.namespace

    # --- without a cluster -------------------------------------------------------------------------------------------
    @staticmethod
    def validate(manifest: Manifest, *profiles: str | os.PathLike[str]) -> TrainingJob:
        """Return the job of a manifest: a path, a dictionary or a job. Raises Problem with every mistake and its line.

        profiles: files with the TrainingProfile that it names.
        """
        found = given.document(manifest, *profiles, needed=False).job
        assert found is not None, "a document without mistakes has a job"
        return found

    @staticmethod
    def render(
        manifest: Manifest, *profiles: str | os.PathLike[str], namespace: str | None = None, attempt: int = 0
    ) -> builtins.list[dict[str, Any]]:
        """Return every object that the operator would create for the job, by the operator's own builders."""
        found = given.document(manifest, *profiles, needed=True).job
        assert found is not None, "a document without mistakes has a job"
        return exportpod.objects(fill(placed(found, namespace), IMAGE), attempt, Site(image=IMAGE))

    # --- one job -----------------------------------------------------------------------------------------------------
    def submit(self, manifest: Manifest, *, if_exists: Literal["fail", "skip", "replace"] = "fail") -> TrainingJob:
        """Create the job and return it as it is stored. if_exists: what to do about a job of that name."""
        return self._sent(given.document(manifest, needed=False, alone=True), None, if_exists)

    def submit_function(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, Any] | None = None,
        *,
        manifest: Manifest | None = None,
        name: str | None = None,
        if_exists: Literal["fail", "skip", "replace"] = "fail",
    ) -> TrainingJob:
        """Create a job that calls a function of a file, and return it as it is stored.

        The file goes along, as with `ganger submit --from-function`: not what stands beside it, and nothing that the
        function holds. arguments: by name, as JSON has values; they are spec.config of the job. manifest: what says the
        rest of the job. name: of the job, else that of the manifest or the function. Raises Problem for a lambda, a
        function inside of another one, a method, and what a file has that a job has not.
        """
        document, made = functions.document(function, arguments or {}, manifest, name)
        return self._sent(document, made, if_exists)

    def rehearse(self, manifest: Manifest) -> TrainingJob:
        """Return the job as the API server would store it; nothing is stored."""
        document = given.document(manifest, needed=False, alone=True)

        async def body(connection: Connection) -> TrainingJob:
            where = replace(connection, namespace=submit.namespace_of(document, self._link.target, connection))
            return decode(await submit.rehearse(where, document))

        return self._link.call(body)

    def get(self, name: str) -> TrainingJob:
        """Return a job."""
        return self._link.call(lambda connection: jobs.job(connection, name))

    def status(self, name: str) -> TrainingJobStatus:
        """Return what the operator says of a job."""
        return self.get(name).status

    def describe(self, name: str) -> str:
        """Return the page of `ganger status`: what the job does, what it waits for and what to do about it."""

        async def body(connection: Connection) -> str:
            return "\n".join(report.page(await status.look(connection, name, self._link.session)))

        return self._link.call(body)

    def metrics(self, name: str) -> dict[str, Any]:
        """Return the newest figures of the training by name; what nobody has reported is absent."""
        return figures.values(self.get(name))

    def checkpoint(self, name: str) -> CheckpointStatus | None:
        """Return what is known of the newest checkpoint, None before the first."""
        point = self.status(name).checkpoint
        return point if point is not None and point.latest_step is not None else None

    def watch(self, name: str) -> Iterator[TrainingJob]:
        """Yield the job at once and after every change, until it is over or gone. Never polls."""

        async def changes(connection: Connection) -> AsyncIterator[TrainingJob]:
            async for job in one_job(connection, name):
                yield job
                if job.status.finished:
                    return

        return self._link.stream(changes)

    def wait(self, name: str, goal: str = "complete", *, seconds: float | None = None) -> TrainingJob:
        """Return the job once it is complete, running, failed, suspended, exported, or has a checkpoint (=STEP).

        Raises Problem: its code is FAILED where the job ended otherwise, TIMEOUT after so many seconds, NOT_FOUND where
        there is no such job any more, USAGE for another goal.
        """
        if not wait.is_goal(goal):
            raise Problem(f"{goal!r} is {wait.NO_GOAL}", code=Code.USAGE)

        async def body(connection: Connection) -> TrainingJob:
            async with within(seconds, f"job {name} is not {wait.in_words(goal)}"):
                return await self._until(connection, name, goal)

        return self._link.call(body)

    def logs(
        self,
        name: str,
        *,
        follow: bool = False,
        worker: int | None = None,
        attempt: int | None = None,
        tail: int | None = None,
        since_seconds: float | None = None,
    ) -> Iterator[LogLine]:
        """Yield what the workers wrote, in the order of time; following, through restarts until the job is over.

        attempt: of an earlier one, which cannot be followed. tail: only so many of the last lines of each worker.
        """
        if follow and attempt is not None:
            raise Problem("an earlier attempt cannot be followed", "", "leave attempt or follow out", code=Code.USAGE)
        since = self._link.session.now() - timedelta(seconds=since_seconds) if since_seconds is not None else None
        wanted = Range(tail=tail, since=since)
        return self._link.stream(
            lambda connection: following.lines(
                connection, self._link.session, name, follow=follow, worker=worker, attempt=attempt, wanted=wanted
            )
        )

    def suspend(self, name: str) -> None:
        """Stop a job after a checkpoint. Does nothing where it is suspended already."""
        self._link.call(lambda connection: suspension.change(connection, name, suspended=True))

    def resume(self, name: str) -> None:
        """Let a suspended job go on from its checkpoint. Does nothing where it is not suspended."""
        self._link.call(lambda connection: suspension.change(connection, name, suspended=False))

    def set(
        self, name: str, settings: Mapping[str, Any], *, wait: bool = False, seconds: float | None = None
    ) -> TrainingJob:
        """Change settings of a job while it trains; None takes one out. Returns the job.

        wait: until all workers train with them; the Problem of a task that refuses one says why.
        """
        changes = setting.checked(settings)

        async def body(connection: Connection) -> TrainingJob:
            job, _ = await setting.send(connection, self._link.session, name, changes, waits=wait)
            if not wait:
                return await jobs.job(connection, name)
            async with within(seconds, f"job {name} does not train with it"):
                return await setting.answered(connection, job, changes, self._link.session)

        return self._link.call(body)

    def request_checkpoint(self, name: str, *, wait: bool = False, seconds: float | None = None) -> TrainingJob:
        """Ask a running job to save now. Returns the job. wait: until the checkpoint is committed."""

        async def body(connection: Connection) -> TrainingJob:
            job, asked = await request.ask(connection, self._link.session, name, "checkpoint", waits=wait)
            if not wait:
                return await jobs.job(connection, name)
            async with within(seconds, f"job {name} has no new checkpoint"):
                return await request.committed(connection, job, asked, self._link.session)

        return self._link.call(body)

    def request_stacks(self, name: str) -> None:
        """Ask every worker to write into its log where its processes are."""
        self._link.call(lambda connection: request.ask(connection, self._link.session, name, "stacks"))

    def retry(self, name: str) -> TrainingJob:
        """Make a failed job anew, under its name and from its newest checkpoint. Returns the new one.

        Raises Problem where it has not failed, or where its checkpoints would go with it.
        """

        async def body(connection: Connection) -> TrainingJob:
            await retry.again(connection, self._link.session, name)
            return await jobs.job(connection, name)

        return self._link.call(body)

    def export(
        self,
        name: str,
        formats: str | Sequence[str],
        *,
        step: int | None = None,
        best: bool = False,
        to: str | None = None,
        tolerance: float = EXPORT_TOLERANCE,
        opset: int | None = None,
        seconds: float | None = None,
    ) -> tuple[Artifact, ...]:
        """Make model files from a checkpoint of a job, by a job of its own, and return them once each was compared.

        formats: one or several of onnx, torch-export, torchscript, safetensors. step, best: of which checkpoint, else
        of the newest. to: CLAIM[:FOLDER], else exports/ beside the checkpoints. tolerance: largest absolute difference
        from the model. seconds: how long to wait; the export goes on after it. Raises Problem: its code is FAILED where
        a file was not made, USAGE where none can be.
        """
        wish = exporting.wish(formats, step=step, best=best, to=to, tolerance=tolerance, opset=opset)
        return self._link.call(lambda connection: exporting.made(self._link, connection, name, wish, seconds))

    def fetch(self, name: str, path: str, destination: str | os.PathLike[str]) -> None:
        """Copy a file or folder of a job to this machine, whole or not at all.

        path: one that does not begin with / is in the folder of its checkpoints. destination: a folder that is there,
        or a name that is not. Where no worker runs, a pod with the job's volumes is made and deleted.
        """
        far, near = cp.Remote(name, path), Path(destination)
        self._link.call(lambda connection: cp.fetch(connection, self._link.session, far, near, None))

    def send(self, source: str | os.PathLike[str], name: str, path: str) -> None:
        """Copy a file or folder of this machine to a job; into a folder where path ends with /."""
        near, far = Path(source), cp.Remote(name, path)
        self._link.call(lambda connection: cp.send(connection, self._link.session, near, far, None))

    def delete(self, name: str) -> None:
        """Delete a job and its pods; whether its checkpoints stay, spec.checkpoint.volume.whenDeleted says."""

        async def body(connection: Connection) -> None:
            job = await jobs.job(connection, name)
            with doing(f"deleting job {name}"):
                await connection.cluster.delete(TRAINING_JOBS, connection.namespace, name, uid=job.metadata.uid)

        self._link.call(body)

    # --- all jobs ----------------------------------------------------------------------------------------------------
    def list(self, *, labels: str = "", all_namespaces: bool = False) -> builtins.list[TrainingJob]:
        """Return the jobs of the namespace, or of all of them. labels: only those with these, as in team=vision."""

        async def body(connection: Connection) -> builtins.list[TrainingJob]:
            where = None if all_namespaces else connection.namespace
            with doing("listing jobs"):
                found, _ = await jobs.items(connection, TRAINING_JOBS, where, label_selector=labels)
            return [jobs.typed(one, TrainingJob) for one in found]

        return self._link.call(body)

    # --- how ---------------------------------------------------------------------------------------------------------
    def _sent(self, document: Document, made: Work | None, if_exists: str) -> TrainingJob:
        async def body(connection: Connection) -> TrainingJob:
            where = replace(connection, namespace=submit.namespace_of(document, self._link.target, connection))
            async with codemap.carried(where, document, made) as (carrying, own):
                created = await submit.send(self._link.session, where, carrying, if_exists)
                await own(created)
            return await jobs.job(where, created.name)

        return self._link.call(body)

    async def _until(self, connection: Connection, name: str, goal: str) -> TrainingJob:
        async for job in one_job(connection, name):
            wait.refuse(job, goal)
            code = wait.outcome(job, goal)
            if code == Code.COMPLETE:
                return job
            if code is not None:
                said = sentence(job, self._link.session.now())
                raise Problem(f"job {name} is not {wait.in_words(goal)}", said, "'describe' tells more", code=code)
        raise Problem(f"job {name} was deleted", "", "'list' shows what is left", code=Code.NOT_FOUND)
