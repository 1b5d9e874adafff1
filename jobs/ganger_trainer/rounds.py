"""Another round of this worker's processes in the same pod, when the operator orders it.

The order (docs/adr/0010-restart-ladder.md) comes with the answer to a report: to a worker that failed and waits for it,
or to one that still runs while a worker elsewhere has failed. Without an order a worker ends as it always did: training
never depends on the operator.
"""

import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from ganger.contract import ROUNDS_MAX
from ganger_trainer.environment import Worker

RUNGS: Final = ("Process", "Container")
START_SECONDS_MAX: Final = 86_400.0
AGENT_SECONDS: Final = 12.0  # for the agent to see that its ranks are gone; longer than it gives them after SIGTERM


class Order(Struct, frozen=True, kw_only=True):
    """Be in `round`: by new processes, or (rung Container) by a new container, not before monotonic `start`."""

    round: int
    rung: str
    start: float
    heard: float


class Orders:
    """The newest order that is not carried out yet. Heard on the channel's thread, waited for on the main thread.

    round: the present one. ordered: called for each new order, to end the processes that still run.
    """

    def __init__(self, round_: int = 0, ordered: Callable[[], None] = lambda: None) -> None:
        self.round = round_
        self._ordered = ordered
        self._order: Order | None = None
        self._answered = threading.Event()

    def hear(self, answer: Mapping[str, Any]) -> None:
        """Take in an answer of the operator. What is not an order of the contract changes nothing."""
        number, rung, wait = answer.get("round"), answer.get("rung"), answer.get("startSeconds", 0.0)
        known = self._order.round if self._order is not None else self.round
        if type(number) is not int or not known < number < ROUNDS_MAX or rung not in RUNGS:
            return
        seconds = float(wait) if type(wait) in (int, float) else 0.0
        now = time.monotonic()
        start = now + max(0.0, min(seconds, START_SECONDS_MAX))
        self._order = Order(round=number, rung=rung, start=start, heard=now)
        self._answered.set()
        self._ordered()

    def refuse(self) -> None:
        """Note that no order will come."""
        self._answered.set()

    def expect(self) -> None:
        """Forget what was refused so far: from now on an answer is waited for."""
        self._answered.clear()

    def wait(self, seconds: float) -> Order | None:
        """Return the order as soon as there is one, None when none came within `seconds` or none will."""
        if self._order is None:
            self._answered.wait(seconds)
        return self._order

    @property
    def pending(self) -> Order | None:
        """The order that is not carried out yet."""
        return self._order

    @property
    def overdue(self) -> bool:
        """Whether an order is so old that the agent will not return for it: it waits for peers that do not come."""
        return self._order is not None and time.monotonic() - self._order.heard > AGENT_SECONDS

    def begin(self) -> None:
        """Be in the round that was ordered."""
        if self._order is not None:
            self.round, self._order = self._order.round, None
        self._answered.clear()


def note(spec: Worker) -> Path:
    """Return the file that carries the number of the round from one container of a pod to the next."""
    return Path(tempfile.gettempdir()) / f"ganger-round-{spec.job_uid}-{spec.attempt}-{spec.worker}"


def write(spec: Worker, round_: int) -> None:
    """Leave the number for the supervisor in the next container of this pod. Raises OSError."""
    note(spec).write_text(str(round_))


def read(spec: Worker) -> int:
    """Return the number that the supervisor before this one left, 0 where there was none."""
    with contextlib.suppress(OSError, ValueError):
        number = int(note(spec).read_text())
        return number if 0 < number < ROUNDS_MAX else 0
    return 0
