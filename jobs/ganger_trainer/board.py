"""What a supervisor knows of its workers: the newest report of each kind, under one lock.

Readers (metrics, the termination message) take copies; the listener thread writes.
"""

import threading
import time

from ganger_trainer.reports import Ended, Exit, Progress, Report, Saved, Started, Stopping, Training


class Board:
    """Collects reports and exits of local workers. Thread-safe, and safe to read from a signal handler."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a handler may interrupt a reader on the same thread
        self._progress: dict[int, Progress] = {}
        self._pids: dict[int, int] = {}
        self._ended: list[Ended] = []
        self._exits: list[Exit] = []
        self._training: dict[int, Training] = {}
        self._saved: Saved | None = None
        self._saved_time: float | None = None
        self._save_failures = 0
        self._metrics: dict[str, float] = {}
        self._stopping: set[int] = set()

    def hear(self, report: Report | Exit) -> None:
        """Take in one report."""
        with self._lock:
            match report:
                case Progress():
                    self._progress[report.rank] = report
                    self._metrics |= report.metrics
                case Started():
                    self._pids[report.rank] = report.pid
                case Training():
                    self._training[report.rank] = report
                case Saved() if report.reason == "":
                    self._saved, self._saved_time = report, time.time()
                case Saved():
                    self._save_failures += 1
                case Stopping():
                    self._stopping.add(report.rank)
                case Ended():
                    self._ended.append(report)
                    self._metrics |= report.metrics
                case Exit():
                    self._exits.append(report)
                    self._pids.pop(report.rank, None)

    def pids(self) -> dict[int, int]:
        """Return the processes that are alive, by rank."""
        with self._lock:
            return dict(self._pids)

    def progress_by_rank(self) -> dict[int, Progress]:
        """Return the newest progress of each local rank."""
        with self._lock:
            return dict(sorted(self._progress.items()))

    def training(self) -> dict[int, Training]:
        """Return the ranks that have reached their loop."""
        with self._lock:
            return dict(self._training)

    def stopping(self) -> set[int]:
        """Return the ranks of scripts that have seen `should_stop`."""
        with self._lock:
            return set(self._stopping)

    def endings(self) -> tuple[list[Ended], list[Exit]]:
        """Return last words and exits in the order in which they came."""
        with self._lock:
            return list(self._ended), list(self._exits)

    def checkpoint(self) -> tuple[Saved | None, int, float | None]:
        """Return the newest committed checkpoint, the number of refused saves, and when the commit was heard."""
        with self._lock:
            return self._saved, self._save_failures, self._saved_time

    def metrics(self) -> dict[str, float]:
        """Return the newest value of each named metric."""
        with self._lock:
            return dict(self._metrics)
