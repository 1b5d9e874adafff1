"""`ganger logs`: what all workers wrote, in the order of time; -f follows them through restarts."""

import asyncio
import heapq
import re
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ganger.api.observed import Pod
from ganger.api.types import TrainingJob
from ganger.cli import arguments, jobs, lastfailure
from ganger.cli.connection import Connection
from ganger.cli.follow import Follower
from ganger.cli.lines import Printer
from ganger.cli.podlog import Line, Range, has_begun, has_restarted, whole
from ganger.cli.problem import Code, Problem
from ganger.cli.sentence import sentence
from ganger.cli.session import Session, Target
from ganger.cli.terminal import escape
from ganger.plan.environment import processes_per_worker
from ganger.plan.gang import attempt_of, worker_of

if TYPE_CHECKING:  # generic from click 8.4 on, and at run time only there
    _Type = click.ParamType[re.Pattern[str]]
else:
    _Type = click.ParamType


class Expression(_Type):
    """A regular expression."""

    name = "regex"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> re.Pattern[str]:
        """Return it compiled."""
        try:
            return re.compile(str(value))
        except re.error as error:
            self.fail(f"{value!r} is no regular expression: {error}", param, ctx)


@click.command()
@arguments.job_name
@click.option("-f", "--follow", is_flag=True, help="Go on through restarts until the job is over.")
@click.option("--worker", type=click.IntRange(min=0), metavar="N", help="Of one worker only.")
@click.option("--rank", type=click.IntRange(min=0), metavar="N", help="Of the worker that runs this rank only.")
@click.option("--attempt", type=click.IntRange(min=0), metavar="N", help="Of an earlier attempt. Default: the present.")
@click.option("-p", "--previous", is_flag=True, help="Of the gang's life before its newest restart.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines of each worker.")
@click.option("--since", type=arguments.Duration(), metavar="DURATION", help="Only of the last 90s, 30m or 2d.")
@click.option("--grep", type=Expression(), metavar="REGEX", help="Only lines in which this is found.")
@click.option("--timestamps", is_flag=True, help="Write when each line was written, in UTC.")
@click.option("--no-prefix", is_flag=True, help="Write the lines as they are, without the worker's name.")
@arguments.on_cluster
@arguments.pass_session
def logs(
    session: Session,
    target: Target,
    name: str,
    follow: bool,
    worker: int | None,
    rank: int | None,
    attempt: int | None,
    previous: bool,
    tail: int | None,
    since: int | None,
    grep: re.Pattern[str] | None,
    timestamps: bool,
    no_prefix: bool,
) -> Code:
    """Print the logs of all workers; -f follows them through restarts.

    \b
    Examples:
      ganger logs -f digits
      ganger logs digits --rank 3 --tail 100 --grep Error
      ganger logs digits --previous

    The ranks of one worker share its log. A restart makes new pods, or new containers in the pods that are there:
    --previous finds what was before either, --attempt the pods of an attempt.
    """
    if follow and (attempt is not None or previous):
        other = "--previous" if previous else "--attempt"
        raise click.UsageError(f"-f follows the present attempt and later ones: leave {other} out")
    if previous and attempt is not None:
        raise click.UsageError("--previous and --attempt both say which life is meant: leave one out")
    if worker is not None and rank is not None:
        raise click.UsageError("--rank and --worker both say whose log is meant: leave one out")
    wanted = Range(tail=tail, since=session.now() - timedelta(seconds=since) if since is not None else None)

    async def body(connection: Connection) -> None:
        job = await jobs.job(connection, name)
        only = chosen_worker(job, worker, rank)
        printer = Printer(session.terminal, job.spec.most_workers, prefixed=not no_prefix, timed=timestamps, only=grep)
        pods = await jobs.pods(connection, job)
        number, part = job.status.attempt if attempt is None else attempt, wanted
        if previous:
            number, part = _before(job, pods, only, wanted)
        found = [pod for pod in pods if attempt_of(pod) == number]
        gone = job.status.finished and not found
        if follow and not gone:
            follower = Follower(session, connection, printer, worker=only, wanted=wanted)
            ended = await follower.follow(name, uid=job.metadata.uid)
            text = sentence(ended, session.now()) if ended is not None else f"{name} was deleted"
            session.terminal.message(escape(text), "bold")
            return
        chosen = [pod for pod in found if only in (None, worker_of(pod)) and has_begun(pod)]
        if not chosen:
            kept = () if found else lastfailure.of_attempt(job, number, only)
            if kept:
                session.terminal.message(f"the last lines that the status of {name} kept of attempt {number}:", "dim")
            for line in kept:
                printer.line(line.worker, line.text)
            raise nothing(session, job, found, number)
        async for line in merged([whole(connection, pod, part) for pod in sorted(chosen, key=worker_of)]):
            printer.line(line.worker, line.text, line.time)

    session.with_cluster(target, body)
    return Code.COMPLETE


