"""`ganger dev logs`: what a session's supervisor and servers say."""

from collections.abc import AsyncIterator

import click

from ganger.cli import arguments, sessions
from ganger.cli.connection import Connection
from ganger.cli.lines import lines
from ganger.cli.podlog import split
from ganger.cli.problem import Code, Problem, doing
from ganger.cli.session import Session, Target
from ganger.cli.terminal import log_line
from ganger.contract import SESSION_CONTAINER


@click.command()
@arguments.session_name
@click.option("-f", "--follow", is_flag=True, help="Go on until the pod ends.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines.")
@arguments.on_cluster
@arguments.pass_session
def logs(session: Session, target: Target, name: str, follow: bool, tail: int | None) -> Code:
    """Print what a session's supervisor and servers say. Jupyter's token is in no log.

    \b
    Examples:
      ganger dev logs -f try
    """

    async def body(connection: Connection) -> None:
        async for line in read(connection, name, follow=follow, tail=tail):
            session.terminal.data(log_line(line))

    session.with_cluster(target, body)
    return Code.COMPLETE


async def read(connection: Connection, name: str, *, follow: bool, tail: int | None) -> AsyncIterator[str]:
    """Yield the lines of the session's pod as they were written. Raises Problem where it has none."""
    found = await sessions.read(connection, name)
    pod = await sessions.pod(connection, found)
    if pod is None:
        what = f"session {name} has no logs now"
        closed = sessions.closed(found)
        raise Problem(what, f"it has no pod: {closed.why}", closed.fix, code=Code.NOT_FOUND)
    with doing(f"reading the log of {pod.metadata.name}"):
        stream = connection.logs.stream(
            connection.namespace, pod.metadata.name, SESSION_CONTAINER, follow=follow, tail=tail
        )
        async for text in lines(stream):
            yield split(text)[1].removesuffix("\r")
