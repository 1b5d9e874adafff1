"""Data order as arithmetic: which samples rank r sees at step s, at any world size.

Nothing is replayed on resume and nothing is remembered: the order of an epoch is a permutation drawn from (seed,
epoch). Tail rule: the last batch of an epoch holds what is left; if that is fewer samples than there may ever be ranks
(`world_size_max`: an elastic job counts with its most workers), they join the batch before it. So every rank has work
at every step, an epoch visits every sample exactly once, and a step means the same samples whatever the size of the
gang. Shares of one batch differ by at most one sample; `Share.weight` makes up for that, so that the averaged gradient
is the gradient of the mean over the global batch.
"""
# ruff: noqa: N815 - tensors carry their shape in their name

from typing import Any

import numpy as np
from msgspec import Struct

from ganger.contract import ExitCode
from ganger_trainer.failures import UserError


class Share(Struct, frozen=True):
    """The samples of one rank at one step.

    indices_B: int64, in the order of the permutation. weight: world size times this rank's part of the global batch,
    1.0 when shares are equal. global_size: samples of the batch over all ranks.
    """

    indices_B: np.ndarray[Any, np.dtype[np.int64]]
    weight: float
    global_size: int


class Skips(Struct, frozen=True):
    """Which global batches a job left out after a NaN: from a step on, so many. rollbacks: how often it went back."""

    windows: tuple[tuple[int, int], ...] = ()
    rollbacks: int = 0


class Order:
    """The order of a data set of `size` samples, cut into global batches of `batch_size`.

    world_size_max: most ranks that the job may ever have; None: always world_size. Raises UserError: DataTooSmall
    (USER_DATA), ConfigInvalid if there would not be a sample for each of them.
    """

    def __init__(
        self, *, size: int, batch_size: int, seed: int, world_size: int, world_size_max: int | None = None
    ) -> None:
        most = max(world_size, world_size_max or world_size)
        if size < most:
            raise UserError(
                "DataTooSmall",
                f"the data set has {size} samples for {most} processes: use fewer workers or more data",
                ExitCode.USER_DATA,
            )
        if batch_size < most:
            raise UserError(
                "ConfigInvalid",
                f"config: batchSize {batch_size} is the global batch and must be at least the number of processes, "
                f"{most}: raise batchSize or use fewer workers",
            )
        self.size = size
        self.batch_size = batch_size
        self.seed = seed
        self.world_size = world_size
        self.world_size_max = most
        full, tail = divmod(size, batch_size)
        self.steps_per_epoch = max(1, full + (tail >= most))
        self.skips = Skips()
        self._skipped = 0
        self._epoch = -1
        self._permutation = np.empty(0, dtype=np.int64)

    def position(self, step: int) -> int:
        """Return the number, from 0, of the global batch that step `step` (from 0) trains on: later than any skip."""
        return step + self._skipped

    def restore(self, skips: Skips) -> None:
        """Leave out what `skips` says and nothing else: the training goes on from a checkpoint that knows it."""
        self.skips, self._skipped = skips, sum(count for _, count in skips.windows)

    def skip(self, step: int, count: int, rollbacks: int) -> None:
        """Leave out `count` global batches from `step` on, which is not trained yet."""
        self.restore(Skips((*self.skips.windows, (step, count)), rollbacks))

    def epoch(self, position: int) -> int:
        """Return the epoch, from 0, that the global batch `position` belongs to."""
        return position // self.steps_per_epoch

    def share(self, position: int, rank: int) -> Share:
        """Return what `rank` has of the global batch `position`. The same arguments always give the same samples."""
        epoch, position = divmod(position, self.steps_per_epoch)
        if epoch != self._epoch:
            generator = np.random.Generator(np.random.PCG64([self.seed, epoch]))
            self._permutation = generator.permutation(self.size)
            self._epoch = epoch
        first = position * self.batch_size
        last = self.size if position == self.steps_per_epoch - 1 else first + self.batch_size
        count = last - first
        low = first + count * rank // self.world_size
        high = first + count * (rank + 1) // self.world_size
        return Share(self._permutation[low:high], (high - low) * self.world_size / count, count)

    def samples_before(self, position: int) -> int:
        """Return how many samples lie before the global batch `position`."""
        epoch, position = divmod(position, self.steps_per_epoch)
        return epoch * self.size + position * self.batch_size

    def samples(self, position: int, count: int) -> int:
        """Return how many samples the `count` global batches from `position` on hold."""
        return self.samples_before(position + count) - self.samples_before(position)
