"""What the model is called with, on real data: caught where `loss` calls it, so no task has to say it twice.

Several batches of several sizes: an axis whose size differs between them is one that may have any size in the file.
"""

from collections.abc import Mapping
from typing import Any, Final

import torch
from msgspec import Struct
from torch.utils import _pytree as pytree

from ganger.contract import ExitCode
from ganger_trainer import feed
from ganger_trainer.batches import Order
from ganger_trainer.export.source import Source
from ganger_trainer.failures import UserError

SIZES: Final = (8, 8, 8, 5, 3, 1)  # the first is what exporters trace with: neither 0 nor 1, which they specialise


class Call(Struct, frozen=True):
    """The arguments of one forward pass, and how many samples its batch has."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    samples: int


def real(source: Source) -> list[Call]:
    """Return calls with batches of the task's data, or of its `example_inputs`, in fp32.

    Raises UserError (BAD_CONFIG, TaskInvalid) where `loss` does not call the model, and what `data` raises.
    """
    if hasattr(source.task, "example_inputs"):
        return _of_examples(source.task.example_inputs(source.config))
    data = _data(source)
    size = feed.size(data)
    calls = []
    for index, samples in enumerate(min(size, wanted) for wanted in SIZES):
        order = Order(size=size, batch_size=samples, seed=source.config.seed, world_size=1)
        batches = feed.Feed(data, order, rank=0, device=torch.device("cpu"), micro_batch=None, data_workers=0)
        step = batches.at(index % order.steps_per_epoch)
        args, kwargs = _caught(source, step.micros[0].batch)
        calls.append(Call(_fp32(args), _fp32(kwargs), step.samples))  # the last batch of an epoch has fewer
    return calls


def _data(source: Source) -> Any:
    try:
        return source.task.data(source.config)
    except OSError as error:
        raise UserError(
            "DataMissing",
            f"export: data() could not read {error.filename or 'its input'} ({error.strerror or error}), and a file is "
            "compared on real batches: mount it for the export too, or give the task example_inputs(config)",
            ExitCode.USER_INPUT_MISSING,
        ) from error


class _CaughtError(BaseException):
    """Not an Exception: a task that catches those must not see it."""


def _caught(source: Source, batch: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    found: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def catch(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found.append((args, kwargs))
        raise _CaughtError

    handle = source.model.register_forward_pre_hook(catch, with_kwargs=True)
    try:
        with torch.no_grad():
            source.task.loss(source.model, batch)
    except _CaughtError:
        return found[0]
    finally:
        handle.remove()
    raise UserError(
        "TaskInvalid",
        "export: loss(model, batch) does not call the model itself, so its inputs are not known: give the task "
        "example_inputs(config), which returns what the model is called with",
    )


def _of_examples(inputs: Any) -> list[Call]:
    args: tuple[Any, ...] = () if isinstance(inputs, Mapping) else inputs if isinstance(inputs, tuple) else (inputs,)
    kwargs: dict[str, Any] = dict(inputs) if isinstance(inputs, Mapping) else {}
    leaves = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor) and leaf.ndim]
    if not leaves or len(leaves[0]) < 2:
        raise UserError(
            "TaskInvalid",
            "example_inputs(config) must return a tensor, a tuple or a dict of tensors with at least 2 samples along "
            "the first axis",
        )
    whole = len(leaves[0])
    calls: list[Call] = []
    for samples in (min(whole, wanted) for wanted in SIZES):
        first = len(calls) * samples % (whole - samples + 1)
        part = pytree.tree_map(lambda leaf, at=first, n=samples: _rows(leaf, whole, at, n), (args, kwargs))
        calls.append(Call(_fp32(part[0]), _fp32(part[1]), samples))
    return calls


def _rows(leaf: Any, whole: int, first: int, samples: int) -> Any:
    if isinstance(leaf, torch.Tensor) and leaf.ndim and len(leaf) == whole:
        return leaf[first : first + samples]
    return leaf


def _fp32(tree: Any) -> Any:
    return pytree.tree_map(
        lambda leaf: (
            leaf.detach().float()
            if isinstance(leaf, torch.Tensor) and leaf.dtype in (torch.float16, torch.bfloat16)
            else leaf.detach().clone()
            if isinstance(leaf, torch.Tensor)
            else leaf
        ),
        tree,
    )
