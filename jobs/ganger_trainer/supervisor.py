"""PID 1 of a trainer container: starts the workers, passes SIGTERM on, serves /metrics, reports, and has the last word.

Processes that failed may be started anew here, as another round, when the operator says so (`rounds`).
The main thread only waits, so that signals are handled at once; the elastic agent works on a thread beside it.
It ends by os._exit: worker 0's TCP store would otherwise hold the process until every other pod has hung up.
"""

import contextlib
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import NoReturn

import msgspec

from ganger.contract import ENV_TERMINATION_LOG, RESTART_CONTAINER_EXIT_CODE, RESTART_WAIT_SECONDS, ExitCode
from ganger_trainer import clues, environment, exposition, halt, kills, lastword, rounds
from ganger_trainer.board import Board
from ganger_trainer.channel import Channel
from ganger_trainer.dispatch import Dispatch
from ganger_trainer.environment import Worker
from ganger_trainer.failures import VICTIMS, UserError, classify
from ganger_trainer.kills import Kills
from ganger_trainer.lastlines import LastLines
from ganger_trainer.live_requests import LiveRequests
from ganger_trainer.oom import OutOfMemory
from ganger_trainer.orphans import Orphans
from ganger_trainer.reports import Exit, Listener, Listening, Report, Started
from ganger_trainer.rounds import Order, Orders
from ganger_trainer.save_requests import SaveRequests
from ganger_trainer.stacks import Listeners
from ganger_trainer.verdict import Verdict, judge


def main(environ: Mapping[str, str] = os.environ) -> NoReturn:
    """Run this pod's part of the job and end the process with a code of the contract."""
    try:
        spec = environment.read(environ)
    except UserError as error:
        print(f"{error.reason}: {error}", file=sys.stderr, flush=True)
        log = environ.get(ENV_TERMINATION_LOG)
        verdict = Verdict(exit_code=error.exit_code, outcome="UserError", reason=error.reason, message=str(error))
        lastword.write(Path(log) if log else None, lastword.compose(verdict, Board()))
        os._exit(error.exit_code)
    Supervisor(spec).run()


