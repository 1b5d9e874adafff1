"""`ganger dev up`: a session that is there and runs, whatever was before."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, timedelta
from typing import Any

import click
import msgspec

from ganger.api.session import DevSession
from ganger.cli import arguments, devspec, sessions
from ganger.cli.connection import Connection
from ganger.cli.devconnect import served
from ganger.cli.problem import Code, Problem, doing, from_api
from ganger.cli.session import Session, Target
from ganger.cli.terminal import escape
from ganger.contract import ANNOTATION_START
from ganger.kube.errors import AlreadyExists, ApiError
from ganger.kube.resources import DEV_SESSIONS

SILENCE_SECONDS = 20.0  # an operator that is there answers within a second or two


@click.command()
@arguments.session_name
@devspec.options
@click.option("--no-connect", is_flag=True, help="Return when it runs.")
@click.option("--no-browser", is_flag=True, help="Open no browser.")
@arguments.on_cluster
@arguments.pass_session
def up(session: Session, target: Target, name: str, given: devspec.Given, no_connect: bool, no_browser: bool) -> Code:
    """Open a session, or start one again, and connect to it.

    \b
    Examples:
      ganger dev up try --from-job digits
      ganger dev up try --gpus 1 --memory 16Gi --storage 20Gi --idle 2h

    It may be called again at any time: a session that runs is connected to, one that has ended is started anew with
    what is in its storage. Without -f, --from-job and --image it has the operator's image for sessions.
    """
    manifest = devspec.manifest(session, name, given)

    async def body(connection: Connection) -> Code:
        uid, start = await ensured(session, connection, manifest, given)
        found = await until_open(session, connection, name, uid, start)
        if no_connect:
            session.terminal.data(f"{name} runs")
            session.terminal.message(escape(found.status.message or ""))
            return Code.COMPLETE
        if not found.spec.jupyter:
            session.terminal.data(f"{name} runs")
            session.terminal.message(f"log in with: ganger dev ssh {name} -n {connection.namespace}")
            return Code.COMPLETE
        return await served(session, connection, found, port=None, browser=not no_browser)

    return session.with_cluster(target, body)


async def ensured(
    session: Session, connection: Connection, manifest: dict[str, Any], given: devspec.Given
) -> tuple[str, int]:
    """Make the session or start it again. Returns its UID and the number of the start to wait for."""
    name = manifest["metadata"]["name"]
    found = await sessions.find(connection, name)
    if found is None:
        made = devspec.with_own_keys(session, manifest, given)
        made = made | {"metadata": made["metadata"] | {"namespace": connection.namespace}}
        try:
            created = await connection.cluster.create(DEV_SESSIONS, connection.namespace, made)
        except AlreadyExists:
            found = await sessions.read(connection, name)
        except ApiError as error:
            raise from_api(error, f"making session {name} in namespace {connection.namespace}") from error
        else:
            session.terminal.message(f"session {name} made in namespace {connection.namespace}")
            return created.uid, 0
    return await _again(session, connection, found, manifest["spec"])


async def _again(
    session: Session, connection: Connection, found: DevSession, wanted: Mapping[str, Any]
) -> tuple[str, int]:
    name, status = found.metadata.name, found.status
    with doing(f"reading session {name}"):
        body = await connection.cluster.get(DEV_SESSIONS, connection.namespace, name)
    stored = msgspec.json.decode(body)["spec"]
    other = {field: value for field, value in wanted.items() if stored.get(field) != value}
    closed = status.ended or found.spec.suspend
    if not closed and list(other) == ["ssh"] and found.spec.ssh is not None:
        with doing(f"changing the keys of session {name}"):
            await connection.cluster.patch(DEV_SESSIONS, connection.namespace, name, {"spec": other})
        session.terminal.message(
            f"the keys of session {name} are now these: they hold at the next login, a moment later"
        )
        return found.metadata.uid, status.start
    if other and not closed:
        raise Problem(
            f"session {name} runs with other values than these",
            f"spec.{', spec.'.join(other)}",
            f"leave the options out to connect to it; to change it: ganger dev stop {name}, then the same command",
            code=Code.USAGE,
        )
    if not closed:
        return found.metadata.uid, status.start
    offset = timedelta(seconds=connection.cluster.server_offset_seconds())
    now = (session.now() + offset).astimezone(UTC) + timedelta(seconds=1)  # a second later than an end just now
    patch = {
        "metadata": {"annotations": {ANNOTATION_START: f"{now:%Y-%m-%dT%H:%M:%SZ}"}},
        "spec": {field: replacing(stored.get(field), value) for field, value in other.items()} | {"suspend": False},
    }
    with doing(f"starting session {name} again"):
        await connection.cluster.patch(DEV_SESSIONS, connection.namespace, name, patch)
    session.terminal.message(f"session {name} is started again; it was {sessions.phase(found).lower()}")
    return found.metadata.uid, status.start + (1 if status.ended else 0)


def replacing(old: Any, new: Any) -> Any:
    """Return the merge patch that makes `new` of `old`: what is not in it goes. Pure."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    gone = {key: None for key in old if key not in new}
    return gone | {key: replacing(old.get(key), value) for key, value in new.items()}


async def until_open(session: Session, connection: Connection, name: str, uid: str, start: int) -> DevSession:
    """Return the session once it runs, telling the way there. Raises Problem where it ends instead."""
    told = ""
    silence = asyncio.create_task(_hint(session))
    try:
        async for found in sessions.changes(connection, name, uid=uid):
            status = found.status
            if status.phase is not None:
                silence.cancel()
            if status.start >= start and sessions.is_open(found):
                return found
            if status.start >= start and status.ended:
                raise Problem(
                    f"session {name} is {sessions.phase(found).lower()}",
                    escape(status.message or ""),
                    f"'ganger dev logs {name}' shows what it said; the same command starts it again",
                )
            text = f"{name}: {sessions.phase(found)}" + (f": {status.message}" if status.message else "")
            if status.start >= start and status.phase is not None and text != told:
                told = text
                session.terminal.message(escape(text), "dim")
    except asyncio.CancelledError:
        session.terminal.message(f"{name} goes on starting; connect with: ganger dev connect {name}")
        raise
    finally:
        silence.cancel()
    raise Problem(f"session {name} was deleted", "", "'ganger dev ls' shows what is left", code=Code.NOT_FOUND)


async def _hint(session: Session) -> None:
    await asyncio.sleep(SILENCE_SECONDS)
    text = "no operator has looked at the session: 'ganger doctor' shows whether one runs and knows DevSessions"
    session.terminal.message(text, "yellow")
