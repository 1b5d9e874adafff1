"""A gradient of your own: an operation with a forward and a backward pass, checked before it is trusted.

`x * sigmoid(beta * x)` out of torch's operations keeps the input and the sigmoid for the backward pass. As one
`torch.autograd.Function` it keeps the input alone and works the rest out anew; `beta` is learned as well.
`gradcheck` compares such a backward with differences of the forward, in double precision, and refuses a wrong one.
"""

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from ganger_trainer.examples.digits import Digits


class Swish(torch.autograd.Function):  # type: ignore[misc]  # torch is untyped here
    """x * sigmoid(beta * x)."""

    @staticmethod
    def forward(ctx: Any, x: Any, beta: Any) -> Any:
        """Return the value. What backward needs is handed over by save_for_backward, never as an attribute."""
        ctx.save_for_backward(x, beta)
        return x * torch.sigmoid(beta * x)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]  # torch is untyped here
    def backward(ctx: Any, gradient: Any) -> tuple[Any, Any]:
        """Return the gradients of x and of beta."""
        x, beta = ctx.saved_tensors
        gate = torch.sigmoid(beta * x)
        slope = x * gate * (1 - gate)
        return gradient * (gate + beta * slope), (gradient * slope * x).sum()


class Activation(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Swish with a beta that is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.ones(()))

    def forward(self, x: Any) -> Any:
        """Return the activations, of the shape of x."""
        return Swish.apply(x, self.beta)


class SwishDigits(Digits):
    """Handwritten digits, with an activation of our own."""

    def model(self, config: Any) -> Any:
        """Return the network, after the backward was compared with the forward."""
        check()
        return nn.Sequential(
            nn.Linear(64, config.hidden),
            Activation(),
            nn.Linear(config.hidden, config.hidden),
            Activation(),
            nn.Linear(config.hidden, 10),
        )

    def evaluate(self, model: Any, config: Any) -> dict[str, float]:
        """Return accuracy and loss, and what became of the first beta."""
        return super().evaluate(model, config) | {"beta": model[1].beta.item()}


def check() -> None:
    """Raise GradcheckError, with both Jacobians, if the backward pass is not the derivative of the forward pass."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    beta = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(Swish.apply, (x, beta))
    print("the gradients of Swish agree with its values")


task = SwishDigits()
