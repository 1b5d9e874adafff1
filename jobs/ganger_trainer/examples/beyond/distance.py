"""Gradients of gradients: a network learns how far a point is from a circle, and is told only what a distance is.

A distance is 0 on the circle, grows along the normal there, and its gradient has length 1 everywhere (the eikonal
equation). So the loss holds the gradient of the network with respect to its input, and training needs the gradient of
that: `create_graph=True`. The evaluation asks for second derivatives of another kind, the sharpest curvature of the
loss over all parameters, without ever forming the matrix: products of the Hessian with a vector are enough.

Shapes: N, B points in the plane; 2 coordinates.
"""

# ruff: noqa: N806 - tensors carry their shape in their name
from typing import Any

import torch
from torch import nn

from ganger_trainer import TrainConfig

POINTS = 2048
POWER_STEPS = 12


class Distance:
    """The signed distance to the unit circle, from its equation alone."""

    class Config(TrainConfig, frozen=True, kw_only=True):
        """hidden: width of both hidden layers. eikonal: weight of the gradient's length."""

        hidden: int = 64
        eikonal: float = 0.5

    def __init__(self) -> None:
        self._eikonal = 0.0

    def model(self, config: Any) -> Any:
        """Return a network that can be differentiated twice: a ReLU has no second derivative to follow."""
        self._eikonal = config.eikonal
        return nn.Sequential(
            nn.Linear(2, config.hidden),
            nn.Softplus(beta=10),
            nn.Linear(config.hidden, config.hidden),
            nn.Softplus(beta=10),
            nn.Linear(config.hidden, 1),
        )

    def data(self, config: Any) -> Any:
        """Return points of the circle, and as many of the square around it."""
        generator = torch.Generator().manual_seed(config.seed)
        angle_N = torch.rand(POINTS, generator=generator) * 2 * torch.pi
        return torch.stack([angle_N.cos(), angle_N.sin()], dim=1), torch.rand(POINTS, 2, generator=generator) * 4 - 2

    def loss(self, model: Any, batch: Any) -> Any:
        """Return how far the network is from what a distance has to be."""
        on_B2, off_B2 = batch
        x_B2 = torch.cat([on_B2, off_B2]).requires_grad_()
        f_B = model(x_B2).squeeze(1)
        # create_graph: what comes out is part of the loss, so it has to have a gradient of its own.
        (slope_B2,) = torch.autograd.grad(f_B.sum(), x_B2, create_graph=True)
        on = len(on_B2)
        normal = (slope_B2[:on] - on_B2).square().sum(1).mean()  # of the unit circle a point is its own normal
        length = (slope_B2[on:].norm(dim=1) - 1).square().mean()
        return f_B[:on].square().mean() + normal + self._eikonal * length

    def optimizer(self, model: Any, config: Any) -> Any:
        """Return Adam."""
        return torch.optim.Adam(model.parameters(), lr=config.lr)

    def evaluate(self, model: Any, config: Any) -> dict[str, float]:
        """Return the error against |x| - 1, which the training was never shown, and the sharpest curvature."""
        line = torch.linspace(-2, 2, 41)
        x_N2 = torch.cartesian_prod(line, line).to(next(model.parameters()).device)
        error = (model(x_N2).squeeze(1) - (x_N2.norm(dim=1) - 1)).abs().mean()
        # Evaluations run in inference mode, where nothing has a gradient; this leaves it for a moment.
        with torch.inference_mode(False), torch.enable_grad():
            batch = [part[:256].to(x_N2.device) for part in self.data(config)]
            return {"error": error.item(), "curvature": curvature(self.loss(model, batch), model)}


def curvature(loss: Any, model: Any) -> float:
    """Return the largest eigenvalue, by size, of the Hessian of `loss` in the parameters of `model`."""
    parameters = list(model.parameters())
    gradient = torch.autograd.grad(loss, parameters, create_graph=True)
    generator = torch.Generator().manual_seed(0)
    vector = [torch.randn(p.shape, generator=generator).to(p.device) for p in parameters]
    largest = 0.0
    for _ in range(POWER_STEPS):
        size = torch.nn.utils.get_total_norm(vector)
        vector = [part / size for part in vector]
        product = hessian_product(gradient, parameters, vector)
        largest = sum(float((a * b).sum()) for a, b in zip(vector, product, strict=True))
        vector = product
    return largest


def hessian_product(gradient: Any, parameters: Any, vector: Any) -> list[Any]:
    """Return the Hessian times `vector`: the gradient of (gradient . vector). `gradient` has a graph of its own."""
    product = torch.autograd.grad(gradient, parameters, grad_outputs=vector, retain_graph=True, materialize_grads=True)
    return [part.detach() for part in product]


task = Distance()
