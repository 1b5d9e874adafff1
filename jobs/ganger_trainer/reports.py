"""What worker processes tell their supervisor: small JSON datagrams over a unix socket.

Datagrams keep message boundaries and cost a worker one system call. Progress may be dropped when the supervisor is
behind, endings may not. Nothing here waits for the operator, and without a supervisor every call is a no-op.
"""

import contextlib
import os
import selectors
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from ganger_trainer import heartbeat
from ganger_trainer.environment import HELPER_SOCKET
from ganger_trainer.live import LiveSet

DATAGRAM_BYTES_MAX: Final = 64 << 10
ENDING_WAIT_SECONDS: Final = 5.0


class Started(Struct, frozen=True, tag=True):
    """A worker process exists."""

    rank: int
    pid: int


class Training(Struct, frozen=True, tag=True):
    """A worker is about to take its first step. `resumed_from` is None when it begins at step 0."""

    rank: int
    total_steps: int | None
    resumed_from: int | None = None
    device: str = ""  # its name: "cpu", or what the driver calls the GPU


class Progress(Struct, frozen=True, tag=True):
    """Where a rank is. Counters are sums over this attempt; `step_counts` are per bucket of `pace.STEP_BUCKETS`."""

    rank: int
    step: int
    total_steps: int | None = None
    epoch: int | None = None
    loss: float | None = None
    learning_rate: float | None = None
    gradient_norm: float | None = None
    samples: int = 0
    samples_per_second: float | None = None
    step_seconds: float = 0.0
    step_counts: list[int] = []
    data_wait_seconds: float = 0.0
    gpu_bytes: int | None = None
    gpu_bytes_max: int | None = None
    tokens: int | None = None
    mfu: float | None = None  # model flops per second over the device's peak
    metrics: dict[str, float] = {}


class Entered(Struct, frozen=True, tag=True):
    """A rank begins something that takes its time: a phase of the contract's REPORT_PHASES. Sent twice for each save.

    It may be lost; any later progress says that the rank trains.
    """

    rank: int
    phase: str


class Listening(Struct, frozen=True, tag=True):
    """A process writes its stacks when it is asked (`stacks`). file: where to, "" for its standard error."""

    rank: int
    pid: int
    file: str = ""


class Saved(Struct, frozen=True, tag=True):
    """A checkpoint was committed, or failed with `reason`. Sent by rank 0."""

    step: int
    seconds: float
    bytes: int = 0
    kept: int = 0
    saved_at: str = ""
    reason: str = ""
    message: str = ""


class Quarantined(Struct, frozen=True, tag=True):
    """The damaged checkpoints that lie in the volume, as rank 0 found them when it looked for one to load."""

    names: list[str]


class RolledBack(Struct, frozen=True, tag=True):
    """The gang went back from `step` to the checkpoint of `to_step`, for the `count`-th time. Sent by rank 0."""

    count: int
    step: int
    to_step: int


class Stopping(Struct, frozen=True, tag=True):
    """A script was told that it should stop."""

    rank: int


class Ended(Struct, frozen=True, tag=True):
    """The last word of a worker process. `time` is monotonic seconds, comparable within one machine."""

    rank: int
    outcome: str
    reason: str
    message: str
    exit_code: int
    time: float
    traceback: str = ""
    metrics: dict[str, float] = {}


class Flush(Struct, frozen=True, tag=True):
    """Sent by the supervisor to itself: everything before it has been heard."""


_OfTraining = Training | Progress | Entered | LiveSet | Saved | Quarantined | RolledBack
Report = Started | _OfTraining | Listening | Stopping | Ended | Flush

_decoder: Final = msgspec.json.Decoder(Report)


class Sender:
    """A worker's end. Made once per process; `path` None or "" means that nobody listens."""

    def __init__(self, path: str | None) -> None:
        self._socket: socket.socket | None = None
        if path:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
            try:
                self._socket.connect(path)
            except OSError:
                self._socket = None

    @classmethod
    def from_environment(cls) -> "Sender":
        """Return the sender to the supervisor of this process, if it has one."""
        return cls(os.environ.get(HELPER_SOCKET))

    def send(self, report: Report, *, surely: bool = False) -> None:
        """Send `report`; with `surely`, wait up to 5 s for room.

        Never raises: a deaf supervisor must not stop training.
        """
        if self._socket is None:
            return
        data = msgspec.json.encode(report)[:DATAGRAM_BYTES_MAX]
        deadline = time.monotonic() + (ENDING_WAIT_SECONDS if surely else 0.0)
        while True:
            try:
                self._socket.send(data)
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(0.01)
                    continue
            except OSError:
                self._socket = None
            return


@contextlib.contextmanager
def during(sender: Sender, rank: int, phase: str) -> Iterator[None]:
    """Report that `rank` is in `phase` while the block runs, and that it trains afterwards."""
    sender.send(Entered(rank=rank, phase=phase))
    try:
        yield
    finally:
        sender.send(Entered(rank=rank, phase="Training"))


class Exit(Struct, frozen=True):
    """A worker process is gone: its exit code, negative for a signal, None where somebody else read it first."""

    rank: int
    code: int | None
    time: float
    pid: int = 0


class Listener:
    """The supervisor's end: hands each report, and each exit of a worker that reported in, to `heard` on a thread."""

    def __init__(self, heard: Callable[[Report | Exit], None]) -> None:
        self._heard = heard
        self._directory = tempfile.TemporaryDirectory(prefix="ganger-", dir=heartbeat.directory())
        self.path = str(Path(self._directory.name) / "reports")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._flushed = threading.Event()
        threading.Thread(target=self._listen, name="reports", daemon=True).start()

    def flush(self, seconds: float = 2.0) -> None:
        """Return when everything sent so far was heard, or after `seconds`."""
        self._flushed.clear()
        Sender(self.path).send(Flush(), surely=True)
        self._flushed.wait(seconds)

    def close(self) -> None:
        """Remove the socket's file, and the pages and stacks of the ranks beside it."""
        self._directory.cleanup()

    def _listen(self) -> None:
        selector = selectors.DefaultSelector()
        selector.register(self._socket, selectors.EVENT_READ, None)
        while True:
            for key, _ in selector.select():
                if key.data is not None:  # a pidfd: readable once its process is gone, reaped or not
                    selector.unregister(key.fd)
                    rank, pid = key.data
                    self._heard(Exit(rank, _exit_code(key.fd), time.monotonic(), pid))
                    os.close(key.fd)
                    continue
                try:
                    report = _decoder.decode(self._socket.recv(DATAGRAM_BYTES_MAX))
                except msgspec.MsgspecError:
                    continue  # not ours: a script may write to the socket by mistake
                if isinstance(report, Flush):
                    self._flushed.set()
                    continue
                self._heard(report)
                if isinstance(report, Started):
                    try:
                        selector.register(os.pidfd_open(report.pid), selectors.EVENT_READ, (report.rank, report.pid))
                    except OSError:
                        self._heard(Exit(report.rank, None, time.monotonic(), report.pid))


def _exit_code(pidfd: int) -> int | None:
    """Return how the process ended without reaping it: the elastic agent must still find it."""
    try:
        info = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except OSError:
        return None
    if info is None:
        return None
    return info.si_status if info.si_code == os.CLD_EXITED else -info.si_status
