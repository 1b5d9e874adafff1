"""One neuron by hand: y = w * x + b, loss = y ** 2, at x = 2, w = 1, b = 0.5.

The chain rule gives y = 2.5 and the gradients dx = 2 y w = 5, dw = 2 y x = 10, db = 2 y = 5.
The task works them out with autograd, prints them and refuses to train if they differ; then it lets gradient descent
drive the loss to zero. `forward` uses plain Python control flow and print, which both work as in any PyTorch script.
"""

from typing import Any

import torch
from torch import nn

from ganger_trainer import TrainConfig

X, W, B = 2.0, 1.0, 0.5
GRADIENTS = {"x": 5.0, "w": 10.0, "b": 5.0}


class Neuron(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """w * x + b, added up in a loop, with a branch, because it may."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(W))
        self.b = nn.Parameter(torch.tensor(B))

    def forward(self, x: Any) -> Any:
        """Return w * x + b for a tensor of any shape."""
        terms = [self.w * x, self.b]
        y = torch.zeros_like(x)
        for term in terms:
            y = y + term
        if y.detach().abs().max() > 1e6:
            print("y is large, lower lr")
        return y


class Quadratic:
    """The smallest task there is: one sample, two parameters."""

    def model(self, config: TrainConfig) -> Any:
        """Return the neuron, after its gradients were checked."""
        for name, value in gradients().items():
            print(f"d loss / d {name} = {value:g}")
            assert value == GRADIENTS[name], f"d loss / d {name} is {value}, the chain rule says {GRADIENTS[name]}"
        return Neuron()

    def data(self, config: TrainConfig) -> Any:
        """Return x = 2, once for each sample of a batch."""
        return torch.full((config.batch_size, 1), X)

    def loss(self, model: Any, batch: Any) -> Any:
        """Return the mean of y ** 2."""
        return (model(batch) ** 2).mean()

    def optimizer(self, model: Any, config: TrainConfig) -> Any:
        """Return plain gradient descent."""
        return torch.optim.SGD(model.parameters(), lr=config.lr)

    def evaluate(self, model: Any, config: TrainConfig) -> dict[str, float]:
        """Return what is left of the loss."""
        return {"loss": float(model(torch.tensor([X])) ** 2)}


def gradients() -> dict[str, float]:
    """Return the gradients of the loss with respect to x, w and b, by autograd."""
    neuron, x = Neuron(), torch.tensor([X], requires_grad=True)
    loss = (neuron(x) ** 2).sum()
    loss.backward()
    return {"x": x.grad.item(), "w": neuron.w.grad.item(), "b": neuron.b.grad.item()}


task = Quadratic()
