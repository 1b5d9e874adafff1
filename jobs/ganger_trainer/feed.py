"""From the arithmetic of `batches` to tensors on the device.

A data set comes in one of three shapes and leaves in one: a list of micro-batches with weights. Tensors are indexed at
once; a map-style data set goes through torch's DataLoader, whose order we dictate.
"""
# ruff: noqa: N803 - tensors carry their shape in their name

from collections.abc import Iterator
from typing import Any

import torch
from msgspec import Struct
from torch.utils.data import DataLoader

from ganger.contract import ExitCode
from ganger_trainer.batches import Order, Share
from ganger_trainer.failures import UserError


class Micro(Struct, frozen=True):
    """One forward pass: `batch` on the device, and the factor that its mean loss enters the global mean with."""

    batch: Any
    weight: float


class Feed:
    """The micro-batches of one rank. `at` is cheapest when steps follow each other."""

    def __init__(
        self, data: Any, order: Order, *, rank: int, device: Any, micro_batch: int | None, data_workers: int
    ) -> None:
        self._order = order
        self._rank = rank
        self._device = device
        self._micro_batch = micro_batch
        self._batch = _vectorised(data)
        self._data = data
        self._data_workers = data_workers
        self._loader: Iterator[Any] = iter(())
        self._loader_step = -1
        self.samples = 0  # of this rank in the last batch
        self.global_samples = 0  # of all ranks in the last batch

    def at(self, step: int) -> list[Micro]:
        """Return this rank's part of the global batch of `step`, in pieces of at most `micro_batch` samples."""
        share = self._order.share(step, self._rank)
        self.samples, self.global_samples = len(share.indices_B), share.global_size
        if self._batch is not None and (self._micro_batch is None or self.samples <= self._micro_batch):
            return [Micro(self._place(self._batch(torch.from_numpy(share.indices_B))), share.weight)]
        pieces = self._pieces(share)
        if self._batch is not None:
            batches = [self._batch(torch.from_numpy(piece)) for piece in pieces]
        else:
            batches = self._read_ahead(step, len(pieces))
        size = len(share.indices_B)
        return [
            Micro(self._place(batch), share.weight * len(piece) / size)
            for batch, piece in zip(batches, pieces, strict=True)
        ]

    def _pieces(self, share: Share) -> list[Any]:
        limit = self._micro_batch or len(share.indices_B)
        return [share.indices_B[start : start + limit] for start in range(0, len(share.indices_B), limit)]

    def _read_ahead(self, step: int, count: int) -> list[Any]:
        if step != self._loader_step:
            sampler = _Indices(self, step)
            self._loader = iter(
                DataLoader(
                    self._data,
                    batch_sampler=sampler,
                    num_workers=self._data_workers,
                    pin_memory=self._device.type == "cuda",
                    # A generator of its own: making an iterator draws a number, which must not shift the training's.
                    generator=torch.Generator().manual_seed(self._order.seed),
                )
            )
        self._loader_step = step + 1
        return [next(self._loader) for _ in range(count)]

    def _place(self, batch: Any) -> Any:
        if self._device.type == "cpu":
            return batch
        return _moved(batch, self._device)

    def indices_from(self, step: int) -> Iterator[list[int]]:
        """Yield the indices of every micro-batch from `step` on, without end."""
        order = Order(
            size=self._order.size,
            batch_size=self._order.batch_size,
            seed=self._order.seed,
            world_size=self._order.world_size,
        )
        while True:
            for piece in self._pieces(order.share(step, self._rank)):
                yield piece.tolist()
            step += 1


class _Indices:
    """A batch sampler that starts at any step."""

    def __init__(self, feed: Feed, step: int) -> None:
        self._feed = feed
        self._step = step

    def __iter__(self) -> Iterator[list[int]]:
        return self._feed.indices_from(self._step)


def size(data: Any) -> int:
    """Return the number of samples. Raises UserError (USER_DATA, DataInvalid) if `data` is no data set."""
    if isinstance(data, torch.Tensor):
        return len(data)
    if isinstance(data, tuple | list) and data and all(isinstance(item, torch.Tensor) for item in data):
        sizes = {len(item) for item in data}
        if len(sizes) == 1:
            return sizes.pop()
        raise UserError(
            "DataInvalid", f"data() returned tensors of different lengths, {sorted(sizes)}", ExitCode.USER_DATA
        )
    if hasattr(data, "__len__") and (hasattr(data, "batch") or hasattr(data, "__getitem__")):
        return len(data)
    raise UserError(
        "DataInvalid",
        f"data() returned a {type(data).__name__}: return tensors of equal length, a map-style Dataset, or an "
        "object with "
        "__len__ and batch(indices_B)",
        ExitCode.USER_DATA,
    )


def _vectorised(data: Any) -> Any:
    """Return a function from indices to a batch, or None for a data set that is read sample by sample."""
    if isinstance(data, torch.Tensor):
        return lambda indices_B: data[indices_B]
    if isinstance(data, tuple | list) and data and isinstance(data[0], torch.Tensor):
        return lambda indices_B: tuple(tensor[indices_B] for tensor in data)
    return getattr(data, "batch", None)


def _moved(batch: Any, device: Any) -> Any:
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {key: _moved(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple | list):
        return type(batch)(_moved(value, device) for value in batch)
    return batch
