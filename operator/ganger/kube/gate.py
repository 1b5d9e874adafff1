"""The single door for every mutating call: it can be shut by the lease, and tests make it fail at any point.

Crash points follow Anvil's and sieve's method: enumerate every write of a run, then run again and die before it, after
it, or lose its answer. Election writes and events are many and carry no state of a job, so they take no number.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, TypeVar

from ganger.kube.errors import Unreachable
from ganger.kube.resources import EVENTS, LEASES, SECRETS, Resource

Reply = TypeVar("Reply")
Mode = Literal["before", "after", "lost"]
# The fence of one task and of all that it starts, in place of the gate's: its work belongs to one of several leases.
FENCE: ContextVar[Callable[[], bool] | None] = ContextVar("FENCE", default=None)


class Fenced(Exception):  # noqa: N818 - it names a state of ours, as the other errors of this room do
    """The lease is not held any more: nothing was sent."""


class Crash(BaseException):
    """A test's death of the process at a write. Not an Exception: no handler may swallow it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Write:
    """One mutating call, as the crash plan and the log name it."""

    verb: str
    resource: Resource
    namespace: str | None
    name: str
    subresource: str = ""

    def __str__(self) -> str:
        path = f"{self.verb} {self.resource.plural}/{self.namespace or ''}/{self.name}"
        return f"{path}/{self.subresource}" if self.subresource else path


class WriteGate:
    """Lets writes through while the fence holds.

    fence: asked before each write but those of the election itself, where the task has no FENCE of its own; False
    raises Fenced. It may be set later.
    plan: {number of the write, from 0: mode}. before: dies unsent. after: dies once it is acknowledged.
    lost: it is acknowledged, but the caller sees Unreachable. log: takes every numbered write, in order.
    """

    def __init__(
        self,
        *,
        fence: Callable[[], bool] = lambda: True,
        plan: Mapping[int, Mode] | None = None,
        log: list[Write] | None = None,
    ) -> None:
        self.fence = fence
        self.count = 0
        self._plan = dict(plan or {})
        self._log = log

    async def call(self, write: Write, send: Callable[[], Awaitable[Reply]]) -> Reply:
        """Return what `send` returns. Raises Fenced, and what `send` raises."""
        # Both are compare-and-swap: the lease is the fence itself, and a standby needs a certificate too. Secrets that
        # are created are those of sessions.
        if write.resource == LEASES or (write.resource == SECRETS and write.verb != "create"):
            return await send()
        if not (FENCE.get() or self.fence)():
            raise Fenced(str(write))
        if write.resource == EVENTS:
            return await send()
        mode = self._number(write)
        if mode == "before":
            raise Crash(str(write))
        reply = await send()
        if mode == "after":
            raise Crash(str(write))
        if mode == "lost":
            raise Unreachable(f"{write}: the answer was lost on purpose")
        return reply

    def _number(self, write: Write) -> Mode | None:
        # Counted before acting: else a process that is started again would die at the same write for ever.
        mode = self._plan.get(self.count)
        self.count += 1
        if self._log is not None:
            self._log.append(write)
        return mode
