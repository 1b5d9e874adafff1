"""Model files of a checkpoint, as a call: the job of `ganger export` is made, waited for, and its files returned."""

from collections.abc import Sequence

import click

from ganger.api.status import Artifact
from ganger.cli import export, jobs
from ganger.cli.connection import Connection
from ganger.cli.exportjob import Wish
from ganger.cli.live import one_job
from ganger.cli.problem import Code, Problem
from ganger.cli.sentence import sentence
from ganger.cli.wait import outcome
from ganger.client.link import Link, within
from ganger.contract import EXPORT_FORMATS

OPSETS = range(7, 65)


def wish(
    formats: str | Sequence[str], *, step: int | None, best: bool, to: str | None, tolerance: float, opset: int | None
) -> Wish:
    """Return what is asked for. Pure; raises Problem with the argument that is wrong and what it may be."""
    wanted = (formats,) if isinstance(formats, str) else tuple(formats)
    wrong = [one for one in wanted if one not in EXPORT_FORMATS]
    if wrong or not wanted:
        raise _wrong("formats", wrong[0] if wrong else wanted, f"one or several of {', '.join(EXPORT_FORMATS)}")
    if step is not None and step < 0:
        raise _wrong("step", step, "the step of a checkpoint, from 0")
    if not 0 < tolerance <= 1:
        raise _wrong("tolerance", tolerance, "more than 0 and at most 1")
    if opset is not None and opset not in OPSETS:
        raise _wrong("opset", opset, f"from {OPSETS[0]} to {OPSETS[-1]}")
    try:
        return export.wish_of(wanted, step=step, best=best, to=to, tolerance=tolerance, opset=opset)
    except click.UsageError as error:
        raise Problem(error.message.replace("--", ""), code=Code.USAGE) from error


async def made(
    link: Link, connection: Connection, name: str, wish: Wish, seconds: float | None
) -> tuple[Artifact, ...]:
    """Return the files once each was compared with the model. Raises Problem, with what is known of the cause."""
    job = await export.begun(connection, name, wish)
    async with within(seconds, f"{job} is not complete", f"it goes on: wait('{job}') waits for it again"):
        ended = None
        async for ended in one_job(connection, job):
            if outcome(ended, "complete") is not None:
                break
    if ended is None or not ended.status.finished:
        raise Problem(f"{job} was deleted before it was complete", "", "call it again", code=Code.NOT_FOUND)
    files, cause = await export.files_of(link.session, connection, await jobs.job(connection, job))
    if ended.status.is_true("Failed"):
        why = cause.cause if cause is not None else sentence(ended, link.session.now())
        raise Problem(f"{job} failed", why, cause.fix if cause is not None else "'logs' shows what it said")
    return files


def _wrong(argument: str, value: object, allowed: str) -> Problem:
    return Problem(f"{argument}: {value!r} is not allowed", "", f"it is {allowed}", code=Code.USAGE)
