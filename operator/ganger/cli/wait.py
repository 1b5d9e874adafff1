"""`ganger wait`: until a job is where it should be; the exit code mirrors how it ended."""

import asyncio

import click

from ganger.api.types import TrainingJob
from ganger.cli import arguments
from ganger.cli.connection import Connection
from ganger.cli.live import one_job
from ganger.cli.problem import Code, Problem
from ganger.cli.sentence import sentence
from ganger.cli.session import Session, Target
from ganger.cli.terminal import escape

GOALS = ("complete", "running", "failed", "suspended")


def outcome(job: TrainingJob, goal: str) -> Code | None:
    """Return the exit code once the wait is over, or None while it goes on.

    What was waited for is COMPLETE (0). A job that ended otherwise is FAILED at once; a complete one has run before.
    """
    if goal == "suspended" and job.status.is_true("Suspended") and not job.status.ready_workers:
        return Code.COMPLETE
    if goal == "running" and job.status.is_true("Running") and not job.status.finished:
        return Code.COMPLETE
    if job.status.is_true("Complete"):
        return Code.COMPLETE if goal in ("complete", "running") else Code.FAILED
    if job.status.is_true("Failed"):
        return Code.COMPLETE if goal == "failed" else Code.FAILED
    return None


async def until(connection: Connection, name: str, goal: str, session: Session) -> Code:
    """Return the exit code of waiting for the goal, telling the way there on stderr."""
    said = ""
    async for job in one_job(connection, name):
        code = outcome(job, goal)
        if code is not None:
            session.terminal.data(escape(sentence(job, session.now())))
            return code
        now = f"{job.status.phase or 'Pending'} {job.status.workers or ''}".strip()
        if now != said:
            said = now
            session.terminal.message(escape(sentence(job, session.now())))
    raise Problem(
        f"job {name} was deleted before it was {goal}", "", "'ganger list' shows what is left", code=Code.NOT_FOUND
    )


@click.command()
@arguments.job_name
@click.option(
    "--for", "goal", type=click.Choice(GOALS), default="complete", show_default=True, help="What to wait for."
)
@click.option(
    "--timeout", type=arguments.Duration(), metavar="DURATION", help="Give up after, as in 30m. Default: never."
)
@arguments.on_cluster
@arguments.pass_session
def wait(session: Session, target: Target, name: str, goal: str, timeout: int | None) -> Code:
    """Wait for a job; the exit code mirrors how it ended.

    \b
    0    it is where it should be        1    it ended otherwise
    3    there is no such job (any more) 4    the time is over
    5    the cluster refused or is away  130  Ctrl-C
    """

    async def body(connection: Connection) -> Code:
        try:
            async with asyncio.timeout(timeout):
                return await until(connection, name, goal, session)
        except TimeoutError:
            raise Problem(
                f"job {name} is not {goal} after {timeout} s",
                "",
                f"'ganger status {name}' tells what it waits for",
                code=Code.TIMEOUT,
            ) from None

    return session.with_cluster(target, body)