class Supervisor:
    """One pod's life. `run` does not return."""

    def __init__(self, spec: Worker) -> None:
        self._spec = msgspec.structs.replace(spec, round=rounds.read(spec)) if spec.control is not None else spec
        self._orders = Orders(self._spec.round, self._kill)
        self._failed: Verdict | None = None
        self._kills = Kills()
        self._board = Board(spec.first_rank)
        self._listeners = Listeners()
        self._last_lines: LastLines | None = None
        self._channel: Channel | None = None
        self._listener: Listener | None = None
        self._live = LiveRequests(None)
        self._memory = OutOfMemory()
        self._done = threading.Event()
        self._agent_failures: dict[int, tuple[int, int]] = {}
        self._agent_error: BaseException | None = None
        self._stop_requested = False

    def run(self) -> NoReturn:
        """Start everything, wait, and end the process."""
        if self._spec.termination_log is not None and not os.isatty(2):  # a terminal has somebody who reads it
            with contextlib.suppress(OSError):
                self._last_lines = LastLines()
        listener = self._listener = Listener(self._hear)
        os.environ[environment.HELPER_SOCKET] = listener.path
        if self._spec.control is not None:
            self._live = LiveRequests(listener.path)
            self._live.inherit(rounds.note(self._spec))
            dispatch = Dispatch(
                self._spec,
                self._board,
                SaveRequests(listener.path),
                self._listeners,
                Path(listener.path).parent,
                self._orders,
                self._live,
            )
            self._channel = Channel(self._spec.control, dispatch, self._board.posted)
            self._channel.start()
        if self._spec.metrics_port is not None:
            exposition.serve(self._spec, self._board, self._spec.metrics_port)
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGINT, self._on_stop)
        while True:
            self._round()
            listener.flush()
            verdict = self._verdict()
            order = self._appeal(verdict)
            if order is None:
                self._end(verdict)
            self._begin(order, verdict, listener.path)

    def _round(self) -> None:
        """Run all processes once, to their end."""
        threading.Thread(target=self._launch, name="agent", daemon=True).start()
        orphans = Orphans()
        while not self._done.wait(timeout=1.0):
            if os.getpid() == 1:
                orphans.reap(time.monotonic())
            order = self._orders.pending
            if order is not None and self._orders.overdue:  # the agent cannot be ended, so this process is
                self._leave(order, kills.victim("the processes could not be started anew within this container"))

    def _appeal(self, verdict: Verdict) -> Order | None:
        """Return what the operator orders after a failure, None where this pod is to end."""
        if self._channel is None or verdict.outcome != "Failed" or self._stop_requested:
            return None
        if self._orders.pending is not None:  # the failure was elsewhere, and these processes were ended for it
            return self._orders.pending
        said = self._said()
        self._failed = clues.follow(verdict, said)
        self._orders.expect()
        self._board.fail(lastword.failure(self._failed, said))
        self._channel.hurry()
        return self._orders.wait(RESTART_WAIT_SECONDS)

    def _begin(self, order: Order, verdict: Verdict, socket: str) -> None:
        """Carry the order out: forget the round before, and be ready for the next. Rung Container does not return."""
        time.sleep(max(0.0, order.start - time.monotonic()))
        if order.rung == "Container":
            self._leave(order, self._kills.explain(verdict))
        self._failed = None
        self._kills.begin()
        self._spec = msgspec.structs.replace(self._spec, round=order.round)
        self._agent_failures, self._agent_error = {}, None
        self._done.clear()
        SaveRequests(socket).clear()
        if self._last_lines is not None:
            self._last_lines.forget()
        # First the board, on which nobody has started: so there is no report until all processes were forked.
        self._board.begin()
        self._orders.begin()
        print(f"worker {self._spec.worker}: the processes start anew (round {order.round})", flush=True)

    def _leave(self, order: Order, verdict: Verdict) -> NoReturn:
        """End so that the kubelet starts all containers of this pod anew."""
        try:
            rounds.write(self._spec, order.round)
            self._live.bequeath(rounds.note(self._spec))
        except OSError as error:
            print(f"warning: no restart in place: {error}", file=sys.stderr, flush=True)
            self._end(verdict)
        self._kill()
        self._end(verdict, RESTART_CONTAINER_EXIT_CODE)

    def _kill(self) -> None:
        self._kills.end(self._board.pids())

    def _launch(self) -> None:
        try:
            if "ganger_trainer.launch" not in sys.modules:
                gc.disable()  # until `launch` has torch: the collector finds nothing, and takes an eighth of that time
            from ganger_trainer.launch import launch

            self._agent_failures = launch(self._spec)
        except BaseException as error:  # noqa: BLE001 - told in the last word
            self._agent_error = error
        self._done.set()

    def _hear(self, report: Report | Exit) -> None:
        if isinstance(report, Listening):
            self._listeners.hear(report)
        self._board.hear(report)
        if isinstance(report, Started) and self._stop_requested:
            kills.send(report.pid, signal.SIGTERM)  # it came too late to be told
        if isinstance(report, Started) and self._orders.pending is not None:
            self._kills.end({report.rank: report.pid})

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        """First SIGTERM: let the workers finish their step and save. Second, or nothing to save: end now."""
        if self._failed is not None:
            self._end(self._failed)
        pids = self._board.pids().values()
        again, self._stop_requested = self._stop_requested, True
        self._board.stop()
        nothing_to_save = self._spec.task is not None and not self._board.training()
        if again or not pids or nothing_to_save:
            halt.now(self._spec, pids)
            text = "a second SIGTERM ended it at once" if again else "it had not begun to train"
            self._end(Verdict(exit_code=ExitCode.PREEMPTED, outcome="Preempted", reason="Preempted", message=text))
        text = (
            f"it did not finish its step and checkpoint within {self._spec.grace_seconds} s: raise "
            "spec.terminationGracePeriodSeconds"
        )
        early = Verdict(exit_code=ExitCode.PREEMPTED, outcome="Preempted", reason="Preempted", message=text)
        lastword.write(self._spec.termination_log, lastword.compose(early, self._board))
        for pid in pids:
            kills.send(pid, signal.SIGTERM)

    def _verdict(self) -> Verdict:
        ended, exits = self._board.endings()
        judged = judge(
            ended,
            exits,
            self._agent_failures,
            stop_requested=self._stop_requested,
            stopping=frozenset(self._board.stopping()),
        )
        verdict = self._memory.explain(judged)
        if verdict.exit_code in (ExitCode.DONE, ExitCode.PREEMPTED) and self._agent_error is not None:
            return self._agent_verdict(self._agent_error)
        return verdict

    def _agent_verdict(self, error: BaseException) -> Verdict:
        failure = classify(error)
        reason, message, trace = failure.reason, failure.message, failure.traceback
        if reason in VICTIMS and not self._board.pids():
            where = f"{self._spec.rendezvous_host}:{self._spec.rendezvous_port}"
            reason = "RendezvousTimeout"
            message = f"the {self._spec.workers} workers did not all meet at {where}: {failure.message}"
        print(trace or f"{reason}: {message}", file=sys.stderr, flush=True)
        return Verdict(
            exit_code=failure.exit_code, outcome=failure.outcome, reason=reason, message=message, traceback=trace
        )

    def _said(self) -> list[str]:
        sys.stderr.flush()
        if self._last_lines is None:
            return []
        self._last_lines.settle()
        return self._last_lines.lines()

    def _end(self, verdict: Verdict, code: int | None = None) -> NoReturn:
        """Have the last word, and end with `code`, that of the verdict by default."""
        # The verdict stands: a handler that came between the lines below would write a second one.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._board.stop()
        said = self._said()
        verdict = clues.follow(verdict, said)
        lastword.write(self._spec.termination_log, lastword.compose(verdict, self._board, said))
        words = f": {verdict.message}" if verdict.message else ""
        print(f"worker {self._spec.worker}: {verdict.reason}{words}", flush=True)
        if self._channel is not None:
            self._channel.close()
        if self._last_lines is not None:
            self._last_lines.close()
        if self._listener is not None:
            self._listener.close()
        if code is None:  # a program of the user's must not make the kubelet start it for ever
            code = verdict.exit_code if verdict.exit_code != RESTART_CONTAINER_EXIT_CODE else ExitCode.RETRYABLE
        os._exit(code)
