"""The task of the start-up bench: it tells when its container, its processes and its first step began and ended."""

# ruff: noqa: N806
import os
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from ganger_trainer import TrainConfig

STORE = "pt_tcpstore"  # the thread that torch serves worker 0's store with: it begins once torch was imported


def began(stat: Path) -> float:
    """Return when the process or thread of a /proc/.../stat began, by the wall clock, to a hundredth of a second."""
    ticks = int(stat.read_text().rpartition(")")[2].split()[19])
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")


def store_began() -> float | None:
    """Return when the supervisor began to serve the rendezvous, None in a worker that does not."""
    for task in Path(f"/proc/{os.getppid()}/task").iterdir():
        if (task / "comm").read_text().startswith(STORE):
            return began(task / "stat")
    return None


def tell(name: str, at: float | None) -> None:
    """Write a mark to the log."""
    if at is not None:
        print(f"MARK {name} {at:.4f}", flush=True)


class Marking:
    """A linear model on random data."""

    class Config(TrainConfig, frozen=True, kw_only=True):
        """No setting of its own."""

    def model(self, config):
        """A layer. By now the gang has met."""
        tell("met", time.time())
        tell("container", began(Path("/proc/1/stat")))
        tell("store", store_began())
        tell("forked", began(Path("/proc/self/stat")))
        self._steps = 0
        return nn.Linear(8, 1)

    def data(self, config):
        """Samples and their sums."""
        x_NF = torch.randn(4096, 8)
        return x_NF, x_NF.sum(1, keepdim=True)

    def loss(self, model, batch):
        """Mean square error."""
        if self._steps == 0:
            tell("step", time.time())
        x_BF, y_B1 = batch
        return functional.mse_loss(model(x_BF), y_B1)

    def optimizer(self, model, config):
        """Plain SGD that tells when its first step is done."""
        optimizer = torch.optim.SGD(model.parameters(), lr=config.lr)
        optimizer.register_step_post_hook(self._stepped)
        return optimizer

    def _stepped(self, *_):
        self._steps += 1
        if self._steps == 1:
            tell("stepped", time.time())


task = Marking()
