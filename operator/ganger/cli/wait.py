"""`ganger wait`: until a job is where it should be; the exit code mirrors how it ended."""

import asyncio
import re
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from ganger.api.types import TrainingJob
from ganger.cli import arguments, exports
from ganger.cli.connection import Connection
from ganger.cli.live import one_job
from ganger.cli.problem import Code, Problem
from ganger.cli.sentence import sentence
from ganger.cli.session import Session, Target
from ganger.cli.terminal import escape

if TYPE_CHECKING:  # generic from click 8.4 on, and at run time only there
    _Text = click.ParamType[str]
else:
    _Text = click.ParamType

GOALS = ("complete", "running", "failed", "suspended", "checkpoint", "exported")
_CHECKPOINT_OF = re.compile(r"checkpoint=(\d+)", re.ASCII)


NO_GOAL = f"none of {', '.join(GOALS)} and checkpoint=STEP"


def is_goal(text: str) -> bool:
    """Whether a job can be waited for to be there."""
    return text in GOALS or _CHECKPOINT_OF.fullmatch(text) is not None


class Goal(_Text):
    """Where a job should be: a word of GOALS, or checkpoint=STEP."""

    name = "goal"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return it as it is."""
        if not is_goal(str(value)):
            self.fail(f"{value!r} is {NO_GOAL}", param, ctx)
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the words."""
        return [CompletionItem(goal) for goal in GOALS if goal.startswith(incomplete)]


def outcome(job: TrainingJob, goal: str) -> Code | None:
    """Return the exit code once the wait is over, or None while it goes on.

    What was waited for is COMPLETE (0). A job that ended otherwise is FAILED at once; a complete one has run before.
    checkpoint is any that is committed, checkpoint=STEP one of that step or a later one. exported is each model file of
    spec.export made and compared, which a job that is complete has.
    """
    if goal.startswith("checkpoint"):
        step, match = latest(job), _CHECKPOINT_OF.fullmatch(goal)
        if step is not None and (match is None or step >= int(match[1])):
            return Code.COMPLETE
        return Code.FAILED if job.status.finished else None
    if goal == "suspended" and job.status.is_true("Suspended") and not job.status.ready_workers:
        return Code.COMPLETE
    if goal == "running" and job.status.is_true("Running") and not job.status.finished:
        return Code.COMPLETE
    if job.status.is_true("Complete"):
        there = goal in ("complete", "running") or (goal == "exported" and bool(job.spec.export))
        return Code.COMPLETE if there else Code.FAILED
    if job.status.is_true("Failed"):
        return Code.COMPLETE if goal == "failed" else Code.FAILED
    return None


def latest(job: TrainingJob) -> int | None:
    """Return the step of the newest checkpoint, None before the first."""
    return job.status.checkpoint.latest_step if job.status.checkpoint is not None else None


def refuse(job: TrainingJob, goal: str) -> None:
    """Raise the problem of a wait that could never end well."""
    if goal == "exported" and not job.spec.export:
        name = job.metadata.name
        what = f"job {name} cannot be waited for: it makes no model files"
        fix = f"'ganger export {name} --format onnx' makes them of its checkpoints, and waits"
        raise Problem(what, "spec.export is not set", fix, code=Code.USAGE)
    if not goal.startswith("checkpoint") or job.status.finished:
        return
    name, what = job.metadata.name, f"job {job.metadata.name} cannot be waited for: it never tells of a checkpoint"
    if job.spec.checkpoint is None:
        raise Problem(what, "it keeps none: spec.checkpoint is not set", "wait for complete", code=Code.USAGE)
    if job.spec.task is None:
        why = "a script or a command does not report its checkpoints"
        raise Problem(what, why, f"'ganger logs -f {name}' shows what it says of them", code=Code.USAGE)


async def until(connection: Connection, name: str, goal: str, session: Session) -> Code:
    """Return the exit code of waiting for the goal, telling the way there on stderr."""
    said: str | None = None
    async for job in one_job(connection, name):
        if said is None:
            refuse(job, goal)
        code = outcome(job, goal)
        if code is not None:
            for line in _end(job, goal, code, session):
                session.terminal.data(escape(line))
            return code
        now = f"{job.status.phase or 'Pending'} {job.status.workers or ''}".strip()
        if now != said:
            said = now
            session.terminal.message(escape(sentence(job, session.now())))
    raise Problem(
        f"job {name} was deleted before it was {in_words(goal)}",
        "",
        "'ganger list' shows what is left",
        code=Code.NOT_FOUND,
    )


def _end(job: TrainingJob, goal: str, code: Code, session: Session) -> list[str]:
    if code == Code.COMPLETE and goal.startswith("checkpoint"):
        return [f"{job.metadata.name} has a checkpoint of step {latest(job)}"]
    if code == Code.COMPLETE and goal == "exported":
        return [f"{job.metadata.name} has its model files", *exports.lines(job)]
    return [sentence(job, session.now())]


def in_words(goal: str) -> str:
    """Return what a job is that is there, such as 'complete' or 'saved'."""
    match = _CHECKPOINT_OF.fullmatch(goal)
    if match is not None:
        return f"saved at step {match[1]} or later"
    return "saved" if goal == "checkpoint" else goal


@click.command()
@arguments.job_name
@click.option(
    "--for",
    "goal",
    type=Goal(),
    default="complete",
    show_default=True,
    metavar="GOAL",
    help="What to wait for: complete, running, failed, suspended, exported, checkpoint or checkpoint=STEP.",
)
@click.option(
    "--timeout", type=arguments.Duration(), metavar="DURATION", help="Give up after, as in 30m. Default: never."
)
@arguments.on_cluster
@arguments.pass_session
def wait(session: Session, target: Target, name: str, goal: str, timeout: int | None) -> Code:
    """Wait for a job; the exit code mirrors how it ended.

    \b
    Examples:
      ganger wait digits --timeout 2h
      ganger wait digits --for checkpoint=500
      ganger wait digits --for exported

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
                f"job {name} is not {in_words(goal)} after {timeout} s",
                "",
                f"'ganger status {name}' tells what it waits for",
                code=Code.TIMEOUT,
            ) from None

    return session.with_cluster(target, body)
