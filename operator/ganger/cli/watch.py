"""`ganger watch`: one job or all of them, live; lines where there is no terminal."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

import click

from ganger.api.types import TrainingJob
from ganger.cli import arguments, plain, watching
from ganger.cli.connection import Connection
from ganger.cli.problem import Code, missing_library
from ganger.cli.sentence import sentence
from ganger.cli.session import Session, Target
from ganger.cli.terminal import escape
from ganger.cli.view import View
from ganger.cli.wait import outcome


@click.command()
@click.argument("name", type=arguments.JobName(), required=False, metavar="[JOB]")
@click.option("-A", "--all-namespaces", is_flag=True, help="Jobs of every namespace.")
@click.option("-l", "--selector", default="", metavar="LABELS", help="Only jobs with these labels, as in team=vision.")
@click.option("--plain", "lines", is_flag=True, help="Print one line for each change. Default without a terminal.")
@arguments.on_cluster
@arguments.pass_session
def watch(session: Session, target: Target, name: str | None, all_namespaces: bool, selector: str, lines: bool) -> Code:
    """Show a job, or all of them, live: progress, loss, workers, where the time goes.

    \b
    Examples:
      ganger watch digits
      ganger watch -A
      ganger watch digits --plain | tee run.log

    The watch of a job ends with it, and its exit code is that of 'ganger wait': 0 complete, 1 failed. That of all
    jobs goes on until Ctrl-C (130).
    """
    if name is not None and (all_namespaces or selector):
        raise click.UsageError("-A and -l choose among all jobs: leave JOB out")
    screen = not lines and session.terminal.is_screen
    if screen:
        _need_rich()

    async def body(connection: Connection) -> Code:
        if name is not None:
            return await (_screen_of_job if screen else _lines_of_job)(session, connection, name)
        show = _screen_of_fleet if screen else _lines_of_fleet
        return await show(session, connection, all_namespaces, selector)

    return session.with_cluster(target, _until_told(body) if screen else body)


def _need_rich() -> None:
    try:
        import rich  # noqa: F401 - only a screen needs it
    except ModuleNotFoundError as error:
        raise missing_library("rich", "cli") from error


def _until_told(body: Callable[[Connection], Awaitable[Code]]) -> Callable[[Connection], Awaitable[Code]]:
    """Let SIGTERM end the body as Ctrl-C does, so that the terminal is restored then too."""

    async def stoppable(connection: Connection) -> Code:
        told = False

        def stop() -> None:
            nonlocal told
            told = True
            task.cancel()

        task = asyncio.ensure_future(body(connection))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
        try:
            return await task
        except asyncio.CancelledError:
            if told:
                return Code.TERMINATED
            raise

    return stoppable


def _ended(session: Session, job: TrainingJob) -> Code:
    session.terminal.message(escape(sentence(job, session.now())), "bold")
    code = outcome(job, "complete")
    assert code is not None, "the job is over"
    return code


async def _screen_of_job(session: Session, connection: Connection, name: str) -> Code:
    from ganger.cli import jobscreen
    from ganger.cli.screen import Screen, drawn

    view, news = View(), asyncio.Event()
    with Screen(session.terminal) as screen:
        job = await drawn(
            watching.job(connection, name, view, news.set),
            lambda: screen.draw(lambda width, height: jobscreen.page(view, session.now(), width, height)),
            news,
        )
    # The last picture stays, on the terminal as it was before.
    screen.console.print(jobscreen.page(view, session.now(), screen.console.width, None))
    return _ended(session, job)


async def _screen_of_fleet(session: Session, connection: Connection, everywhere: bool, selector: str) -> Code:
    from ganger.cli import fleetscreen
    from ganger.cli.screen import Screen, drawn

    found: watching.Fleet = {}
    news = asyncio.Event()
    where = "" if everywhere else connection.namespace

    def take(jobs: watching.Fleet) -> None:
        nonlocal found
        found = jobs
        news.set()

    with Screen(session.terminal) as screen:
        await drawn(
            watching.fleet(connection, take, everywhere=everywhere, selector=selector),
            lambda: screen.draw(
                lambda width, height: fleetscreen.page(found, session.now(), width, height, where=where)
            ),
            news,
        )
    return Code.COMPLETE


async def _lines_of_job(session: Session, connection: Connection, name: str) -> Code:
    view, said = View(), plain.Lines()

    def tell() -> None:
        for text in said.job(view, session.now()):
            session.terminal.data(text)

    job = await watching.job(connection, name, view, tell)
    tell()
    return _ended(session, job)


async def _lines_of_fleet(session: Session, connection: Connection, everywhere: bool, selector: str) -> Code:
    said = plain.Lines()

    def take(jobs: watching.Fleet) -> None:
        for text in said.fleet(jobs, session.now()):
            session.terminal.data(text)

    await watching.fleet(connection, take, everywhere=everywhere, selector=selector)
    return Code.COMPLETE
