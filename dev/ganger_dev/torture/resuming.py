"""A gang killed at random points ends with the very bytes of a gang that was never killed.

Two ranks are forked from this process, which has torch imported and has computed nothing, meet over gloo and train a
task that draws from every random generator. A seed says which rank is killed, at which step, and where in it: before
the forward pass, in the backward pass, in the update, or in the writer of a checkpoint. The next attempt resumes, may
be killed as well, and the one after it ends; every shard of the last checkpoint is then compared. The gang that is
never killed copies each state at once, the others while the next step computes.
"""

import contextlib
import hashlib
import json
import os
import random
import select
import signal
import socket
import sys
import tempfile
import types
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch._dynamo  # what the first backward pass of each rank would import, which takes longer than its steps
from msgspec import Struct
from torch import nn
from torch.nn import functional

from ganger_trainer import TrainConfig, launch, worker
from ganger_trainer.checkpoint import durable, layout, snapshot
from ganger_trainer.environment import CheckpointPolicy, Worker

RANKS: Final = 2
STEPS, EVERY = 60, 7
PLACES: Final = ("forward", "backward", "update", "checkpoint")
KILLS_MAX: Final = 2  # attempts of one trial that are killed


class Kill(Struct, frozen=True, kw_only=True):
    """Where one attempt is killed. call: of the writer, where it is the place."""

    rank: int
    step: int
    place: str
    call: int = 0


class Trial(Struct, kw_only=True):
    """One gang and its kills. resumed: the step that each attempt resumed from. equal: whether the end is the same."""

    kills: list[Kill]
    resumed: list[int]
    equal: bool


class Task:
    """Dropout, noise of three generators, AdamW, a schedule: a resume that forgets anything shows."""

    def __init__(self, kill: Kill | None) -> None:
        self.kill = kill

    def model(self, config: TrainConfig) -> Any:
        """Return two layers and a dropout."""
        return nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.2), nn.Tanh(), nn.Linear(16, 1))

    def data(self, config: TrainConfig) -> Any:
        """Return 97 points of a plane."""
        generator = torch.Generator().manual_seed(5)
        x_NF = torch.randn(97, 8, generator=generator)  # noqa: N806
        return x_NF, x_NF.sum(1, keepdim=True)

    def loss(self, model: Any, batch: Any) -> Any:
        """Return the mean squared error with some noise."""
        x_BF, y_B1 = batch  # noqa: N806
        self._die("forward")
        noise = random.random() * 1e-3 + float(np.random.rand()) * 1e-3  # noqa: S311
        loss = functional.mse_loss(model(x_BF), y_B1) + noise
        loss.register_hook(lambda _: self._die("backward"))
        return loss

    def optimizer(self, model: Any, config: TrainConfig) -> Any:
        """Return AdamW."""
        optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr)
        optimizer.register_step_pre_hook(lambda *_: self._die("update"))
        return optimizer

    def scheduler(self, optimizer: Any, config: TrainConfig, total_steps: int) -> Any:
        """Return a cosine."""
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total_steps)
        return self.schedule

    def _die(self, place: str) -> None:
        if self.kill is not None and self.kill.place == place and self.schedule.last_epoch == self.kill.step:
            os.kill(os.getpid(), signal.SIGKILL)


class _Disk:
    """`os` as `durable` sees it, that ends the process at a call of the save that begins after a step."""

    def __init__(self, kill: Kill, task: Task) -> None:
        self._kill, self._task, self._calls = kill, task, 0

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in ("open", "write", "fsync", "close", "rename", "replace") or not self._begun():
            return real
        self._calls += 1
        if self._calls > self._kill.call:
            os.kill(os.getpid(), signal.SIGKILL)
        return real

    def _begun(self) -> bool:
        return hasattr(self._task, "schedule") and self._task.schedule.last_epoch >= self._kill.step


