"""Where else the figures of rank 0's log lines go: TensorBoard files and MLflow runs, if the task's config asks.

Each sink has a thread of its own: a slow volume or a tracking server that is away costs the loop nothing. What a sink
cannot write is lost, told once, and never ends training.
"""

import queue
import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module, util
from pathlib import Path
from typing import Final, Literal, Protocol

import msgspec
from msgspec import Struct

from ganger_trainer.config import TrainConfig
from ganger_trainer.environment import Worker
from ganger_trainer.failures import UserError

POINTS_MAX: Final = 1000  # waiting for one sink: over an hour of log lines
CLOSE_SECONDS: Final = 10.0
CLOSE_FAILED_SECONDS: Final = 1.0  # a failing rank has a few seconds in all, and its checkpoint comes first
LOCAL_UID: Final = "local"  # what environment.read gives a job that has none

Outcome = Literal["Done", "Preempted", "Failed"]


class Point(Struct, frozen=True):
    """What one log line or evaluation says: values by name, after `step` steps, at `time` in seconds of the epoch."""

    step: int
    time: float
    values: dict[str, float]


class Sink(Protocol):
    """One place where points go. Called on one thread; it opens at the first point, and may raise what it likes."""

    name: str

    def write(self, point: Point) -> None: ...  # noqa: D102
    def close(self, outcome: Outcome) -> None: ...  # noqa: D102


class Sinks:
    """All sinks of this process; none on ranks other than 0. `write` never waits and never raises."""

    def __init__(self, sinks: Sequence[Sink] = ()) -> None:
        self._outlets = [_Outlet(sink) for sink in sinks]

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Hand the point on."""
        if self._outlets:
            point = Point(step, time.time(), dict(values))
            for outlet in self._outlets:
                outlet.put(point)

    def close(self, outcome: Outcome) -> None:
        """Say how the attempt ended, and return when all is written: within 10 s, after a failure within 1 s."""
        deadline = time.monotonic() + (CLOSE_FAILED_SECONDS if outcome == "Failed" else CLOSE_SECONDS)
        for outlet in self._outlets:
            outlet.put(outcome)
        for outlet in self._outlets:
            outlet.join(deadline - time.monotonic())


class _Outlet:
    """A sink, its thread, and what waits for it."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._waiting: queue.Queue[Point | Outcome] = queue.Queue(POINTS_MAX)
        self._complained = False
        self._thread = threading.Thread(target=self._run, name=sink.name, daemon=True)
        self._thread.start()

    def put(self, item: "Point | Outcome") -> None:
        try:
            self._waiting.put_nowait(item)
        except queue.Full:
            self._complain(f"{POINTS_MAX} points wait to be written")

    def join(self, seconds: float) -> None:
        self._thread.join(max(0.0, seconds))
        if self._thread.is_alive():
            self._complain("it did not finish in time")

    def _run(self) -> None:
        while True:
            item = self._waiting.get()
            try:
                if isinstance(item, Point):
                    self._sink.write(item)
                else:
                    self._sink.close(item)
                    return
            except Exception as error:  # noqa: BLE001 - a sink is a convenience
                self._complain(f"{type(error).__name__}: {error}".splitlines()[0][:300])
                if not isinstance(item, Point):
                    return

    def _complain(self, text: str) -> None:
        if not self._complained:
            self._complained = True
            _warn(self._sink.name, text)


def require(config: TrainConfig) -> None:
    """Raise UserError (BAD_CONFIG, LibraryMissing) if `config` asks for a library that is not installed."""
    for key, wanted in (("tensorboard", config.tensorboard), ("mlflow", config.mlflow)):
        if wanted and util.find_spec(key) is None:
            raise UserError(
                "LibraryMissing",
                f"config: {key} needs a library that is not in this image: pip install 'ganger[{key}]', or leave "
                f"{key} out",
            )


def open_sinks(config: TrainConfig, worker: Worker, *, resumed_from: int | None) -> Sinks:
    """Return the sinks that `config` asks for, on rank 0. Imports their libraries here and now, and writes nothing yet.

    A library that is there but broken is told once; training goes on without it.
    """
    # On this thread: a data worker forked in the middle of an import would wait for its lock for ever.
    sinks: list[Sink] = []
    if config.tensorboard:
        with _told("tensorboard"):
            module = import_module("ganger_trainer.sinks.tensorboard")
            sinks.append(module.TensorBoard(directory(config, worker), purge_step=(resumed_from or 0) + 1))
    if config.mlflow:
        with _told("mlflow"):
            module = import_module("ganger_trainer.sinks.mlflow")
            sinks.append(
                module.Mlflow(
                    tracking_uri=config.mlflow.tracking_uri,
                    experiment=config.mlflow.experiment or worker.job,
                    identity=module.Identity(namespace=worker.namespace, job=worker.job, uid=worker.job_uid),
                    # Outside a cluster all jobs share one UID: only a resumed one is the job that was there before.
                    continues=worker.job_uid != LOCAL_UID or resumed_from is not None,
                    settings={
                        key: value
                        for key, value in msgspec.to_builtins(config).items()
                        if key not in ("tensorboard", "mlflow")
                    },
                )
            )
    return Sinks(sinks)


def directory(config: TrainConfig, worker: Worker) -> Path:
    """Return where event files go: what `config` says, else beside the checkpoints, which ignore it. Pure."""
    if isinstance(config.tensorboard, str):
        return Path(config.tensorboard)
    return (worker.checkpoint_dir or Path()) / "tensorboard"


@contextmanager
def _told(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - an import runs other people's code
        _warn(name, f"{type(error).__name__}: {error}".splitlines()[0][:300])


def _warn(name: str, text: str) -> None:
    # An address may hold a password, and logs are read by many.
    harmless = re.sub(r"//[^/@\s]+@", "//", text)
    print(f"warning: {name}: {harmless}; training goes on, this is not said again", file=sys.stderr, flush=True)
