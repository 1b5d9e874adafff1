"""The stacks of all threads of all local ranks, in the log, while training goes on.

`faulthandler` writes them from inside the signal, without the interpreter: so also of a rank that hangs in a
collective. SIGUSR2 ends a process that is not ready for it, so it is sent only to those that have said they are, and
that still are by the kernel's word.
"""

import contextlib
import faulthandler
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Final

from ganger_trainer.reports import Listening

SIGNAL: Final = signal.SIGUSR2
PROCESSES_MAX: Final = 64
GAP_SECONDS: Final = 0.1  # between two processes, so that one has written before the next begins


def listen(rank: int) -> Listening:
    """Make this process write its stacks to standard error on SIGUSR2; return the report that says so.

    Any thread may call it, any number of times. A handler that the process installs itself later is left alone.
    """
    faulthandler.register(SIGNAL, file=2, all_threads=True)
    return Listening(rank=rank, pid=os.getpid())


class Listeners:
    """The processes of this pod that can be asked. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._processes: dict[int, tuple[int, int]] = {}  # PID -> rank, pidfd; a pidfd never means another process

    def hear(self, report: Listening) -> None:
        """Remember a process. More than PROCESSES_MAX at a time are ignored."""
        with self._lock:
            if report.pid in self._processes:
                os.close(self._processes.pop(report.pid)[1])
            if len(self._processes) >= PROCESSES_MAX:
                self._forget([pid for pid in self._processes if not _catches(pid)])
            if len(self._processes) < PROCESSES_MAX:
                with contextlib.suppress(OSError):
                    self._processes[report.pid] = (report.rank, os.pidfd_open(report.pid))

    def dump(self) -> int:
        """Ask each process for its stacks, one after the other; return how many were asked."""
        with self._lock:
            processes = sorted((rank, pid) for pid, (rank, _) in self._processes.items())
        asked = 0
        for rank, pid in processes:
            if self._ask(rank, pid):
                asked += 1
                time.sleep(GAP_SECONDS)
        return asked

    def _ask(self, rank: int, pid: int) -> bool:
        with self._lock:  # never across a write: standard error may be slow, and a worker's report must not wait for it
            if pid not in self._processes:
                return False
            descriptor = os.dup(self._processes[pid][1])
        try:
            if not _catches(pid):
                return False
            print(f"stacks of rank {rank} (process {pid}):", file=sys.stderr, flush=True)
            signal.pidfd_send_signal(descriptor, SIGNAL)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True

    def _forget(self, pids: list[int]) -> None:
        for pid in pids:
            os.close(self._processes.pop(pid)[1])


def _catches(pid: int) -> bool:
    """True if the process has a handler for SIGNAL: one that ran another program since then has none."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
        return bool(int(caught.split()[1], 16) >> (SIGNAL - 1) & 1)
    except (OSError, StopIteration, ValueError):
        return False
