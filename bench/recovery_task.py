"""The task of the recovery bench: small steps, each of which rank 0 tells with the time, its round and its process."""

# ruff: noqa: N806
import os
import time

import torch
from torch import nn
from torch.nn import functional

from ganger_trainer import TrainConfig


class Ticking:
    """A linear model on random data."""

    class Config(TrainConfig, frozen=True, kw_only=True):
        """Seconds that a step takes at least."""

        step_seconds: float = 0.01

    def model(self, config):
        """A layer; every rank says which process it is, so that it can be killed."""
        self.seconds, self.rank = config.step_seconds, os.environ.get("RANK", "0")
        self.run = os.environ.get("TORCHELASTIC_RUN_ID", "")
        print(f"PROCESS {self.rank} {self.run} {os.getpid()}", flush=True)
        return nn.Linear(8, 1)

    def data(self, config):
        """Samples and their sums."""
        x_NF = torch.randn(4096, 8)
        return x_NF, x_NF.sum(1, keepdim=True)

    def loss(self, model, batch):
        """Mean square error; a step that begins is a step that the gang trains."""
        time.sleep(self.seconds)
        x_BF, y_B1 = batch
        loss = functional.mse_loss(model(x_BF), y_B1)
        if self.rank == "0":
            print(f"STEP {self.run} {time.time():.6f}", flush=True)
        return loss

    def optimizer(self, model, config):
        """Plain SGD."""
        return torch.optim.SGD(model.parameters(), lr=config.lr)


task = Ticking()
