"""A moving average of the weights (EMA): trained with one set, evaluated and exported with the other.

The average is part of the model, so everything that keeps a model keeps it: checkpoints, a resume, an export. In eval
mode the model answers with it. It moves after each step of the optimizer, under `torch.no_grad`, by a hook of the
optimizer: the loop knows nothing of it.
"""

from typing import Annotated, Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ganger_trainer import Live
from ganger_trainer.examples.digits import Digits


class Averaged(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Two copies of a network: `net` is trained, `average` follows it."""

    def __init__(self, net: Any, decay: float) -> None:
        super().__init__()
        self.net = net
        self.average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(decay))
        self.average.requires_grad_(False)  # no gradient, no optimizer state, and no traffic between ranks

    def forward(self, x: Any) -> Any:
        """Return what the network says; in eval mode, what its average says."""
        return self.net(x) if self.training else self.average(x)

    def follow(self, *_: Any) -> None:
        """Move the average towards the network. A hook for after the optimizer's step."""
        self.average.update_parameters(self.net)  # runs in no_grad: it is no part of any graph


class AveragedDigits(Digits):
    """Handwritten digits at a rate that is too high to settle; their average does."""

    class Config(Digits.Config, frozen=True, kw_only=True):
        """decay: how much of the average stays at each step. `ganger set` changes it while it trains."""

        decay: Annotated[float, Live(ge=0, le=1)] = 0.98

    def model(self, config: Any) -> Any:
        """Return both networks as one module."""
        return Averaged(super().model(config), config.decay)

    def optimizer(self, model: Any, config: Any) -> Any:
        """Return plain gradient descent on the trained network alone; the average follows each of its steps."""
        optimizer = torch.optim.SGD(model.net.parameters(), lr=config.lr, momentum=0.9)
        optimizer.register_step_post_hook(model.follow)
        return optimizer

    def on_live(self, model: Any, optimizer: Any, config: Any) -> None:
        """Take a new decay in."""
        model.average.multi_avg_fn = get_ema_multi_avg_fn(config.decay)

    def evaluate(self, model: Any, config: Any) -> dict[str, float]:
        """Return accuracy and loss of the average, and the loss of the network that is trained."""
        averaged, raw = super().evaluate(model, config), super().evaluate(model.net, config)
        return averaged | {"raw_loss": raw["loss"]}


task = AveragedDigits()
