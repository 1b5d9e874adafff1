"""A shell in a pod of its own that is like those of a job: a dev session without doors, gone with the shell."""

import asyncio
import contextlib
import secrets
from collections.abc import Sequence
from typing import Any

from ganger.cli import sessions
from ganger.cli.attaching import attached
from ganger.cli.connection import Connection
from ganger.cli.devup import until_open
from ganger.cli.problem import Code, Problem, doing
from ganger.cli.session import Session
from ganger.contract import API_GROUP, API_VERSION, SESSION_CONTAINER, SESSION_KIND
from ganger.kube.errors import ApiError
from ganger.kube.resources import DEV_SESSIONS

# A shell counts as no activity of a session, so it is never idle; one whose owner has vanished ends after this.
LIFE_SECONDS = 12 * 3600
_NAME_CHARACTERS_MAX = 29  # with the rest no more than the 40 of a session's name


async def opened(session: Session, connection: Connection, job: str, image: str, command: Sequence[str]) -> int:
    """Make the pod, run the command in it and return its exit code. The pod goes, whatever happens. Raises Problem."""
    name = f"{job[:_NAME_CHARACTERS_MAX].rstrip('-')}-shell-{secrets.token_hex(2)}"
    if await sessions.find(connection, name) is not None:
        raise Problem(f"session {name} is there already", "", "run the command again", code=Code.REFUSED)
    spec: dict[str, Any] = {"fromJob": job, "jupyter": False, "idleSeconds": 0, "maxSeconds": LIFE_SECONDS}
    spec |= {"image": image} if image else {}
    manifest = {
        "apiVersion": f"{API_GROUP}/{API_VERSION}",
        "kind": SESSION_KIND,
        "metadata": {"name": name, "namespace": connection.namespace},
        "spec": spec,
    }
    with doing(f"making a pod like those of {job}"):
        made = await connection.cluster.create(DEV_SESSIONS, connection.namespace, manifest)
    try:
        found = await until_open(session, connection, name, made.uid, 0)
        return await attached(connection, found.status.pod, SESSION_CONTAINER, command)
    finally:
        with contextlib.suppress(ApiError):
            # Shielded: Ctrl-C ends the shell, and the pod with it.
            await asyncio.shield(
                asyncio.ensure_future(connection.cluster.delete(DEV_SESSIONS, connection.namespace, name, uid=made.uid))
            )
