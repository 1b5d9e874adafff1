"""What a supervisor knows of its workers: the newest report of each kind, under one lock.

Readers (metrics, the termination message) take copies; the listener thread writes.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final

import msgspec

from ganger_trainer.ledger import Ledger
from ganger_trainer.live import LiveSet
from ganger_trainer.reports import (
    Ended,
    Entered,
    Exit,
    Progress,
    Quarantined,
    Report,
    RolledBack,
    Saved,
    Started,
    Stopping,
    Training,
)

SAVES_KEPT: Final = 8  # of whose durations the longest counts: what a disk did long ago says little of it now


class Board:
    """Collects reports and exits of local workers. Thread-safe, and safe to read from a signal handler.

    first_rank: the lowest local rank; it speaks for this worker where one has to. clock: monotonic seconds.
    """

    def __init__(self, first_rank: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._first_rank = first_rank
        self._clock = clock
        self._posts: Counter[str] = Counter(ok=0, refused=0, failed=0)
        self._lock = threading.RLock()  # a handler may interrupt a reader on the same thread
        self._saved: Saved | None = None
        self._saved_time: float | None = None
        self._save_seconds: deque[float] = deque(maxlen=SAVES_KEPT)
        self._save_failures = 0
        self._failed_in_a_row = 0
        self._failed: Saved | None = None
        self._quarantined: list[str] | None = None
        self._rolled_back: RolledBack | None = None
        self.begin()

    def begin(self) -> None:
        """Begin a round: forget what the processes before said of themselves. What they saved is there still."""
        with self._lock:
            self._ledger = Ledger(self._clock())
            self._ending = False
            self._failed_at: float | None = None
            self._failure: dict[str, Any] = {}
            self._started = 0
            self._progress: dict[int, Progress] = {}
            self._pids: dict[int, int] = {}
            self._ended: list[Ended] = []
            self._exits: list[Exit] = []
            self._training: dict[int, Training] = {}
            self._metrics: dict[str, float] = {}
            self._stopping: set[int] = set()
            self._live: dict[int, LiveSet] = {}

    def hear(self, report: Report | Exit) -> None:
        """Take in one report."""
        with self._lock:
            if isinstance(report, Entered | Training | Progress) and report.rank == self._first_rank:
                phase = report.phase if isinstance(report, Entered) else "Training"
                self._ledger.enter(phase, self._clock())
            match report:
                case Progress():
                    self._progress[report.rank] = report
                    self._metrics |= report.metrics
                case Started():
                    self._pids[report.rank] = report.pid
                    self._started += 1
                case Training():
                    self._training[report.rank] = report
                case Saved() if report.reason == "":
                    self._saved, self._saved_time = report, time.time()
                    self._save_seconds.append(report.seconds)
                    self._failed_in_a_row, self._failed = 0, None
                case Saved():
                    self._save_failures += 1
                    self._failed_in_a_row, self._failed = self._failed_in_a_row + 1, report
                case Quarantined():
                    self._quarantined = report.names
                case RolledBack():
                    self._rolled_back = report
                case LiveSet():
                    self._live[report.rank] = report
                case Stopping():
                    self._stopping.add(report.rank)
                case Ended():
                    self._ended.append(report)
                    self._metrics |= report.metrics
                    self._ending |= report.rank == self._first_rank
                case Exit() if report.pid in (0, self._pids.get(report.rank, 0)):  # else of a round before
                    self._exits.append(report)
                    self._pids.pop(report.rank, None)

    def pids(self) -> dict[int, int]:
        """Return the processes that are alive, by rank."""
        with self._lock:
            return dict(self._pids)

    def started(self) -> int:
        """Return how many local processes have begun, those that are gone included."""
        with self._lock:
            return self._started

    def stop(self) -> None:
        """Note that this worker is to end: from now on its phase is Stopping, whatever its ranks still do."""
        with self._lock:
            self._ending, self._failed_at = True, None

    def fail(self, failure: dict[str, Any]) -> None:
        """Note why the processes ended: until `stop` or `begin` the phase of this worker is Failed."""
        with self._lock:
            self._failed_at, self._failure = self._clock(), failure

    def failure(self) -> dict[str, Any] | None:
        """Return the failure of the contract's reports, None while this worker has not failed."""
        with self._lock:
            if self._failed_at is None:
                return None
            return self._failure | {"seconds": round(max(0.0, self._clock() - self._failed_at), 3)}

    def phase(self) -> str:
        """Return what this worker does now, one of the contract's REPORT_PHASES."""
        with self._lock:
            if self._failed_at is not None:
                return "Failed"
            return "Stopping" if self._ending else self._ledger.phase

    def seconds(self) -> dict[str, float]:
        """Return the seconds since this board was made by REPORT_CAUSES."""
        with self._lock:
            return self._ledger.seconds(self._clock())

    def posted(self, result: str) -> None:
        """Count a report to the operator: ok, refused or failed."""
        with self._lock:
            self._posts[result] += 1

    def posts(self) -> dict[str, int]:
        """Return the reports to the operator so far, by result."""
        with self._lock:
            return dict(self._posts)

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

    def save_seconds(self) -> list[float]:
        """Return the seconds from copy to commit of the newest saves, none on a worker without rank 0."""
        with self._lock:
            return list(self._save_seconds)

    def checkpoint_trouble(self) -> tuple[Saved, int] | None:
        """Return the newest save and how many failed in a row with it, None unless it failed."""
        with self._lock:
            return (self._failed, self._failed_in_a_row) if self._failed is not None else None

    def quarantined(self) -> list[str] | None:
        """Return the damaged checkpoints in the volume, None while nobody has looked."""
        with self._lock:
            return self._quarantined

    def rollbacks(self) -> RolledBack | None:
        """Return the newest rollback of this attempt, None if there was none. Only the worker of rank 0 knows."""
        with self._lock:
            return self._rolled_back

    def live(self, processes: int) -> LiveSet | None:
        """Return the live settings in force, None unless all `processes` of this worker said the same."""
        with self._lock:
            said = [msgspec.structs.replace(report, rank=self._first_rank) for report in self._live.values()]
            return said[0] if len(said) == processes and all(each == said[0] for each in said) else None

    def metrics(self) -> dict[str, float]:
        """Return the newest value of each named metric."""
        with self._lock:
            return dict(self._metrics)
