"""`ganger shell`: a shell, or a command, with the image, the mounts and the environment of a job."""

import click

from ganger.api.observed import Pod
from ganger.api.types import TrainingJob
from ganger.cli import arguments, jobs
from ganger.cli.attaching import SHELL, attached
from ganger.cli.connection import Connection
from ganger.cli.problem import Code, Problem
from ganger.cli.sentence import sentence
from ganger.cli.session import Session, Target
from ganger.cli.terminal import escape
from ganger.contract import CONTAINER
from ganger.plan.environment import processes_per_worker
from ganger.plan.gang import attempt_of, worker_of


class Shell(click.Command):
    """A command whose words behind `--` are another command, whether a job is named or a manifest."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse what stands before `--`; what stands behind it belongs to the command in the pod."""
        at = args.index("--") if "--" in args else len(args)
        behind = args[at + 1 :]
        rest = super().parse_args(ctx, args[:at])
        ctx.params["command"] = (*(ctx.params.get("command") or ()), *behind)
        return rest


@click.command(cls=Shell)
@click.argument("name", type=arguments.JobName(), required=False)
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
@click.option("--worker", type=click.IntRange(min=0), metavar="N", help="In the pod of this worker. Default: 0.")
@click.option("--rank", type=click.IntRange(min=0), metavar="N", help="In the pod that this rank runs in.")
@click.option("--new", is_flag=True, help="In a pod of its own like those of the job, which need not run.")
@click.option("-f", "--filename", "file", type=click.Path(), metavar="FILE", help="In a pod of its own, of a manifest.")
@click.option("--image", default="", help="-f, --new: image, for --new made FROM pytorch-cuda-dev. Default: the job's.")
@arguments.on_cluster
@arguments.pass_session
def shell(
    session: Session,
    target: Target,
    name: str | None,
    command: tuple[str, ...],
    worker: int | None,
    rank: int | None,
    new: bool,
    file: str | None,
    image: str,
) -> int:
    """Open a shell in a running worker of a job, or in a pod like one, or run a command there.

    \b
    Examples:
      ganger shell digits                      a shell beside worker 0
      ganger shell digits --rank 5 -- py-spy dump --pid 7
      ganger shell digits -- tar c /checkpoints/step_600 > step.tar
      ganger shell digits --new                a pod with the job's image, volumes and checkpoints
      ganger shell -f job.yaml -- nvidia-smi   the same of a job that was never submitted

    The exit code is the command's. In a worker it shares the container's limits with the training: a big one may end
    both. The pod of --new is a dev session without doors and goes with the shell; it may read the checkpoints. That of
    -f asks for what one worker asks for, outside of any queue, and needs nothing of the image but sleep and a shell.
    """
    if file is not None:
        if name is not None:
            raise click.UsageError("NAME and -f both say of which job: leave one out; a command stands behind --")
        if new or worker is not None or rank is not None:
            raise click.UsageError("-f makes a pod of its own: leave --new, --worker and --rank out")
        from ganger.cli import manifestshell  # what makes pods: --help does without

        document = manifestshell.read(session, file)

        async def of_manifest(connection: Connection) -> int:
            return await manifestshell.opened(session, connection, document, target.namespace, image, command or SHELL)

        return session.with_cluster(target, of_manifest)
    if name is None:
        raise click.UsageError("of which job? Name one, or its manifest with -f")
    if new and (worker is not None or rank is not None):
        raise click.UsageError("--new is in no worker: leave --worker and --rank out")
    if image and not new:
        raise click.UsageError("--image is that of the pod of --new or -f: add one")
    if worker is not None and rank is not None:
        raise click.UsageError("--worker and --rank both say where: name one of them")

    async def body(connection: Connection) -> int:
        job = await jobs.job(connection, name)
        if new:
            from ganger.cli import newshell

            return await newshell.opened(session, connection, name, image, command or SHELL)
        pod = await _running(session, connection, job, _worker(job, worker, rank))
        return await attached(connection, pod.metadata.name, CONTAINER, command or SHELL)

    return session.with_cluster(target, body)


def _worker(job: TrainingJob, worker: int | None, rank: int | None) -> int:
    """Return which worker is meant. Raises Problem where the gang has no such one."""
    processes = processes_per_worker(job.spec)
    size = job.spec.most_workers
    chosen = worker if worker is not None else (rank or 0) // processes
    if chosen < size:
        return chosen
    what = f"rank {rank}" if rank is not None else f"worker {worker}"
    most = size * processes - 1 if rank is not None else size - 1
    why = f"it has {'ranks' if rank is not None else 'workers'} 0 to {most}" if most else "it has only that one: 0"
    raise Problem(f"job {job.metadata.name} has no {what}", why, "", code=Code.NOT_FOUND)


async def _running(session: Session, connection: Connection, job: TrainingJob, worker: int) -> Pod:
    """Return the pod of the worker, which runs. Raises Problem."""
    name = job.metadata.name
    for pod in await jobs.pods(connection, job):
        if attempt_of(pod) != job.status.attempt or worker_of(pod) != worker:
            continue
        states = [one.state for one in pod.status.container_statuses if one.name == CONTAINER]
        if any(state.running is not None for state in states) and pod.metadata.deletion_timestamp is None:
            return pod
    raise Problem(
        f"worker {worker} of job {name} does not run",
        escape(sentence(job, session.now())),
        f"'ganger wait {name} --for running' waits until it does; 'ganger shell {name} --new' opens a pod like its own",
        code=Code.REFUSED,
    )
