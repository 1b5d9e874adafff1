"""Control flow that depends on the data, in eager mode and under `compile: true`.

The network applies one block to its state until the state settles, so easy batches take fewer rounds than hard ones.
Whether to go on is asked of a tensor: `torch.compile` cannot know the answer when it compiles. It leaves that loop to
Python and compiles what the loop calls, so the block is a module of its own. The result is that of eager mode.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ganger_trainer.examples.digits import Digits


class Round(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """h -> tanh(W h + given), and how far that moves h."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.inner = nn.Linear(hidden, hidden)
        nn.init.orthogonal_(self.inner.weight, gain=0.5)  # a contraction: it settles

    def forward(self, h: Any, given: Any) -> Any:
        """Return the next state and the mean distance to it."""
        after = torch.tanh(self.inner(h) + given)
        return after, (after - h).abs().mean()


class Settling(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Rounds until they move the state by less than `tolerance`, at most `rounds` of them."""

    def __init__(self, hidden: int, tolerance: float, rounds: int) -> None:
        super().__init__()
        self.into, self.round, self.out = nn.Linear(64, hidden), Round(hidden), nn.Linear(hidden, 10)
        self.tolerance = tolerance
        self.rounds = rounds
        self.taken = 0  # of the last forward pass

    def forward(self, x: Any) -> Any:
        """Return logits."""
        given = self.into(x)
        h = torch.tanh(given)
        self.taken, moved = 0, torch.inf
        while moved > self.tolerance and self.taken < self.rounds:  # a tensor as a condition
            h, moved = self.round(h, given)
            self.taken += 1
        return self.out(h)


class SettlingDigits(Digits):
    """Handwritten digits, in as many rounds as they take."""

    class Config(Digits.Config, frozen=True, kw_only=True):
        """tolerance: mean change of a state that counts as settled. rounds: the most there are."""

        tolerance: float = 0.02
        rounds: int = 12

    def model(self, config: Any) -> Any:
        """Return the network."""
        return Settling(config.hidden, config.tolerance, config.rounds)

    def loss(self, model: Any, batch: Any) -> Any:
        """Return the cross entropy of a batch."""
        x, y = batch
        return functional.cross_entropy(model(x), y)

    def evaluate(self, model: Any, config: Any) -> dict[str, float]:
        """Return accuracy and loss, and the rounds that the test samples took."""
        return super().evaluate(model, config) | {"rounds": float(model.taken)}


task = SettlingDigits()
