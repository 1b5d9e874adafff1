"""Reading dev sessions from the cluster, and what is told of them."""

import contextlib
from collections.abc import AsyncIterator

from ganger.api.observed import Pod
from ganger.api.session import DevSession
from ganger.cli import jobs
from ganger.cli.connection import Connection
from ganger.cli.live import live
from ganger.cli.problem import INSTALL, Code, Problem, doing
from ganger.contract import API_GROUP, SESSION_KIND
from ganger.kube.errors import NotFound
from ganger.kube.resources import DEV_SESSIONS, PODS
from ganger.plan import sessionname


async def read(connection: Connection, name: str) -> DevSession:
    """Return a session. Raises Problem."""
    found = await find(connection, name)
    if found is None:
        raise missing(connection, name)
    return found


async def find(connection: Connection, name: str) -> DevSession | None:
    """Return a session, or None where there is none. Raises Problem where the cluster knows no sessions at all."""
    with doing(f"reading session {name} in namespace {connection.namespace}"):
        try:
            body = await connection.cluster.get(DEV_SESSIONS, connection.namespace, name)
        except NotFound as error:
            if f'"{name}" not found' in error.message:
                return None
            why = "the API server serves no DevSessions: the operator is not installed, or older than this program"
            fix = f"upgrade it: {INSTALL.replace('install ', 'upgrade --install ', 1)}"
            raise Problem("there are no dev sessions in this cluster", why, fix, code=Code.NOT_FOUND) from error
    return jobs.typed(body, DevSession)


def missing(connection: Connection, name: str) -> Problem:
    """Return the problem of a session that is not there."""
    return Problem(
        f"there is no session {name} in namespace {connection.namespace}",
        "",
        f"'ganger dev ls -A' shows those of every namespace, 'ganger dev up {name}' makes one",
        code=Code.NOT_FOUND,
    )


async def changes(connection: Connection, name: str, *, uid: str = "") -> AsyncIterator[DevSession]:
    """Yield the session at once and after every change, until it is gone. Raises Problem where there is none."""
    known = uid
    with doing(f"watching session {name} in namespace {connection.namespace}"):
        selector = f"metadata.name={name}"
        async for found in live(connection, DEV_SESSIONS, jobs.reader(DevSession), field_selector=selector):
            session = found.get(name)
            if session is None and not known:
                raise missing(connection, name)
            if session is None or (known and session.metadata.uid != known):
                return
            known = session.metadata.uid
            yield session


async def pod(connection: Connection, session: DevSession) -> Pod | None:
    """Return the pod of the present start, or None where it is not there."""
    name = session.status.pod
    if not name:
        return None
    with doing(f"reading pod {name}"), contextlib.suppress(NotFound):
        return jobs.typed(await connection.cluster.get(PODS, connection.namespace, name), Pod)
    return None


def phase(session: DevSession) -> str:
    """Return its phase; Pending before the operator has looked."""
    return session.status.phase or "Pending"


def is_open(session: DevSession) -> bool:
    """Whether its pod is ready."""
    return session.status.phase == "Running" and not session.status.ended


def what_stays(session: DevSession) -> str:
    """Return what is kept of a session whose pod goes."""
    storage = session.spec.storage
    if storage is None:
        return "it has no storage (spec.storage): what was in /workspace goes with its pod"
    claim = storage.claim_name or sessionname.claim(session.metadata.name)
    return f"claim {claim} and what is in /workspace stay"


def as_name(name: str) -> str:
    """Return a session's name as kubectl writes it."""
    return f"{SESSION_KIND.lower()}.{API_GROUP}/{name}"


def closed(session: DevSession) -> Problem:
    """Return the problem of a session whose doors are closed now: why, and what opens them."""
    name = session.metadata.name
    if session.status.ended:
        fix = f"'ganger dev up {name}' starts it again"
    else:
        fix = f"'ganger dev up {name}' waits until it runs"
    why = session.status.message or "no operator has looked at it yet"
    return Problem(f"session {name} is {phase(session).lower()}", why, fix, code=Code.REFUSED)
