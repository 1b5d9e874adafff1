"""What a report to the operator says, and what is done with its answer. The transport is `channel`.

Only the channel's thread calls it.
"""

import math
from collections import deque
from pathlib import Path
from typing import Any, Final

import msgspec

from ganger.contract import LIVE_CONFIG_BYTES_MAX, REPORT_RANKS_MAX
from ganger_trainer import grace, heartbeat, lastword
from ganger_trainer.board import Board
from ganger_trainer.environment import Worker
from ganger_trainer.live_requests import LiveRequests
from ganger_trainer.rounds import Orders
from ganger_trainer.save_requests import SaveRequests
from ganger_trainer.stacks import Listeners, Shelf

DONE_MAX: Final = 16
NAME_CHARACTERS_MAX: Final = 64  # of a metric or the id of a directive


class Dispatch:
    """Speaks for one worker.

    listeners: the processes that can be asked for their stacks. pages: heartbeats. orders: who hears of rounds.
    live: who hears of live settings.
    """

    def __init__(
        self,
        spec: Worker,
        board: Board,
        requests: SaveRequests,
        listeners: Listeners,
        pages: Path,
        orders: Orders | None = None,
        live: LiveRequests | None = None,
    ) -> None:
        self._spec = spec
        self._board = board
        self._requests = requests
        self._listeners = listeners
        self._pages = pages
        self._orders = orders or Orders(spec.round)
        self._live = live or LiveRequests(None)
        directory = spec.checkpoint_dir
        self._shelf = Shelf(directory, attempt=spec.attempt, worker=spec.worker) if directory is not None else None
        self._done: deque[str] = deque(maxlen=DONE_MAX)

    def phase(self) -> str | None:
        """Return the phase of this worker, None while there is nothing to report.

        That is until all its processes exist: they are forks of this one, and a fork taken in the middle of a look-up
        or a handshake could inherit a lock that nobody opens again.
        """
        phase = self._board.phase()
        return phase if phase == "Failed" or self._board.started() >= self._spec.processes else None

    def report(self) -> dict[str, Any]:
        """Return the body of a report of the contract, without its sequence."""
        spec, board = self._spec, self._board
        body: dict[str, Any] = {"attempt": spec.attempt, "worker": spec.worker, "phase": board.phase()}
        if self._orders.round:
            body["round"] = self._orders.round
        if failure := board.failure():
            body |= {"phase": "Failed", "failure": failure}
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
        if (trouble := board.checkpoint_trouble()) is not None:
            failed, in_a_row = trouble
            body["checkpointTrouble"] = {
                "inARow": in_a_row, "reason": failed.reason,
                "message": failed.message[: lastword.MESSAGE_CHARACTERS_MAX],
            }  # fmt: skip
        if (live := board.live(spec.processes)) is not None:
            body["live"] = {"step": live.step, "values": live.values, "refused": live.refused}
        if self._done:
            body["done"] = list(self._done)
        return body | self._beats()

    def _beats(self) -> dict[str, Any]:
        """Return where each local rank is, what its stages took at most, and what a stop would take.

        Of the stages the least of the ranks counts: while one evaluates, the others wait in a step, and that is no slow
        step.
        """
        first = self._spec.first_rank
        beats = heartbeat.read(self._pages, list(range(first, first + min(self._spec.processes, REPORT_RANKS_MAX))))
        if not beats:
            return {}
        ranks = [
            {
                "rank": rank, "step": beat.step, "stage": beat.stage, "ageSeconds": round(beat.age_seconds, 3),
                "steps": beat.steps, "busySeconds": round(beat.busy_seconds, 6), "state": beat.state,
            }
            for rank, beat in beats.items()
        ]  # fmt: skip
        longest = {
            name: round(min((value for value in values if value), default=0.0), 3)
            for name, values in (
                ("first", [beat.first for beat in beats.values()]),
                ("step", [beat.longest for beat in beats.values()]),
                ("evaluation", [beat.evaluation for beat in beats.values()]),
                ("checkpoint", [beat.checkpoint for beat in beats.values()]),
            )
        }
        found: dict[str, Any] = {"ranks": ranks, "longest": longest}
        saves = self._board.save_seconds()
        if saves:
            found["graceSecondsNeeded"] = round(grace.seconds_needed(longest, max(saves)), 3)
        return found

    def order(self, answer: dict[str, Any]) -> None:
        """Take in what an answer says of the round to be in, and of live settings. Raises OSError as `obey` does."""
        self._orders.hear(answer)
        wanted = answer.get("live")
        if self._spec.task is None or not isinstance(wanted, dict):
            return
        text = msgspec.json.encode(wanted, order="sorted").decode()
        if text != (self._live.asked() or self._spec.live_json) and len(text) <= LIVE_CONFIG_BYTES_MAX:
            self._live.ask(text)

    def refused(self) -> None:
        """Note that the operator does not answer this worker."""
        self._orders.refuse()

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
        stacks = self._listeners.dump()
        if not stacks:
            print("stacks were asked for, but no process of this worker can show them", flush=True)
        elif self._shelf is not None:
            self._shelf.keep(stacks)
