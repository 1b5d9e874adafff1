"""PID 1 of a trainer container: starts the workers, passes SIGTERM on, serves /metrics, reports, and has the last word.

The main thread only waits, so that signals are handled at once; the elastic agent works on a thread beside it.
It ends by os._exit: worker 0's TCP store would otherwise hold the process until every other pod has hung up.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import NoReturn

from ganger.contract import ENV_TERMINATION_LOG, ExitCode
from ganger_trainer import clues, environment, halt, lastword, metrics, nvml
from ganger_trainer.board import Board
from ganger_trainer.channel import Channel
from ganger_trainer.dispatch import Dispatch
from ganger_trainer.endpoint import Endpoint
from ganger_trainer.environment import Worker
from ganger_trainer.failures import VICTIMS, UserError, classify
from ganger_trainer.lastlines import LastLines
from ganger_trainer.orphans import Orphans
from ganger_trainer.reports import Exit, Listener, Listening, Report, Started
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
        self._spec = spec
        self._board = Board(spec.first_rank)
        self._listeners = Listeners()
        self._last_lines: LastLines | None = None
        self._channel: Channel | None = None
        self._listener: Listener | None = None
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
            dispatch = Dispatch(
                self._spec, self._board, SaveRequests(listener.path), self._listeners, Path(listener.path).parent
            )
            self._channel = Channel(self._spec.control, dispatch, self._board.posted)
            self._channel.start()
        if self._spec.metrics_port is not None:
            self._serve(self._spec.metrics_port)
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGINT, self._on_stop)
        threading.Thread(target=self._launch, name="agent", daemon=True).start()
        orphans = Orphans()
        while not self._done.wait(timeout=1.0 if os.getpid() == 1 else 60.0):
            if os.getpid() == 1:
                orphans.reap(time.monotonic())
        listener.flush()
        self._end(self._verdict())

    def _serve(self, port: int) -> None:
        spec = self._spec
        gpus = nvml.Gpus(ready=lambda: self._board.started() >= spec.processes)
        page = metrics.Page(
            self._board,
            attempt=spec.attempt,
            job=spec.job,
            keeps_checkpoints=spec.worker == 0 and spec.task is not None and spec.checkpoint_dir is not None,
            gpus=gpus.readings,
        )
        gpus.start()
        try:
            Endpoint(port, page.render)
        except OSError as error:
            print(f"warning: no /metrics on port {port}: {error.strerror}", file=sys.stderr, flush=True)

    def _launch(self) -> None:
        try:
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
            _send(report.pid, signal.SIGTERM)  # it came too late to be told

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        """First SIGTERM: let the workers finish their step and save. Second, or nothing to save: end now."""
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
            _send(pid, signal.SIGTERM)

    def _verdict(self) -> Verdict:
        ended, exits = self._board.endings()
        verdict = judge(
            ended,
            exits,
            self._agent_failures,
            stop_requested=self._stop_requested,
            stopping=frozenset(self._board.stopping()),
        )
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

    def _end(self, verdict: Verdict) -> NoReturn:
        # The verdict stands: a handler that came between the lines below would write a second one.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._board.stop()
        sys.stderr.flush()
        if self._last_lines is not None:
            self._last_lines.settle()
        said = self._last_lines.lines() if self._last_lines is not None else []
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
        os._exit(verdict.exit_code)


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
