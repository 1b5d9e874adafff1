"""From the arithmetic of `batches` to tensors on the device.

A data set comes in one of three shapes and leaves in one: a list of micro-batches with weights. Tensors are gathered
for several steps at once, which makes a step cheaper than indexing them by itself; a map-style data set goes through
torch's DataLoader, whose order we dictate.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import torch
from msgspec import Struct
from torch.utils.data import DataLoader

from ganger.contract import ExitCode
from ganger_trainer.batches import Order, Share
from ganger_trainer.failures import UserError

GATHER_BYTES: Final = 1 << 20  # fits a core's cache; at 0.1 ms it does not show between steps


class Micro(Struct, frozen=True):
    """One forward pass: `batch` on the device, and the factor that its mean loss enters the global mean with."""

    batch: Any
    weight: float


class Step(Struct, frozen=True):
    """What one rank does at one step, and how many samples that are for it and for all ranks."""

    micros: list[Micro]
    samples: int
    global_samples: int


class Feed:
    """The micro-batches of one rank. `at` is cheapest when steps follow each other."""

    def __init__(
        self, data: Any, order: Order, *, rank: int, device: Any, micro_batch: int | None, data_workers: int
    ) -> None:
        self._order = order
        self._rank = rank
        self._device = device
        self._micro_batch = micro_batch
        self._tensors = _tensors(data)
        self._single = isinstance(data, torch.Tensor)
        self._batch = getattr(data, "batch", None)
        self._data = data
        self._data_workers = data_workers
        self._loader: Iterator[Any] = iter(())
        self._loader_step = -1
        self._gathered: list[Step] = []
        self._gathered_from = 0

    def at(self, step: int) -> Step:
        """Return this rank's part of the global batch of `step`, in pieces of at most `micro_batch` samples."""
        step = self._order.position(step)  # from here on, batches are counted
        if self._tensors is None:
            return self._read(step)
        position = step - self._gathered_from
        if not 0 <= position < len(self._gathered):
            self._gathered, self._gathered_from, position = self._gather(step), step, 0
        return self._gathered[position]

    def _gather(self, step: int) -> list[Step]:
        """Return the steps from `step` on that are worth one copy: GATHER_BYTES of samples, in one epoch."""
        assert self._tensors is not None
        share = self._order.share(step, self._rank)
        sample_bytes = max(1, sum(tensor[:1].nbytes for tensor in self._tensors))
        count = max(1, GATHER_BYTES // (sample_bytes * len(share.indices_B)))
        last = min(step + count, (self._order.epoch(step) + 1) * self._order.steps_per_epoch)
        shares = [share, *(self._order.share(later, self._rank) for later in range(step + 1, last))]
        pieces = [self._pieces(one) for one in shares]
        sizes = [len(piece) for of_step in pieces for piece in of_step]
        indices = torch.from_numpy(np.concatenate([one.indices_B for one in shares]))
        # A view for each piece: nobody else reads those samples, so a loss that changes them in place harms nobody.
        views = [self._place(_rows(tensor, indices)).split(sizes) for tensor in self._tensors]
        batches = iter(views[0] if self._single else zip(*views, strict=True))
        return [self._step(one, of_step, batches) for one, of_step in zip(shares, pieces, strict=True)]

    def _read(self, step: int) -> Step:
        share = self._order.share(step, self._rank)
        pieces = self._pieces(share)
        if self._batch is not None:
            batches = [self._batch(torch.from_numpy(piece)) for piece in pieces]
        else:
            batches = self._read_ahead(step, len(pieces))
        return self._step(share, pieces, map(self._place, batches))

    def _step(self, share: Share, pieces: list[Any], batches: Iterator[Any]) -> Step:
        size = len(share.indices_B)
        # Pieces first: zip must not take a batch that belongs to the next step.
        micros = [Micro(batch, share.weight * len(piece) / size) for piece, batch in zip(pieces, batches, strict=False)]
        return Step(micros, size, share.global_size)

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
            world_size_max=self._order.world_size_max,
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
        "object with __len__ and batch(indices_B)",
        ExitCode.USER_DATA,
    )


def _tensors(data: Any) -> tuple[Any, ...] | None:
    """Return the tensors that `data` consists of, or None for a data set that is asked for its samples."""
    if isinstance(data, torch.Tensor):
        return (data,)
    if isinstance(data, tuple | list) and data and isinstance(data[0], torch.Tensor):
        return tuple(data)
    return None


def _rows(tensor: Any, indices: Any) -> Any:
    """Return a copy of those rows, laid out in memory as `tensor[indices]` is."""
    # index_select takes a third of the time, but gives up channels_last and wants the indices on the tensor's device.
    return tensor.index_select(0, indices) if tensor.is_cpu and tensor.is_contiguous() else tensor[indices]


def _moved(batch: Any, device: Any) -> Any:
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {key: _moved(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple | list):
        return type(batch)(_moved(value, device) for value in batch)
    return batch
