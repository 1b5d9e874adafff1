"""What a command is given besides its arguments: the terminal, the clock and the way to the cluster.

A test passes a session of its own, with a fake cluster in it, and needs no patching.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from ganger.cli.terminal import Terminal

if TYPE_CHECKING:
    from ganger.cli.connection import Connection

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Which cluster and namespace the person named; None means as the kubeconfig says."""

    namespace: str | None = None
    context: str | None = None
    kubeconfig: str | None = None


@asynccontextmanager
async def _connect(target: Target) -> AsyncIterator["Connection"]:
    # The client library costs most of a second, and offline commands must work without it.
    from ganger.cli import connection

    async with connection.connect(target) as found:
        yield found


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(kw_only=True, slots=True)
class Session:
    """One call of the command line."""

    terminal: Terminal = field(default_factory=Terminal)
    debug: bool = False
    connect: Callable[[Target], AbstractAsyncContextManager["Connection"]] = _connect
    now: Callable[[], datetime] = _now

    def with_cluster(self, target: Target, body: Callable[["Connection"], Awaitable[Result]]) -> Result:
        """Return what `body` returns, given a connection that is closed afterwards. Ctrl-C cancels it."""

        async def connected() -> Result:
            async with self.connect(target) as connection:
                return await body(connection)

        return asyncio.run(connected())
