"""Handwritten digits, 8 x 8 pixels, from scikit-learn: the ten-second example. Above 95 % test accuracy.

Shapes: B batch, N samples, F = 64 pixels, C = 10 classes.
"""
# ruff: noqa: N806 - tensors carry their shape in their name

from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from ganger_trainer import TrainConfig

PIXEL_MAX = 16.0
TEST_EVERY = 5  # each fifth sample is kept for the test


class Digits:
    """A small classifier with two hidden layers."""

    class Config(TrainConfig, frozen=True, kw_only=True):
        """hidden: width of both hidden layers."""

        hidden: int = 256

    def model(self, config: Any) -> Any:
        """Return the network."""
        return nn.Sequential(
            nn.Linear(64, config.hidden),
            nn.ReLU(),
            nn.Linear(config.hidden, config.hidden),
            nn.ReLU(),
            nn.Linear(config.hidden, 10),
        )

    def data(self, config: Any) -> Any:
        """Return pixels and labels of the training samples."""
        x_NF, y_N = _digits()
        train_N = torch.arange(len(y_N)) % TEST_EVERY != 0
        return x_NF[train_N], y_N[train_N]

    def loss(self, model: Any, batch: Any) -> Any:
        """Return the cross entropy of a batch."""
        x_BF, y_B = batch
        return functional.cross_entropy(model(x_BF), y_B)

    def optimizer(self, model: Any, config: Any) -> Any:
        """Return AdamW."""
        return torch.optim.AdamW(model.parameters(), lr=config.lr)

    def evaluate(self, model: Any, config: Any) -> dict[str, float]:
        """Return accuracy and loss on the samples that training never saw."""
        device = next(model.parameters()).device
        x_NF, y_N = _digits()
        test_N = torch.arange(len(y_N)) % TEST_EVERY == 0
        x_NF, y_N = x_NF[test_N].to(device), y_N[test_N].to(device)
        logits_NC = model(x_NF)
        return {
            "accuracy": (logits_NC.argmax(1) == y_N).float().mean().item(),
            "loss": functional.cross_entropy(logits_NC, y_N).item(),
        }


def _digits() -> tuple[Any, Any]:
    x_NF, y_N = load_digits(return_X_y=True)
    return torch.from_numpy(x_NF).float() / PIXEL_MAX, torch.from_numpy(y_N).long()


task = Digits()
