"""`client.sessions`: the verbs of `ganger dev` as calls that return typed values."""

import builtins
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Literal

import click
from msgspec import Struct

from ganger.api.session import DevSession
from ganger.cli import devconnect, devend, devlogs, devspec, devup, devwait, jobs, sessions
from ganger.cli.connection import Connection
from ganger.cli.forwarding import LOOPBACK
from ganger.cli.problem import Code, Problem, doing
from ganger.client.link import Link, within
from ganger.kube.resources import DEV_SESSIONS


class Door(Struct, frozen=True, kw_only=True):
    """A way into Jupyter, for as long as it is held. port: of this machine. token: who has it may use the session."""

    port: int
    token: str

    @property
    def address(self) -> str:
        """The address for a browser; the token is in it."""
        return f"{self.server}/lab?token={self.token}"

    @property
    def server(self) -> str:
        """The address of the server, for clients that take the token apart from it."""
        return f"http://{LOOPBACK}:{self.port}"


class Sessions:
    """Dev sessions of the client's namespace. Made by `Client`; calls raise `Problem`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def up(
        self,
        name: str,
        *,
        from_job: str | None = None,
        gpus: int | None = None,
        cpu: str = "",
        memory: str = "",
        image: str = "",
        storage: str = "",
        idle_seconds: int | None = None,
        max_seconds: int | None = None,
        ssh_keys: Sequence[str | os.PathLike[str]] = (),
        ssh: bool = True,
        jupyter: bool = True,
        manifest: str | os.PathLike[str] | None = None,
        seconds: float | None = None,
    ) -> DevSession:
        """Make a session, or start one that has ended again, and return it once it runs.

        The arguments are the options of `ganger dev up`. ssh_keys: files of public keys, else those of ~/.ssh.
        manifest: the path of one that says the rest. seconds: how long to wait; it goes on starting after it.
        """
        options = devspec.Given(
            from_job=from_job,
            gpus=gpus,
            cpu=cpu,
            memory=memory,
            image=image,
            storage=storage,
            idle=idle_seconds,
            max_=max_seconds,
            keys=tuple(Path(key) for key in ssh_keys),
            no_ssh=not ssh,
            no_jupyter=not jupyter,
            file=os.fspath(manifest) if manifest is not None else None,
        )
        whole = _checked(name, options)

        async def body(connection: Connection) -> DevSession:
            uid, start = await devup.ensured(self._link.session, connection, whole, options)
            async with within(seconds, f"session {name} does not run", "it goes on starting: 'get' tells of it"):
                return await devup.until_open(self._link.session, connection, name, uid, start)

        return self._link.call(body)

    def list(self, *, all_namespaces: bool = False) -> builtins.list[DevSession]:
        """Return the sessions of the namespace, or of all of them."""

        async def body(connection: Connection) -> builtins.list[DevSession]:
            where = None if all_namespaces else connection.namespace
            with doing("listing sessions"):
                found, _ = await jobs.items(connection, DEV_SESSIONS, where)
            return [jobs.typed(one, DevSession) for one in found]

        return self._link.call(body)

    def get(self, name: str) -> DevSession:
        """Return a session; `status.phase` tells whether it runs."""
        return self._link.call(lambda connection: sessions.read(connection, name))

    def wait(
        self, name: str, goal: Literal["running", "ended"] = "running", *, seconds: float | None = None
    ) -> DevSession:
        """Return the session once it runs or has ended.

        Raises Problem: its code is FAILED where it ended before it ran or failed, TIMEOUT after so many seconds,
        NOT_FOUND where it is not there any more, USAGE for another goal.
        """
        if goal not in devwait.GOALS:
            raise Problem(f"{goal!r} is none of {', '.join(devwait.GOALS)}", code=Code.USAGE)

        async def body(connection: Connection) -> DevSession:
            async with within(seconds, f"session {name} is not {goal}", "'get' tells what it waits for"):
                found, code = await devwait.until(connection, name, goal)
            if code != Code.COMPLETE:
                what = f"session {name} is {sessions.phase(found).lower()}"
                raise Problem(what, found.status.message or "", "'up' starts it again", code=code)
            return found

        return self._link.call(body)

    @contextmanager
    def connect(self, name: str, *, port: int | None = None) -> Iterator[Door]:
        """Forward a port of this machine to Jupyter for as long as the context lasts. Nothing else listens.

        port: which one, else 8888 or a free one. It reads the Secret of the session, so it takes the right to.
        """
        stack = AsyncExitStack()

        async def body(connection: Connection) -> Door:
            found = await sessions.read(connection, name)
            if not sessions.is_open(found):
                raise sessions.closed(found)
            address, _ = await stack.enter_async_context(
                devconnect.opened(connection, found, port=port, tell=lambda why: None)
            )
            server, _, token = address.partition("/lab?token=")
            return Door(port=int(server.rpartition(":")[2]), token=token)

        door = self._link.call(body)
        try:
            yield door
        finally:
            if not self._link.closed:  # with the client it is closed already
                self._link.run(stack.aclose())

    def logs(self, name: str, *, follow: bool = False, tail: int | None = None) -> Iterator[str]:
        """Yield what the session's supervisor and servers said, line by line; following, until its pod ends."""

        def lines(connection: Connection) -> AsyncIterator[str]:
            return devlogs.read(connection, name, follow=follow, tail=tail)

        return self._link.stream(lines)

    def stop(self, name: str) -> None:
        """Stop a session: its pod goes, its storage stays. Does nothing where it is stopped already."""
        self._link.call(lambda connection: devend.stopped(connection, name))

    def delete(self, name: str) -> None:
        """Delete a session and its pod; the claim of its storage stays."""

        async def body(connection: Connection) -> None:
            found = await sessions.read(connection, name)
            await devend.deleted(connection, found)

        self._link.call(body)


def _checked(name: str, options: devspec.Given) -> dict[str, object]:
    """Return the manifest of the session. Raises Problem with every mistake."""
    try:
        whole, mistakes, _ = devspec.checked(name, options)
    except click.UsageError as error:
        raise Problem(error.message, code=Code.USAGE) from error
    if mistakes:
        why = "; ".join(str(mistake) for mistake in mistakes)
        raise Problem(f"session {name} was not made", why, "correct what is named", code=Code.USAGE)
    return whole