def chosen_worker(job: TrainingJob, worker: int | None, rank: int | None) -> int | None:
    """Return whose log is meant, None for all. Raises Problem where the job has no such worker or rank."""
    name, most = job.metadata.name, job.spec.most_workers
    if rank is not None:
        each = processes_per_worker(job.spec)
        if rank >= most * each:
            known = "only rank 0" if most * each == 1 else f"ranks 0 to {most * each - 1}"
            raise Problem(f"job {name} has no rank {rank}", f"it has {known}", "", code=Code.NOT_FOUND)
        return rank // each
    if worker is not None and worker >= most:
        known = "only worker 0" if most == 1 else f"workers 0 to {most - 1}"
        raise Problem(f"job {name} has no worker {worker}", f"it has {known}", "", code=Code.NOT_FOUND)
    return worker


def _before(job: TrainingJob, pods: Sequence[Pod], worker: int | None, wanted: Range) -> tuple[int, Range]:
    """Return where the life before the present one is: the attempt, and which part of its pods' logs."""
    present = job.status.attempt
    if any(has_restarted(pod) for pod in pods if attempt_of(pod) == present and worker in (None, worker_of(pod))):
        return present, msgspec.structs.replace(wanted, previous=True)
    if present == 0:
        fix = f"'ganger logs {job.metadata.name}' shows the present one"
        raise Problem(
            f"job {job.metadata.name} has no previous logs", "it was never restarted", fix, code=Code.NOT_FOUND
        )
    return present - 1, wanted


async def merged(streams: Sequence[AsyncIterator[Line]]) -> AsyncIterator[Line]:
    """Yield the lines of all streams in the order of time, holding one line of each. A line without time stays put."""
    heads: list[tuple[int, int, Line]] = []

    async def advance(number: int, after: int) -> None:
        line = await anext(streams[number], None)
        if line is not None:
            heapq.heappush(heads, (line.time or after, number, line))

    await asyncio.gather(*(advance(number, 0) for number in range(len(streams))))
    while heads:
        time, number, line = heapq.heappop(heads)
        yield line
        await advance(number, time)


def nothing(session: Session, job: TrainingJob, found: Sequence[Pod], attempt: int) -> Problem:
    """Return the problem of a job without logs: why, and where to look."""
    name = job.metadata.name
    what = f"job {name} has no logs of attempt {attempt}" if attempt else f"job {name} has no logs yet"
    if attempt != job.status.attempt:
        fix = f"the present attempt is {job.status.attempt}; only its pods and those of the one before are kept"
        return Problem(what, "there are no pods of that attempt", fix, code=Code.NOT_FOUND)
    if job.status.finished and not found:
        what = f"job {name} has no logs any more"
        if job.spec.clean_pod_policy == "None":
            why = "its pods were deleted by hand or with their nodes"
            fix = f"'ganger status {name}' tells how it ended; a store of logs outlives pods and nodes"
        else:
            why = f"its pods were removed (spec.cleanPodPolicy is {job.spec.clean_pod_policy})"
            fix = f"'ganger status {name}' tells how it ended; spec.cleanPodPolicy None keeps the pods of the next run"
        return Problem(what, why, fix, code=Code.NOT_FOUND)
    fix = f"'ganger logs -f {name}' waits for them; 'ganger status {name}' tells what it waits for"
    if attempt > 0:
        fix = f"'ganger logs --attempt {attempt - 1} {name}' shows the attempt before; {fix}"
    return Problem(what, escape(sentence(job, session.now())), fix, code=Code.NOT_FOUND)
