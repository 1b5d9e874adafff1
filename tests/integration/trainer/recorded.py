"""A task without chance that writes down, on every rank, which samples a step saw and what their loss was.

One line of JSON for each forward pass, in a file for each attempt and rank beside the working directory.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ganger_trainer import TrainConfig


class Recorded:
    class Config(TrainConfig, frozen=True, kw_only=True):
        samples: int = 99
        step_sleep: float = 0.0

    def model(self, config: Any) -> Any:
        self.config = config
        return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))

    def data(self, config: Any) -> Any:
        generator = torch.Generator().manual_seed(5)
        x_NF = torch.randn(config.samples, 8, generator=generator)  # noqa: N806
        return torch.arange(config.samples), x_NF, x_NF.sum(1, keepdim=True)

    def loss(self, model: Any, batch: Any) -> Any:
        ids_B, x_BF, y_B1 = batch  # noqa: N806
        loss = functional.mse_loss(model(x_BF), y_B1)
        line = {"step": int(self.schedule.last_epoch), "samples": ids_B.tolist(), "loss": loss.item()}
        name = f"record-{os.environ['GANGER_ATTEMPT']}-{os.environ['RANK']}.jsonl"
        with Path(name).open("a") as record:
            record.write(json.dumps(line) + "\n")
        time.sleep(self.config.step_sleep)
        return loss

    def optimizer(self, model: Any, config: Any) -> Any:
        return torch.optim.AdamW(model.parameters(), lr=config.lr)

    def scheduler(self, optimizer: Any, config: Any, total_steps: int) -> Any:
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total_steps)
        return self.schedule


task = Recorded()
