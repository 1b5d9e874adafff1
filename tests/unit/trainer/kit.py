"""Trainer test data in words: tasks, workers, checkpoint writers, and a disk that can fail."""

import errno
import os
import random
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional

from ganger_trainer import TrainConfig
from ganger_trainer.board import Board
from ganger_trainer.checkpoint import durable, layout, ownership
from ganger_trainer.checkpoint.exchange import Alone
from ganger_trainer.checkpoint.saver import Saver
from ganger_trainer.checkpoint.writer import Draft, Verdict, Writer
from ganger_trainer.environment import CheckpointPolicy, NonFinitePolicy, Worker
from ganger_trainer.ranks import Ranks

OWNER = ownership.Owner(namespace="team", job="digits", job_uid="uid-1", attempt=0)
FAIL = NonFinitePolicy()
ALONE = Ranks(rank=0, world_size=1, local_rank=0, device=torch.device("cpu"))
IMAGE = safetensors.torch.save({"model/w": torch.arange(1000.0)})
TREES = {"model": {"w": {"$tensor": "model/w"}}, "optimizer": {}}


class Tiny:
    """A task of two layers that draws from every generator. `at(step)` runs before the forward pass of that step."""

    def __init__(self, at: Callable[[int], None] = lambda _: None) -> None:
        self.at = at
        self.steps = 0

    def model(self, config: TrainConfig) -> Any:
        return nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Tanh(), nn.Linear(8, 1))

    def data(self, config: TrainConfig) -> Any:
        generator = torch.Generator().manual_seed(5)
        x_NF = torch.randn(37, 4, generator=generator)  # noqa: N806
        return x_NF, x_NF.sum(1, keepdim=True)

    def loss(self, model: Any, batch: Any) -> Any:
        self.steps += 1
        self.at(self.steps)
        x_BF, y_B1 = batch  # noqa: N806
        noise = random.random() * 1e-3 + float(np.random.rand()) * 1e-3
        return functional.mse_loss(model(x_BF), y_B1) + noise

    def optimizer(self, model: Any, config: TrainConfig) -> Any:
        return torch.optim.AdamW(model.parameters(), lr=config.lr)

    def scheduler(self, optimizer: Any, config: TrainConfig, total_steps: int) -> Any:
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total_steps)


def worker(
    directory: Path | None = None, *, attempt: int = 0, config: str = "{}",
    non_finite: NonFinitePolicy = FAIL, **policy: Any,
) -> Worker:  # fmt: skip
    """The only worker of a gang of one."""
    return Worker(
        job="digits", job_uid="uid-1", namespace="team", attempt=attempt, worker=0, workers=1, processes=1,
        rendezvous_host="127.0.0.1", rendezvous_port=0, task="kit_task:task", script=None, config_json=config,
        checkpoint_dir=directory, checkpoint=CheckpointPolicy(**policy), metrics_port=None, termination_log=None,
        grace_seconds=60, workers_max=1, non_finite=non_finite,
    )  # fmt: skip


def owner(attempt: int = 0, **changes: Any) -> ownership.Owner:
    values = {"namespace": "team", "job": "digits", "job_uid": "uid-1"} | changes
    return ownership.Owner(attempt=attempt, **values)


def writer(directory: Path, attempt: int = 0, **policy: Any) -> Writer:
    """The writer of a gang of one that owns `directory`."""
    directory.mkdir(exist_ok=True)
    ownership.acquire(directory, owner(attempt))
    return Writer(directory, owner(attempt), CheckpointPolicy(**policy), Alone(), rank=0, world_size=1)


def draft(step: int, score: float | None = None) -> Draft:
    return Draft(step=step, samples=step * 8, score=score, trees=TREES)


def commit(directory: Path, *steps: int, attempt: int = 0, **policy: Any) -> Verdict:
    """Write and commit a checkpoint of each of `steps`; return the last verdict."""
    verdicts = [writer(directory, attempt, **policy).write(draft(step), memoryview(IMAGE), None) for step in steps]
    assert [""] * len(steps) == [verdict.reason for verdict in verdicts], verdicts
    return verdicts[-1]


def saver(directory: Path, heard: list[Verdict], attempt: int = 0) -> Saver:
    return Saver(
        writer(directory, attempt),
        rank=0,
        world_size=1,
        pin=False,
        heard=lambda verdict, _seconds: heard.append(verdict),
    )


def steps_in(directory: Path) -> list[int]:
    return sorted(layout.look(directory).steps)


def shard_of(directory: Path, step: int) -> Path:
    return directory / layout.committed(step) / layout.shard(0)


def flip(path: Path, position: int = 100) -> None:
    """Flip one bit of the file at `path`."""
    raw = bytearray(path.read_bytes())
    raw[position] ^= 1
    path.write_bytes(raw)


class PowerCut(BaseException):
    """Not an Exception: nothing in the trainer may catch it, as nothing catches a dead machine."""


class Disk:
    """`os` as `durable` sees it: it can lose power before the n-th call, or say that it is full.

    After `lose_unsynced` a file that was written and never synced is empty, as on a file system that commits a rename
    before the data it names, and a rename whose directory was never synced has not happened.
    """

    CALLS = ("open", "write", "fsync", "rename", "replace", "close")

    def __init__(self, *, cut_at: int | None = None, full_at: int | None = None) -> None:
        self.calls: list[str] = []
        self._cut_at, self._full_at = cut_at, full_at
        self._unsynced: dict[int, int] = {}
        self._renamed: list[tuple[Path, Path]] = []

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        return (lambda *arguments: self._call(name, real, *arguments)) if name in self.CALLS else real

    def _call(self, name: str, real: Any, *arguments: Any) -> Any:
        if len(self.calls) == self._cut_at:
            raise PowerCut
        if len(self.calls) == self._full_at and name != "close":
            self.calls.append(name)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.calls.append(name)
        result = None if name == "fsync" else real(*arguments)  # syncing is modelled here: the real one is slow
        if name == "open" and arguments[1] & os.O_WRONLY:
            self._unsynced[result] = os.dup(result)
        elif name == "rename":
            self._renamed.append(arguments)
        elif name == "fsync":
            if stat.S_ISDIR(os.fstat(arguments[0]).st_mode):
                self._renamed.clear()
            os.close(self._unsynced.pop(arguments[0], os.dup(arguments[0])))
        elif name == "close" and arguments[0] in self._unsynced:
            self._unsynced[-1 - len(self.calls)] = self._unsynced.pop(arguments[0])
        return result

    def lose_unsynced(self) -> None:
        for duplicate in self._unsynced.values():
            os.ftruncate(duplicate, 0)
            os.close(duplicate)
        self._unsynced = {}
        for source, target in reversed(self._renamed):
            os.rename(target, source)  # noqa: PTH104
        self._renamed.clear()

    def attach(self, monkeypatch: Any) -> "Disk":
        monkeypatch.setattr(durable, "os", self)
        return self


class ToBoard:
    """A sender whose supervisor is a board in this process."""

    def __init__(self):
        self.board = Board()

    def send(self, report, *, surely=False):
        self.board.hear(report)
