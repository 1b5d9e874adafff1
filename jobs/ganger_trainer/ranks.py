"""One process among those of its gang: its rank, its device, and the few words ranks exchange outside DDP.

Small agreements travel over a gloo group of their own, on the CPU: on a GPU they then never wait for a kernel.
A gang of one has no process group at all.
"""

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import torch
import torch.distributed as dist

COLLECTIVE_TIMEOUT: Final = timedelta(
    minutes=10
)  # a guess: longer than any evaluation seen, shorter than a coffee break


class Ranks:
    """What one process knows of the others. Values are ints, so that nothing is pickled on the way."""

    def __init__(self, *, rank: int, world_size: int, local_rank: int, device: Any, control: Any = None) -> None:
        self.rank = rank
        self.world_size = world_size
        self.local_rank = local_rank
        self.device = device
        self._control = control

    @property
    def is_first(self) -> bool:
        """True on rank 0, which logs, commits checkpoints and speaks for the job."""
        return self.rank == 0

    def maximum(self, values: Sequence[int]) -> list[int]:
        """Return, on every rank, the largest of each value over all ranks. A collective call."""
        if self.world_size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.int64)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX, group=self._control)
        return [int(value) for value in tensor.tolist()]

    def agree(self, ok: bool) -> bool:
        """Return, on every rank, True if all ranks passed True. A collective call."""
        return self.maximum([int(not ok)]) == [0]

    def from_first(self, value: int) -> int:
        """Return rank 0's value on every rank. A collective call."""
        if self.world_size == 1:
            return value
        tensor = torch.tensor([value], dtype=torch.int64)
        dist.broadcast(tensor, src=0, group=self._control)
        return int(tensor.item())

    def text_from_first(self, text: str) -> str:
        """Return rank 0's text on every rank. A collective call."""
        if self.world_size == 1:
            return text
        data = text.encode()
        size = self.from_first(len(data))
        if not size:
            return ""
        tensor = torch.empty(size, dtype=torch.uint8)
        if self.is_first:
            tensor = torch.tensor(list(data), dtype=torch.uint8)
        dist.broadcast(tensor, src=0, group=self._control)
        return bytes(tensor.tolist()).decode()

    def gather(self, values: Sequence[int]) -> list[list[int]]:
        """Return, on every rank, the values of each rank in the order of ranks. A collective call; equal lengths."""
        if self.world_size == 1:
            return [list(values)]
        mine = torch.tensor(values, dtype=torch.int64)
        everyone = [torch.empty_like(mine) for _ in range(self.world_size)]
        dist.all_gather(everyone, mine, group=self._control)
        return [[int(value) for value in one.tolist()] for one in everyone]

    def leave(self) -> None:
        """End the process group, if there is one. A collective call."""
        if self.world_size > 1:
            dist.destroy_process_group()


def join(environ: Mapping[str, str] = os.environ) -> Ranks:
    """Join the gang that torchrun's agent described in `environ`; return when all ranks are there.

    Uses NCCL and one GPU per local rank where there are GPUs, else gloo on the CPU.
    """
    rank, world_size = int(environ.get("RANK", "0")), int(environ.get("WORLD_SIZE", "1"))
    local_rank = int(environ.get("LOCAL_RANK", "0"))
    if torch.cuda.is_available():
        device = torch.device("cuda", local_rank % torch.cuda.device_count())
        torch.cuda.set_device(device)
    else:
        device = torch.device("cpu")
    control = None
    if world_size > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=COLLECTIVE_TIMEOUT)
        # On the CPU the default group is gloo already, but DDP's own collectives must not be reordered with ours.
        control = dist.new_group(backend="gloo", timeout=COLLECTIVE_TIMEOUT)
    return Ranks(rank=rank, world_size=world_size, local_rank=local_rank, device=device, control=control)
