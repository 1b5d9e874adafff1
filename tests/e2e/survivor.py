"""A small task that can be made to fail, once in the life of its job: it goes into real pods as a ConfigMap."""

# ruff: noqa: N806
import os
import signal
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ganger_trainer import TrainConfig


class Survivor:
    class Config(TrainConfig, frozen=True, kw_only=True):
        fault: str = ""
        at: int = 30  # the step of the fault
        rank: int = 1
        step_sleep: float = 0.02
        width: int = 64

    def model(self, config: Any) -> Any:
        self.config = config
        self.step = 0
        self.rank = int(os.environ["RANK"])
        self.kept: list[Any] = []
        return nn.Sequential(nn.Linear(16, config.width), nn.Tanh(), nn.Linear(config.width, 1))

    def data(self, config: Any) -> Any:
        generator = torch.Generator().manual_seed(5)
        x_NF = torch.randn(1024, 16, generator=generator)
        return x_NF, x_NF.sum(1, keepdim=True)

    def optimizer(self, model: Any, config: Any) -> Any:
        return torch.optim.AdamW(model.parameters(), lr=config.lr)

    def loss(self, model: Any, batch: Any) -> Any:
        time.sleep(self.config.step_sleep)
        self.step += 1
        x_BF, y_B1 = batch
        loss = functional.mse_loss(model(x_BF), y_B1)
        return self._fail(loss) if self._is_time() else loss

    def _is_time(self) -> bool:
        if not self.config.fault or self.step != self.config.at or self.rank != self.config.rank:
            return False
        if self.config.fault == "nan-always":
            return True
        try:
            (Path(os.environ["GANGER_CHECKPOINT_DIR"]) / "fault-done").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def _fail(self, loss: Any) -> Any:
        match self.config.fault:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "exit":
                os._exit(7)
            case "memory":
                while True:
                    self.kept.append(torch.ones(16 << 20))
            case "nan" | "nan-always":
                return loss * float("nan")
        return loss


task = Survivor()
