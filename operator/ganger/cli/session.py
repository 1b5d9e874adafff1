"""What a command is given besides its arguments: the terminal, the clock and the way to the cluster.

A test passes a session of its own, with a fake cluster in it, and needs no patching.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from ganger.cli.terminal import Terminal, escape

if TYPE_CHECKING:
    from ganger.cli.connection import Connection

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Which cluster and namespace the person named; None means as the kubeconfig says.

    act_as, act_as_groups: whom to impersonate. seconds: how long one request may take, None for the usual time.
    """

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None
    act_as: str | None = None
    act_as_groups: tuple[str, ...] = ()
    seconds: int | None = None


@asynccontextmanager
async def _connect(target: Target) -> AsyncIterator["Connection"]:
    # The client library costs most of a second, and offline commands must work without it.
    from ganger.cli import connection

    async with connection.connect(target) as found:
        yield found


def _names(target: Target, plural: str) -> list[str] | None:
    from ganger.cli import quick

    return quick.names(target, plural)


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(kw_only=True, slots=True)
class Session:
    """One call of the command line.

    names: the names of one kind of object, asked without the client library; None where that is needed.
    """

    terminal: Terminal = field(default_factory=Terminal)
    debug: bool = False
    connect: Callable[[Target], AbstractAsyncContextManager["Connection"]] = _connect
    names: Callable[[Target, str], list[str] | None] = _names
    now: Callable[[], datetime] = _now

    def with_cluster(self, target: Target, body: Callable[["Connection"], Awaitable[Result]]) -> Result:
        """Return what `body` returns, given a connection that is closed afterwards. Ctrl-C cancels it."""

        async def connected() -> Result:
            async with self.connect(target) as connection:
                connection.warnings.tell = self._warn
                return await body(connection)

        return asyncio.run(connected())

    def _warn(self, text: str) -> None:
        self.terminal.message(f"warning: {escape(text)}", "yellow")
