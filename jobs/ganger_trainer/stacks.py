"""The stacks of all threads of all local ranks, while training goes on: in the pod's log and in the checkpoint folder.

`faulthandler` writes them from inside the signal, without the interpreter: so also of a rank that hangs in a
collective. SIGUSR2 ends a process that is not ready for it, so it is sent only to those that have said they are, and
that still are by the kernel's word. A process that is stopped cannot write: that is said instead.
"""

import contextlib
import faulthandler
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path
from typing import IO, Final

from msgspec import Struct

from ganger_trainer.environment import HELPER_SOCKET
from ganger_trainer.reports import Listening

SIGNAL: Final = signal.SIGUSR2
PROCESSES_MAX: Final = 64
GAP_SECONDS: Final = 0.1  # a process has written all once its file has not grown for so long
WRITE_SECONDS: Final = 2.0  # for one process
BYTES_MAX: Final = 256 << 10  # of one process
FOLDER: Final = "stacks"  # in the checkpoint folder
ATTEMPTS_KEPT: Final = 5

_file: IO[bytes] | None = None  # faulthandler wants it open as long as this process lives


class Stack(Struct, frozen=True):
    """What one process showed, or why it could not."""

    rank: int
    pid: int
    text: str


def listen(rank: int) -> Listening:
    """Make this process write its stacks on SIGUSR2; return the report that says so.

    To a file that its supervisor reads, to standard error without a supervisor. Any thread may call it, any number of
    times. A handler that the process installs itself later is left alone.
    """
    global _file
    supervisor, name = os.environ.get(HELPER_SOCKET), ""
    if supervisor:
        with contextlib.suppress(OSError):
            path = Path(supervisor).parent / f"stacks-{os.getpid()}"
            _file, name = path.open("ab"), str(path)
    faulthandler.register(SIGNAL, file=_file if _file is not None and name else 2, all_threads=True)
    return Listening(rank=rank, pid=os.getpid(), file=name)


class Listeners:
    """The processes of this pod that can be asked. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._processes: dict[int, tuple[Listening, int]] = {}  # by PID; a pidfd never means another process

    def hear(self, report: Listening) -> None:
        """Remember a process. More than PROCESSES_MAX at a time are ignored."""
        with self._lock:
            if report.pid in self._processes:
                os.close(self._processes.pop(report.pid)[1])
            if len(self._processes) >= PROCESSES_MAX:
                self._forget([pid for pid in self._processes if not _catches(pid)])
            if len(self._processes) < PROCESSES_MAX:
                with contextlib.suppress(OSError):
                    self._processes[report.pid] = (report, os.pidfd_open(report.pid))

    def dump(self) -> list[Stack]:
        """Ask each process for its stacks, one after the other, and print them; return them, () where none listens."""
        with self._lock:
            processes = sorted((said.rank, pid) for pid, (said, _) in self._processes.items())
        asked = (self._ask(pid) for _, pid in processes)
        return [stack for stack in asked if stack is not None]

    def _ask(self, pid: int) -> Stack | None:
        with self._lock:  # never across a write: standard error may be slow, and a worker's report must not wait for it
            if pid not in self._processes:
                return None
            said, descriptor = self._processes[pid][0], os.dup(self._processes[pid][1])
        try:
            if not _catches(pid):
                return None
            with contextlib.suppress(OSError):
                os.truncate(said.file, 0)
            print(f"stacks of rank {said.rank} (process {pid}):", file=sys.stderr, flush=True)
            signal.pidfd_send_signal(descriptor, SIGNAL)
        except ProcessLookupError:
            return None
        finally:
            os.close(descriptor)
        if not said.file:
            time.sleep(GAP_SECONDS)
            return Stack(said.rank, pid, "they are on its standard error\n")
        text = _written(Path(said.file), pid)
        print(text, end="", file=sys.stderr, flush=True)
        return Stack(said.rank, pid, text)

    def _forget(self, pids: list[int]) -> None:
        for pid in pids:
            os.close(self._processes.pop(pid)[1])


class Shelf:
    """Keeps stacks as files `attempt-A-worker-W-rank-R.txt` in the checkpoint folder, the newest of each rank.

    On a thread of its own: the volume may be what hangs. While it does, later stacks are in the log alone.
    """

    def __init__(self, checkpoints: Path, *, attempt: int, worker: int) -> None:
        self._folder = checkpoints / FOLDER
        self._attempt = attempt
        self._worker = worker
        self._thread: threading.Thread | None = None

    def keep(self, stacks: list[Stack]) -> bool:
        """Begin to write them; return False if an earlier write has not ended yet."""
        if self._thread is not None and self._thread.is_alive():
            return False
        self._thread = threading.Thread(target=self._write, args=(stacks,), name="stacks", daemon=True)
        self._thread.start()
        return True

    def _write(self, stacks: list[Stack]) -> None:
        texts: dict[int, str] = {}
        for stack in stacks:
            texts[stack.rank] = texts.get(stack.rank, "") + f"rank {stack.rank}, process {stack.pid}\n{stack.text}\n"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for rank, text in texts.items():
                name = f"attempt-{self._attempt}-worker-{self._worker}-rank-{rank}.txt"
                (self._folder / name).write_text(text)
            self._forget()
        except OSError as error:
            print(f"warning: the stacks are in this log alone: {error}", file=sys.stderr, flush=True)

    def _forget(self) -> None:
        """Remove this worker's files of attempts long over."""
        mine = re.compile(rf"attempt-(\d{{1,9}})-worker-{self._worker}-rank-\d{{1,9}}\.txt")
        for path in self._folder.iterdir():
            found = mine.fullmatch(path.name)
            if found is not None and int(found[1]) <= self._attempt - ATTEMPTS_KEPT:
                path.unlink(missing_ok=True)


def _written(path: Path, pid: int) -> str:
    """Wait until the process has written its stacks; return them, or why there are none."""
    deadline, size, since = time.monotonic() + WRITE_SECONDS, 0, time.monotonic()
    while time.monotonic() < deadline:
        time.sleep(0.01)
        new = path.stat().st_size if path.exists() else 0
        if new != size:
            size, since = new, time.monotonic()
        elif size and time.monotonic() - since >= GAP_SECONDS:
            break
        elif not size and _is_stopped(pid):
            return "the process is stopped (state T) and cannot show its stacks\n"
    if not size:
        return f"the process did not show its stacks within {WRITE_SECONDS:.0f} s\n"
    with path.open("rb") as file:
        return file.read(BYTES_MAX).decode(errors="replace")


def _is_stopped(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("T", "t")
    except (OSError, IndexError):
        return False


def _catches(pid: int) -> bool:
    """True if the process has a handler for SIGNAL: one that ran another program since then has none."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
        return bool(int(caught.split()[1], 16) >> (SIGNAL - 1) & 1)
    except (OSError, StopIteration, ValueError):
        return False
