"""What a report to the operator says, and what is done with its answer. The transport is `channel`.

Only the channel's thread calls it.
"""

import math
from collections import deque
from typing import Any, Final

from ganger_trainer import lastword
from ganger_trainer.board import Board
from ganger_trainer.environment import Worker
from ganger_trainer.save_requests import SaveRequests
from ganger_trainer.stacks import Listeners

DONE_MAX: Final = 16
NAME_CHARACTERS_MAX: Final = 64  # of a metric or the id of a directive


class Dispatch:
    """Speaks for one worker. `listeners`: the processes that can be asked for their stacks."""

    def __init__(self, spec: Worker, board: Board, requests: SaveRequests, listeners: Listeners) -> None:
        self._spec = spec
        self._board = board
        self._requests = requests
        self._listeners = listeners
        self._done: deque[str] = deque(maxlen=DONE_MAX)

    def phase(self) -> str | None:
        """Return the phase of this worker, None while there is nothing to report.

        That is until all its processes exist: they are forks of this one, and a fork taken in the middle of a look-up
        or a handshake could inherit a lock that nobody opens again.
        """
        return self._board.phase() if self._board.started() >= self._spec.processes else None

    def report(self) -> dict[str, Any]:
        """Return the body of a report of the contract, without its sequence."""
        spec, board = self._spec, self._board
        body: dict[str, Any] = {"attempt": spec.attempt, "worker": spec.worker, "phase": board.phase()}
        body |= lastword.progress(board)
        if metrics := body.pop("metrics", None):
            body["metrics"] = {name: value for name, value in metrics.items() if 0 < len(name) <= NAME_CHARACTERS_MAX}
        by_rank = board.progress_by_rank()
        if by_rank:
            last = by_rank[min(by_rank)]
            for key, value in (("samplesPerSecond", last.samples_per_second), ("learningRate", last.learning_rate)):
                if value is not None and math.isfinite(value):
                    body[key] = value
        if spec.task is not None or by_rank:  # a script that has said nothing may train or not: nobody knows
            body["seconds"] = {cause: round(seconds, 3) for cause, seconds in board.seconds().items()}
        _, failures, _ = board.checkpoint()
        if failures:
            body["checkpointFailures"] = failures
        if self._done:
            body["done"] = list(self._done)
        return body

    def obey(self, directives: Any) -> None:
        """Do each directive that is new and known, once. What is not a list of the contract's objects is passed over.

        Raises OSError if one could not be begun; the operator then asks again.
        """
        for directive in directives[:DONE_MAX] if isinstance(directives, list) else []:
            if not isinstance(directive, dict):
                continue
            name, kind = directive.get("id"), directive.get("kind")
            if not isinstance(name, str) or not 0 < len(name) <= NAME_CHARACTERS_MAX or name in self._done:
                continue
            if kind == "Checkpoint":
                self._checkpoint()
            elif kind == "DumpStacks":
                self._dump_stacks()
            else:
                continue
            self._done.append(name)

    def _checkpoint(self) -> None:
        spec = self._spec
        if spec.task is not None and spec.checkpoint_dir is None:
            print("a checkpoint was asked for, but this job keeps none: set spec.checkpoint", flush=True)
        elif spec.task is None or spec.worker == 0:  # of a task's gang rank 0 decides, for all
            self._requests.ask()
            print("a checkpoint was asked for", flush=True)

    def _dump_stacks(self) -> None:
        if self._listeners.dump() == 0:
            print("stacks were asked for, but no process of this worker can show them", flush=True)
