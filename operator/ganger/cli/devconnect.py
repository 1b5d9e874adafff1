"""`ganger dev connect`: a local port that leads to Jupyter, for as long as the session lives."""

import asyncio
import base64
import contextlib
import html
import os
import sys
import tempfile
import webbrowser
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import click
import msgspec
from msgspec import Struct

from ganger.api.session import DevSession
from ganger.cli import arguments, sessions
from ganger.cli.connection import Connection
from ganger.cli.forwarding import LOOPBACK, Forwarder
from ganger.cli.problem import Code, Problem, doing
from ganger.cli.session import Session, Target
from ganger.cli.terminal import escape
from ganger.contract import SESSION_JUPYTER_PORT, SESSION_TOKEN_FILE
from ganger.kube.errors import Forbidden, NotFound, Unreachable
from ganger.kube.resources import SECRETS

OPEN_SECONDS = 60.0  # a browser waits so long for a pod that is being replaced


class _Secret(Struct):
    data: dict[str, str] = {}


@click.command()
@arguments.session_name
@click.option("--port", type=click.IntRange(1, 65535), metavar="N", help="Local port. Default: 8888, else a free one.")
@click.option("--no-browser", is_flag=True, help="Open no browser.")
@arguments.on_cluster
@arguments.pass_session
def connect(session: Session, target: Target, name: str, port: int | None, no_browser: bool) -> Code:
    """Forward a local port to Jupyter and print its address.

    \b
    Examples:
      ganger dev connect try
      ganger dev connect try --port 9000 --no-browser

    It stays until Ctrl-C or the end of the session, and finds the session again when its pod is replaced. The address
    has Jupyter's token in it, which is read from the session's Secret and printed to standard output alone.
    """

    async def body(connection: Connection) -> Code:
        found = await sessions.read(connection, name)
        if not sessions.is_open(found):
            raise sessions.closed(found)
        return await served(session, connection, found, port=port, browser=not no_browser)

    return session.with_cluster(target, body)


async def served(
    session: Session, connection: Connection, found: DevSession, *, port: int | None, browser: bool
) -> Code:
    """Forward until the session ends. Raises Problem where it has no Jupyter or its token may not be read."""
    name = found.metadata.name

    def tell(why: str) -> None:
        session.terminal.message(escape(f"a connection failed: {why}"), "dim")

    async with opened(connection, found, port=port, tell=tell) as (address, watching):
        session.terminal.data(address)
        session.terminal.message(f"Ctrl-C ends the connection and not the session: 'ganger dev stop {name}' does that")
        with _browser(address) if browser and sys.stdout.isatty() else contextlib.nullcontext():
            ended = await watching
    text = f"session {name} was deleted" if ended is None else f"session {name}: {ended.status.message}"
    session.terminal.message(escape(text))
    if ended is not None:
        session.terminal.message(f"begin again with: ganger dev up {name} -n {connection.namespace}")
    return Code.COMPLETE


@contextlib.asynccontextmanager
async def opened(
    connection: Connection, found: DevSession, *, port: int | None, tell: Callable[[str], None]
) -> AsyncIterator[tuple[str, asyncio.Task[DevSession | None]]]:
    """Listen at a local port and yield the address of Jupyter, with its token, and a task that ends with the session.

    port: which one, None for 8888 or else a free one. tell: hears why a connection failed. Raises Problem where the
    session has no Jupyter, its token may not be read, or the port is taken.
    """
    name = found.metadata.name
    if not found.spec.jupyter:
        raise Problem(
            f"session {name} has no Jupyter", "spec.jupyter is false", f"ganger dev ssh {name}", code=Code.USAGE
        )
    token = await _token(connection, found)
    present = Present(found)
    watching = asyncio.create_task(present.follow(connection))
    forwarder = Forwarder(connection, SESSION_JUPYTER_PORT, present.pod, tell)
    try:
        async with _listening(forwarder, port) as local:
            yield f"http://{LOOPBACK}:{local}/lab?token={token}", watching
    finally:
        watching.cancel()


class Present:
    """The session as it is now. `follow` keeps it true."""

    def __init__(self, found: DevSession) -> None:
        self._found = found
        self._changed = asyncio.Condition()

    async def follow(self, connection: Connection) -> DevSession | None:
        """Return the session as it ended, None where it was deleted."""
        metadata = self._found.metadata
        async for found in sessions.changes(connection, metadata.name, uid=metadata.uid):
            async with self._changed:
                self._found = found
                self._changed.notify_all()
            if found.status.ended:
                return found
        return None

    async def pod(self) -> str:
        """Wait until the session runs and return the name of its pod. Raises Unreachable."""
        try:
            async with asyncio.timeout(OPEN_SECONDS), self._changed:
                await self._changed.wait_for(lambda: sessions.is_open(self._found))
                return self._found.status.pod
        except TimeoutError:
            raise Unreachable(f"the session does not run: {self._found.status.message}") from None


async def _token(connection: Connection, found: DevSession) -> str:
    name = found.status.secret_name
    try:
        with doing(f"reading Secret {name}"):
            body = await connection.cluster.get(SECRETS, connection.namespace, name)
    except Problem as error:
        cause = error.__cause__
        if isinstance(cause, Forbidden):
            fix = "ask for the right to get this Secret, or for SSH: who has it may use the session as its owner does"
            raise Problem(error.what, error.why, fix, code=Code.REFUSED) from error
        if isinstance(cause, NotFound):
            fix = f"ganger dev stop {found.metadata.name}, then up: each start looks for it"
            raise Problem(error.what, "it was deleted", fix, code=Code.NOT_FOUND) from error
        raise
    data = msgspec.json.decode(body, type=_Secret).data
    return base64.b64decode(data.get(SESSION_TOKEN_FILE, "")).decode()


@contextlib.asynccontextmanager
async def _listening(forwarder: Forwarder, port: int | None) -> AsyncIterator[int]:
    async with contextlib.AsyncExitStack() as stack:
        try:
            local = await stack.enter_async_context(forwarder.listening(port or SESSION_JUPYTER_PORT))
        except OSError as error:
            if port is not None:
                why, fix = error.strerror or str(error), "leave --port out: a free one is found"
                raise Problem(f"port {port} cannot be used", why, fix, code=Code.USAGE) from error
            local = await stack.enter_async_context(forwarder.listening())
        yield local


@contextlib.contextmanager
def _browser(address: str, open_: Callable[[str], bool] = webbrowser.open) -> Iterator[None]:
    """Open a browser through a file that only we may read: the arguments of a process are everybody's to read."""
    descriptor, path = tempfile.mkstemp(prefix="ganger-", suffix=".html")  # mode 0600
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        there = html.escape(address, quote=True)
        file.write(f'<!doctype html><meta http-equiv="refresh" content="0; url={there}"><title>Jupyter</title>\n')
    try:
        with contextlib.suppress(webbrowser.Error):
            open_(Path(path).as_uri())
        yield
    finally:
        Path(path).unlink(missing_ok=True)
