"""The way of one client to its cluster: opened at the first call, kept until it is closed, used from any thread."""

import asyncio
import os
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

from ganger.cli.connection import Connection
from ganger.cli.problem import Code, Problem, from_api
from ganger.cli.session import Session, Target
from ganger.cli.terminal import Terminal
from ganger.client.background import Background
from ganger.kube.errors import ApiError

T = TypeVar("T")


class _Silent(Terminal):
    """Nobody reads along: what a command would say is in what a call returns."""

    def data(self, text: str) -> None:
        return

    def message(self, text: str, *styles: str) -> None:
        return


def _warn(text: str) -> None:
    warnings.warn(f"the API server warns: {text}", stacklevel=2)


@asynccontextmanager
async def within(seconds: float | None, what: str, fix: str = "") -> AsyncIterator[None]:
    """Turn the end of the time into a Problem. what: what is not the case then. fix: what to do, None for the usual."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        fix = fix or "'describe' tells what the job does or waits for"
        raise Problem(f"{what} after {seconds} s", "", fix, code=Code.TIMEOUT) from None


def target(
    namespace: str | None,
    context: str | None,
    kubeconfig: str | os.PathLike[str] | None,
    act_as: str | None,
    act_as_groups: tuple[str, ...],
    request_seconds: int | None,
) -> Target:
    """Return which cluster is meant."""
    return Target(
        namespace=namespace,
        context=context,
        kubeconfig=os.fspath(kubeconfig) if kubeconfig is not None else None,
        act_as=act_as,
        act_as_groups=act_as_groups,
        seconds=request_seconds,
    )


class Link:
    """A connection that opens itself. Every call raises Problem and nothing else where the cluster refuses."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.session = Session(terminal=_Silent())
        self.closed = False
        self._background = Background()
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._connection: Connection | None = None

    @property
    def namespace(self) -> str:
        """The namespace that calls are about."""
        return self.run(self._open()).namespace

    def call(self, body: Callable[[Connection], Coroutine[Any, Any, T]]) -> T:
        """Return what the body returns, given the connection."""

        async def connected() -> T:
            return await body(await self._open())

        return self.run(connected())

    def stream(self, make: Callable[[Connection], AsyncIterator[T]]) -> Iterator[T]:
        """Yield what the stream yields, given the connection."""
        self._refuse_closed()

        async def connected() -> AsyncIterator[T]:
            async for item in make(await self._open()):
                yield item

        try:
            yield from self._background.iterate(connected())
        except ApiError as error:
            raise from_api(error, "the request") from error

    def run(self, body: Coroutine[Any, Any, T]) -> T:
        """Return what the coroutine returns. It runs on the loop of this link."""
        if self.closed:
            body.close()
        self._refuse_closed()
        try:
            return self._background.run(body)
        except ApiError as error:
            raise from_api(error, "the request") from error

    def close(self) -> None:
        """Close the connections; iterators that still wait end with an error."""
        if not self.closed:
            self.closed = True
            self._background.run(self._stack.aclose())
            self._background.close()

    async def _open(self) -> Connection:
        async with self._opening:
            if self._connection is None:
                self._connection = await self._stack.enter_async_context(self.session.connect(self.target))
                self._connection.warnings.tell = _warn
            return self._connection

    def _refuse_closed(self) -> None:
        if self.closed:
            raise Problem("the client is closed", "", "make another one", code=Code.USAGE)
