"""`ganger dev stop` and `ganger dev delete`: the pod goes, and what stays is said."""

import sys

import click

from ganger.api.session import DevSession
from ganger.cli import arguments, sessions
from ganger.cli.connection import Connection
from ganger.cli.problem import Code, Problem, doing
from ganger.cli.session import Session, Target
from ganger.kube.resources import DEV_SESSIONS


@click.command()
@arguments.session_name
@arguments.on_cluster
@arguments.pass_session
def stop(session: Session, target: Target, name: str) -> Code:
    """Stop a session and say what stays.

    \b
    Examples:
      ganger dev stop try
    """

    async def body(connection: Connection) -> None:
        found = await stopped(connection, name)
        if found.spec.suspend:
            session.terminal.data(f"{name} is stopped already")
            return
        session.terminal.data(f"{name} stopped")
        session.terminal.message(sessions.what_stays(found))
        session.terminal.message(f"begin again with: ganger dev up {name} -n {connection.namespace}")

    session.with_cluster(target, body)
    return Code.COMPLETE


@click.command()
@arguments.session_name
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@arguments.on_cluster
@arguments.pass_session
def delete(session: Session, target: Target, name: str, yes: bool) -> Code:
    """Delete a session and say what stays.

    \b
    Examples:
      ganger dev delete try
    """
    found = session.with_cluster(target, lambda connection: sessions.read(connection, name))
    stays = sessions.what_stays(found)
    if not yes:
        if not sys.stdin.isatty():
            why = "deleting asks first, and there is no terminal to answer from"
            raise Problem(f"session {name} was not deleted", why, "add --yes", code=Code.USAGE)
        question = f"Delete session {name} in namespace {found.metadata.namespace} ({sessions.phase(found)}; {stays})?"
        if not click.confirm(question, default=False, err=True):
            raise Problem("nothing was deleted")

    session.with_cluster(target, lambda connection: deleted(connection, found))
    session.terminal.data(f"{name} deleted")
    session.terminal.message(stays)
    return Code.COMPLETE


async def stopped(connection: Connection, name: str) -> DevSession:
    """Stop a session and return it as it was before. Raises Problem."""
    found = await sessions.read(connection, name)
    if not found.spec.suspend:
        with doing(f"stopping session {name}"):
            await connection.cluster.patch(DEV_SESSIONS, connection.namespace, name, {"spec": {"suspend": True}})
    return found


async def deleted(connection: Connection, found: DevSession) -> None:
    """Delete this very session: another one may have taken its name. Raises Problem."""
    name = found.metadata.name
    with doing(f"deleting session {name}"):
        await connection.cluster.delete(DEV_SESSIONS, connection.namespace, name, uid=found.metadata.uid)
