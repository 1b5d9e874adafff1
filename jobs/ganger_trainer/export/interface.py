"""Names, types and axes of a model's inputs and outputs, as they were seen on real calls.

A file has tensors in a row; a model may take and return dicts, tuples and values that are no tensors. `Flat` stands
between the two.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

from ganger_trainer.export.calls import Call
from ganger_trainer.export.card import Value
from ganger_trainer.failures import UserError


class Interface:
    """How `model` is called. Raises UserError (BAD_CONFIG, ExportFailed) if calls differ in more than their tensors."""

    def __init__(self, model: Any, calls: Sequence[Call], outputs: Sequence[Sequence[Any]]) -> None:
        self.model = model
        self._signature = inspect.signature(model.forward)
        self._samples = [call.samples for call in calls]
        arguments = [self._bound(call) for call in calls]
        paths, self._spec = pytree.tree_flatten_with_path(arguments[0])
        self._leaves = [leaf for _, leaf in paths]
        self._places = [index for index, leaf in enumerate(self._leaves) if isinstance(leaf, torch.Tensor)]
        self.names = _unique([_name(paths[index][0]) for index in self._places])
        rows = [pytree.tree_leaves(one) for one in arguments]
        self._check(rows, [_name(path) for path, _ in paths])
        self.inputs = self._values(self.names, [[row[index] for index in self._places] for row in rows])
        self.outputs = self._values(_output_names(model, calls[0], len(outputs[0])), outputs)
        first = calls[0]
        self.plain = (
            not first.kwargs
            and all(isinstance(argument, torch.Tensor) for argument in first.args)
            and len(first.args) == len(arguments[0])
        )

    def flat(self, call: Call) -> tuple[Any, ...]:
        """Return the tensors of `call` in the order of `names`."""
        leaves = pytree.tree_leaves(self._bound(call))
        return tuple(leaves[index] for index in self._places)

    def module(self) -> Any:
        """Return a module that takes the tensors of `flat` and returns a tensor or a tuple of them."""
        return Flat(self).eval()

    def rebuilt(self, tensors: Sequence[Any]) -> Any:
        """Return what the model returns for the tensors of `flat`."""
        leaves = list(self._leaves)
        for index, tensor in zip(self._places, tensors, strict=True):
            leaves[index] = tensor
        bound = inspect.BoundArguments(self._signature, pytree.tree_unflatten(leaves, self._spec))
        return self.model(*bound.args, **bound.kwargs)

    def axes(self) -> list[dict[int, str]]:
        """Return, for each of `inputs`, the axes that may have any size, and their names."""
        return [{axis: size for axis, size in enumerate(one.shape) if isinstance(size, str)} for one in self.inputs]

    def dynamic_shapes(self) -> dict[str, Any]:
        """Return what torch.export wants to be told of the arguments of the model."""
        leaves: list[Any] = [None] * len(self._leaves)
        for index, axes in zip(self._places, shapes(self.axes()), strict=True):
            leaves[index] = axes
        return dict(pytree.tree_unflatten(leaves, self._spec))

    def _bound(self, call: Call) -> dict[str, Any]:
        return dict(self._signature.bind(*call.args, **call.kwargs).arguments)

    def _check(self, rows: list[list[Any]], names: list[str]) -> None:
        for row in rows[1:]:
            same = len(row) == len(self._leaves) and all(
                type(one) is type(other) and (isinstance(one, torch.Tensor) or one == other)
                for one, other in zip(row, self._leaves, strict=True)
            )
            if not same:
                at = next((n for n, a, b in zip(names, row, self._leaves, strict=False) if type(a) is not type(b)), "")
                raise UserError(
                    "ExportFailed",
                    f"export: the model is not called alike on every batch{f' (argument {at})' if at else ''}: only "
                    "the sizes of tensors may differ; give the task example_inputs(config)",
                )

    def _values(self, names: list[str], rows: Sequence[Sequence[Any]]) -> tuple[Value, ...]:
        values = []
        for index, name in enumerate(names):
            shapes = [tuple(row[index].shape) for row in rows]
            if len({len(shape) for shape in shapes}) > 1:
                raise UserError("ExportFailed", f"export: {name} has not the same number of axes on every batch")
            sizes = tuple(self._size(name, axis, [shape[axis] for shape in shapes]) for axis in range(len(shapes[0])))
            values.append(Value(name=name, dtype=str(rows[0][index].dtype).removeprefix("torch."), shape=sizes))
        return tuple(values)

    def _size(self, name: str, axis: int, seen: list[int]) -> int | str:
        if len(set(seen)) == 1:
            return seen[0]
        return "batch" if seen == self._samples else f"{name}_{axis}"


class Flat(torch.nn.Module):  # type: ignore[misc]  # torch is untyped here
    """The model with tensors in a row on both sides."""

    def __init__(self, interface: Interface) -> None:
        super().__init__()
        self.model = interface.model
        self._interface = interface

    def forward(self, *tensors: Any) -> Any:
        """Return the tensors that the model returns, one by itself or a tuple."""
        found = tensors_of(self._interface.rebuilt(tensors))
        return found[0] if len(found) == 1 else tuple(found)


def tensors_of(value: Any) -> list[Any]:
    """Return the tensors in what a model returned, in its own order."""
    return [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def shapes(axes: list[dict[int, str]]) -> list[Any]:
    """Return `axes` with a Dim for each name: the batch by its name, the others as torch finds them."""
    batch = torch.export.Dim("batch")
    return [{axis: batch if name == "batch" else torch.export.Dim.AUTO for axis, name in one.items()} for one in axes]


def _output_names(model: Any, call: Call, count: int) -> list[str]:
    with torch.no_grad():
        paths, _ = pytree.tree_flatten_with_path(model(*call.args, **call.kwargs))
    names = [_name(path) for path, leaf in paths if isinstance(leaf, torch.Tensor)]
    assert len(names) == count
    return _unique([name if not name or name[0].isalpha() else f"output_{name}" for name in names], "output")


def _name(path: tuple[Any, ...]) -> str:
    parts = [str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", "")))) for key in path]
    return "_".join("".join(c if c.isalnum() else "_" for c in part) for part in parts)


def _unique(names: list[str], empty: str = "input") -> list[str]:
    found: list[str] = []
    for name in (name or empty for name in names):
        found.append(name if name not in found else f"{name}_{len(found)}")
    return found
