"""A task that draws from every generator, and that can be told to die, to stall, or to go wrong."""

# ruff: noqa: N806
import os
import random
import signal
import time
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ganger_trainer import TrainConfig


class Toy:
    class Config(TrainConfig, frozen=True, kw_only=True):
        samples: int = 97
        width: int = 16
        step_sleep: float = 0.0
        kill_at: int | None = None  # SIGKILL to itself in this forward pass, counted over the whole job
        kill_rank: int = 0
        kill_attempt: int = 0
        nan_at: int | None = None
        raise_at: int | None = None
        missing: str | None = None

    def __init__(self) -> None:
        self.config: Any = None
        self.forward = 0

    def model(self, config: Any) -> Any:
        self.config = config
        return nn.Sequential(nn.Linear(8, config.width), nn.Dropout(0.2), nn.Tanh(), nn.Linear(config.width, 1))

    def data(self, config: Any) -> Any:
        if config.missing:
            open(config.missing).close()  # noqa: PTH123
        generator = torch.Generator().manual_seed(5)
        x_NF = torch.randn(config.samples, 8, generator=generator)
        return x_NF, x_NF.sum(1, keepdim=True)

    def loss(self, model: Any, batch: Any) -> Any:
        config, step = self.config, int(self.steps) + 1
        x_BF, y_B1 = batch
        mine = int(os.environ.get("RANK", "0")) == config.kill_rank
        if mine and config.kill_at == step and int(os.environ["GANGER_ATTEMPT"]) == config.kill_attempt:
            os.kill(os.getpid(), signal.SIGKILL)
        if config.raise_at == step and mine:
            raise RuntimeError("a bug of the user")
        if config.step_sleep:
            time.sleep(config.step_sleep)
        noise = random.random() * 1e-3 + float(np.random.rand()) * 1e-3
        loss = functional.mse_loss(model(x_BF), y_B1) + noise
        return loss * float("nan") if config.nan_at == step else loss

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