def drawn(seed: int) -> list[Kill]:
    """Return the kills of the trial of that seed: one or two attempts, one after the other."""
    chance = random.Random(seed)  # noqa: S311 - the same kills each time are the point
    kills, low = [], 0
    for _ in range(chance.randint(1, KILLS_MAX)):
        step = chance.randrange(low, STEPS - 1)
        place = chance.choice(PLACES)
        kills.append(Kill(rank=chance.randrange(RANKS), step=step, place=place, call=chance.randrange(5)))
        low = step
    return kills


def run(count: int, seed: int = 0) -> list[Trial]:
    """Run a gang that nobody kills, and `count` that are; compare their ends."""
    trials = []
    with tempfile.TemporaryDirectory(prefix="ganger-torture-") as place:
        whole = Path(place) / "whole"
        assert _attempt(whole, 0, None) == [0] * RANKS, "the gang that nobody kills does not end well"
        expected = _hashes(whole)
        snapshot.OVERLAP_MIN_BYTES = 0  # the ranks of the trials copy behind their steps, as only large models do
        for number in range(count):
            directory = Path(place) / f"trial-{number}"
            kills, resumed = drawn(seed + number), []
            for attempt, kill in enumerate(kills):
                codes = _attempt(directory, attempt, kill)
                assert codes[kill.rank] == -signal.SIGKILL, f"{kill} did not happen: {codes}"
                resumed.append(max(layout.look(directory).steps, default=0) if directory.exists() else 0)
            codes = _attempt(directory, len(kills), None)
            equal = codes == [0] * RANKS and _hashes(directory) == expected
            trials.append(Trial(kills=kills, resumed=resumed, equal=equal))
    return trials


def _hashes(directory: Path) -> list[str]:
    shards = sorted((directory / layout.committed(STEPS)).glob("*.safetensors"))
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in shards]


def _attempt(directory: Path, attempt: int, kill: Kill | None) -> list[int]:
    """Run one attempt of the gang; return how each rank ended, a signal as its negative number.

    As under the supervisor a rank does not outlive another by long: it may wait for the dead one for minutes.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    pids = [_fork(directory, attempt, kill, rank, port) for rank in range(RANKS)]
    alive = {os.pidfd_open(pid): pid for pid in pids}
    codes: dict[int, int] = {}
    while alive:
        ended = select.select(list(alive), [], [], launch.SHUTDOWN_SECONDS if codes else None)[0]
        for handle in ended:
            pid = alive.pop(handle)
            codes[pid] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            os.close(handle)
        if not ended:
            for pid in alive.values():
                os.kill(pid, signal.SIGKILL)
    return [codes[pid] for pid in pids]


def _fork(directory: Path, attempt: int, kill: Kill | None, rank: int, port: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        _rank(directory, attempt, kill if kill is not None and kill.rank == rank else None, rank, port)
    finally:
        os._exit(70)  # reached only if the trainer did not end the process itself


def _rank(directory: Path, attempt: int, kill: Kill | None, rank: int, port: int) -> None:
    os.environ |= {
        "RANK": str(rank), "WORLD_SIZE": str(RANKS), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo",
    }  # fmt: skip
    with contextlib.suppress(OSError):
        log = os.open(f"{directory}-{attempt}-{rank}.log", os.O_WRONLY | os.O_CREAT, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
    module: Any = types.ModuleType("torture_task")
    module.task = Task(kill)
    sys.modules["torture_task"] = module
    if kill is not None and kill.place == "checkpoint":
        setattr(durable, "os", _Disk(kill, module.task))  # noqa: B010 - a module has no such type
    spec = Worker(
        job="torture", job_uid="u", namespace="team", attempt=attempt, worker=rank, workers=RANKS, processes=1,
        rendezvous_host="127.0.0.1", rendezvous_port=port, task="torture_task:task", script=None,
        config_json=json.dumps({"steps": STEPS, "batchSize": 12, "threads": 1, "logEverySeconds": 1000}),
        checkpoint_dir=directory, checkpoint=CheckpointPolicy(every_steps=EVERY), metrics_port=None,
        termination_log=None, grace_seconds=60, workers_max=RANKS,
    )  # fmt: skip
    worker.run(spec)
    os._exit(0)
