"""Where each rank is, readable by its supervisor without the rank's help.

A rank writes a page of shared memory: a few stores per step and no system call. So a rank that is stopped, or that
holds the interpreter in a call that never returns, is still seen: its page ages. Supervisor and ranks share one
machine and so one monotonic clock, that of `time.perf_counter` on Linux.
"""

import contextlib
import mmap
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Final

from msgspec import Struct

from ganger.contract import REPORT_STAGES
from ganger_trainer.environment import HELPER_SOCKET

# Cells of the page, eight bytes each. A store of one is atomic; a reader may see the cells of one step half changed,
# which is off by microseconds.
BASE, STEPS, STAGE, AT, BUSY, FIRST, LONGEST, EVALUATION, CHECKPOINT, PID = range(10)
_NUM_CELLS: Final = 10
STARTING, LOG, EVALUATE, SAVE, AGREE, DATA, FORWARD, BACKWARD, UPDATE, SCRIPT, ENDED = range(len(REPORT_STAGES) + 1)
# What a stage lasts is remembered here. Data, forward, backward and update are parts of a step, which `Pace` measures.
_LASTS: Final = {LOG: LONGEST, AGREE: LONGEST, EVALUATE: EVALUATION, SAVE: CHECKPOINT}


class Heartbeat:
    """A rank's end: `cells` is its page. Without a path it beats into private memory, and nobody listens."""

    __slots__ = ("cells",)

    def __init__(self, path: Path | None = None) -> None:
        self.cells: memoryview[float] = memoryview(bytearray(_NUM_CELLS * 8)).cast("d")
        if path is not None:
            with contextlib.suppress(OSError):  # nothing of this may stop training
                self.cells = _shared(path)
        self.cells[PID] = os.getpid()
        self.cells[AT] = perf_counter()

    @classmethod
    def from_environment(cls, rank: int) -> "Heartbeat":
        """Return the heartbeat that the supervisor of this process listens to, a silent one without a supervisor."""
        socket = os.environ.get(HELPER_SOCKET)
        return cls(page(Path(socket).parent, rank) if socket else None)

    def begin(self, step: int) -> None:
        """Enter the loop at `step`."""
        self.cells[BASE] = step
        self.cells[STEPS] = 0
        self.enter(DATA)

    def enter(self, stage: int) -> None:
        """Begin a stage that is not a part of a step, or end it by DATA."""
        cells, now = self.cells, perf_counter()
        kind = _LASTS.get(int(cells[STAGE]))
        if kind is not None:
            cells[kind] = max(cells[kind], now - cells[AT])
        cells[STAGE] = stage
        cells[AT] = now

    @contextlib.contextmanager
    def during(self, stage: int) -> Iterator[None]:
        """Be in `stage` while the block runs, and back at the next batch after it."""
        self.enter(stage)
        try:
            yield
        finally:
            self.enter(DATA)

    def reported(self, step: int, total_steps: int | None) -> None:
        """Note the step that a script reports; nobody knows what it does between two of them."""
        cells, now = self.cells, perf_counter()
        if cells[STAGE] == SCRIPT:
            cells[LONGEST] = max(cells[LONGEST], now - cells[AT])
            cells[STEPS] += 1
        cells[BASE] = step - cells[STEPS]
        cells[AT] = now
        cells[STAGE] = ENDED if total_steps is not None and step >= total_steps else SCRIPT


class Beat(Struct, frozen=True, kw_only=True):
    """One reading of a page. age_seconds: since stage or step changed. busy_seconds: own work since the loop began.

    steps: done since the loop began. first, longest, evaluation, checkpoint: the longest that each took, in seconds,
    0.0 for what has not been done: the first step, a later one, an evaluation, what a checkpoint held the steps up.
    state: the kernel's letter for the process: R, S, T for stopped, D for a device that does not answer, ...
    """

    step: int
    steps: int
    stage: str
    age_seconds: float
    busy_seconds: float
    first: float
    longest: float
    evaluation: float
    checkpoint: float
    state: str


def read(directory: Path, ranks: list[int]) -> dict[int, Beat]:
    """Return what the pages of those ranks say now. Not in it: who has no page, has ended, or whose process is gone."""
    found = {}
    for rank in ranks:
        try:
            cells = memoryview(page(directory, rank).read_bytes()).cast("d")
        except (OSError, TypeError):  # no page
            continue
        if len(cells) != _NUM_CELLS or cells[STAGE] == ENDED:
            continue
        state = _state(int(cells[PID]))
        if state in ("", "Z", "X"):
            continue
        found[rank] = Beat(
            step=int(cells[BASE] + cells[STEPS]), steps=int(cells[STEPS]), stage=REPORT_STAGES[int(cells[STAGE])],
            age_seconds=max(0.0, perf_counter() - cells[AT]), busy_seconds=max(0.0, cells[BUSY]), first=cells[FIRST],
            longest=cells[LONGEST], evaluation=cells[EVALUATION], checkpoint=cells[CHECKPOINT], state=state,
        )  # fmt: skip
    return found


def directory() -> str | None:
    """Return where pages are best kept: shared memory, None (the temporary directory) where there is none.

    A page on a disk may be written back at any time, and a store then waits for the disk.
    """
    return "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None  # noqa: S108 - mkdtemp makes it private


def page(directory: Path, rank: int) -> Path:
    """Return the file of a rank's page."""
    return directory / f"heartbeat-{rank}"


def _shared(path: Path) -> "memoryview[float]":
    """Return a new page at `path`. An older process keeps the page that it has, and nobody reads it any more."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        os.ftruncate(descriptor, _NUM_CELLS * 8)
        memory = mmap.mmap(descriptor, _NUM_CELLS * 8)
        Path(name).replace(path)
    finally:
        os.close(descriptor)
    return memoryview(memory).cast("d")


def _state(pid: int) -> str:
    """Return the state of the process in the kernel's letter, "" if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""
