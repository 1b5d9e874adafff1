"""A task that draws from every generator, and that can be told to die, to stall, or to go wrong."""

# ruff: noqa: N806
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ganger_trainer import TrainConfig
from ganger_trainer.checkpoint import durable


class Toy:
    class Config(TrainConfig, frozen=True, kw_only=True):
        samples: int = 97
        width: int = 16
        step_sleep: float = 0.0
        kill_at: int | None = None  # SIGKILL to itself in this forward pass, counted over the whole job
        kill_rank: int = 0
        kill_attempt: int = 0
        kill_rounds: int = 1  # in so many rounds of that attempt
        nan_at: int | None = None
        nan_rank: int | None = None  # this rank's loss alone; None: every rank's
        flip_at: int | None = None  # one bit of one parameter, on `kill_rank` and in `kill_attempt`
        raise_at: int | None = None
        missing: str | None = None
        hold_at: int | None = None  # the forward pass of this step of rank 0 waits for `go`
        hold_model: bool = False  # every rank waits for `go` before its loop
        hold_save: int | None = None  # writing the checkpoint of this step waits for `go`
        go: str = ""  # a file
        slow_rank: int | None = None  # its forward pass takes so long more
        slow_sleep: float = 0.0

    def __init__(self) -> None:
        self.config: Any = None
        self.forward = 0

    def model(self, config: Any) -> Any:
        self.config = config
        if config.hold_model:
            self._hold("the model")
        if config.hold_save is not None:
            self._hold_save(config.hold_save)
        return nn.Sequential(nn.Linear(8, config.width), nn.Dropout(0.2), nn.Tanh(), nn.Linear(config.width, 1))

    def data(self, config: Any) -> Any:
        if config.missing:
            open(config.missing).close()  # noqa: PTH123
        generator = torch.Generator().manual_seed(5)
        x_NF = torch.randn(config.samples, 8, generator=generator)
        return x_NF, x_NF.sum(1, keepdim=True)

    def loss(self, model: Any, batch: Any) -> Any:
        config, step = self.config, int(self.steps) + 1
        self.forward += 1
        x_BF, y_B1 = batch
        told = int(os.environ["TORCHELASTIC_RUN_ID"].rpartition("-")[2]) < config.kill_rounds
        mine = told and int(os.environ.get("RANK", "0")) == config.kill_rank
        if mine and config.kill_at == step and int(os.environ["GANGER_ATTEMPT"]) == config.kill_attempt:
            os.kill(os.getpid(), signal.SIGKILL)
        if config.raise_at == step and mine:
            raise RuntimeError("a bug of the user")
        if config.hold_at == step and mine:
            self._hold(f"step {step}")
        if config.slow_rank == int(os.environ.get("RANK", "0")):
            time.sleep(config.slow_sleep)
        if config.step_sleep:
            time.sleep(config.step_sleep)
        noise = random.random() * 1e-3 + float(np.random.rand()) * 1e-3
        loss = functional.mse_loss(model(x_BF), y_B1) + noise
        if mine and config.flip_at == step and int(os.environ["GANGER_ATTEMPT"]) == config.kill_attempt:
            next(model.parameters()).data.view(torch.int32)[0, 0] ^= 1 << 12  # rounding may heal a lower one
        bad = self.forward == config.nan_at and config.nan_rank in (None, int(os.environ.get("RANK", "0")))
        return loss * float("nan") if bad else loss

    def _hold(self, what: str) -> None:
        print(f"{what} is held", flush=True)
        while not Path(self.config.go).exists():
            time.sleep(0.01)

    def _hold_save(self, step: int) -> None:
        write = durable.write

        def held(path: Path, data: Any) -> str:
            if path.parent.name.startswith(f"step_{step}."):
                self._hold("the save")
            return write(path, data)

        durable.write = held

    def optimizer(self, model: Any, config: Any) -> Any:
        optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr)
        self.scheduled = optimizer
        return optimizer

    def scheduler(self, optimizer: Any, config: Any, total_steps: int) -> Any:
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total_steps)
        return self.schedule

    @property
    def steps(self) -> int:
        return int(self.schedule.last_epoch)


task = Toy()
