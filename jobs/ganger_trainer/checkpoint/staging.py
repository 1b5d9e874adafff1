"""One shard in host memory, laid out byte for byte as its safetensors file.

The buffer is allocated and touched once. A save then costs the training one copy of its tensors, and a background
thread writes the buffer as it is: no serialisation, no second copy. On a GPU the buffer is pinned, so the copies run
as DMA.
"""

import json
from typing import Any, Final

import numpy as np
import torch

from ganger_trainer.failures import UserError

NAMES: Final = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint8: "U8", torch.bool: "BOOL", torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2",
}  # fmt: skip
_WIDE: Final = (torch.float64, torch.float32)  # of which numpy finds the least and the greatest at the speed of memory
# The bits of infinity. Without their sign those of a NaN are greater; numpy has no bfloat16.
_INFINITY: Final = {torch.float16: 0x7C00, torch.bfloat16: 0x7F80}
_MAGNITUDE: Final = np.uint16(0x7FFF)
_INTEGERS: Final = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes; numpy has them all
SCAN_ELEMENTS: Final = 1 << 18  # a megabyte, which stays in a core's own cache from one look to the next


class Staging:
    """A buffer for exactly the tensors it was made for; `fits` says whether others have the same layout."""

    def __init__(self, tensors: dict[str, Any], *, pin: bool) -> None:
        # Wide types first keeps every tensor aligned for its own type.
        order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
        table: dict[str, Any] = {}
        end = 0
        for name in order:
            tensor = tensors[name]
            if tensor.dtype not in NAMES:
                raise UserError("StateNotSaveable", f"{name} is {tensor.dtype}, which a checkpoint cannot hold")
            start, end = end, end + tensor.numel() * tensor.element_size()
            table[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
        header = json.dumps(table, separators=(",", ":")).encode()
        header += b" " * (-len(header) % 8)
        offset = 8 + len(header)
        self._layout = _layout(tensors)
        self._buffer = torch.empty(offset + end, dtype=torch.uint8, pin_memory=pin)
        self._buffer.zero_()  # faults every page in now, not while training waits
        self._views = {}
        for name in order:
            start, stop = table[name]["data_offsets"]
            view = self._buffer[offset + start : offset + stop].view(tensors[name].dtype)
            self._views[name] = view.view(tensors[name].shape)
        self.image = memoryview(self._buffer.numpy())
        self.image[:8] = len(header).to_bytes(8, "little")
        self.image[8:offset] = header

    def fits(self, tensors: dict[str, Any]) -> bool:
        """True if `tensors` have the names, types and shapes that this buffer was made for."""
        return self._layout == _layout(tensors)

    def fill(self, tensors: dict[str, Any]) -> None:
        """Copy `tensors`, all or some of those it was made for, in. When it returns, they may change."""
        on_device = False
        for name, tensor in tensors.items():
            self._views[name].copy_(tensor, non_blocking=True)
            on_device = on_device or tensor.is_cuda
        if on_device:
            torch.cuda.current_stream().synchronize()

    def take(self, tensors: dict[str, Any]) -> None:
        """Copy `tensors` of the host in, as `fill` does, on this thread alone: torch would start threads of its own."""
        for name, tensor in tensors.items():
            np.copyto(_integers(self._views[name]).numpy(), _integers(tensor).numpy())  # releases the GIL

    def differing(self, tensors: dict[str, Any]) -> str | None:
        """Return the name of one of `tensors` that is no longer, bit for bit, what was copied in, or None."""
        return next(
            (name for name, tensor in tensors.items() if not _integers(self._views[name]).equal(_integers(tensor))),
            None,
        )

    def names(self, prefix: str) -> list[str]:
        """Return the names of the tensors under `prefix`."""
        return [name for name in self._views if name.startswith(prefix)]

    def look(self, name: str) -> str | None:
        """Return "a NaN" or "an infinity" if the tensor `name` holds one, the worse of both. Uses no torch threads.

        An infinity may be meant: masks of attention, which many models keep as buffers, are full of them.
        """
        view, found = self._views[name], None
        if view.dtype not in _WIDE and view.dtype not in _INFINITY:
            return None
        flat = view.reshape(-1)
        for start in range(0, flat.numel(), SCAN_ELEMENTS):
            part = flat[start : start + SCAN_ELEMENTS]
            if view.dtype in _WIDE:
                with np.errstate(invalid="ignore"):
                    low, high = np.min(part.numpy()), np.max(part.numpy())  # both are NaN if one value is
                if np.isnan(low):
                    return "a NaN"
                infinite = np.isinf(low) or np.isinf(high)
            else:
                greatest = int((part.view(torch.int16).numpy().view(np.uint16) & _MAGNITUDE).max())
                if greatest > _INFINITY[view.dtype]:
                    return "a NaN"
                infinite = greatest == _INFINITY[view.dtype]
            if infinite:
                found = "an infinity"
        return found


def shares(tensors: dict[str, Any], world_size: int) -> list[list[str]]:
    """Return which tensors each rank writes: about equal bytes, the same answer on every rank. Pure."""
    names: list[list[str]] = [[] for _ in range(world_size)]
    load = [0] * world_size
    for name in sorted(tensors, key=lambda name: (-tensors[name].numel() * tensors[name].element_size(), name)):
        rank = load.index(min(load))
        names[rank].append(name)
        load[rank] += tensors[name].numel() * tensors[name].element_size()
    return names


def _integers(tensor: Any) -> Any:
    """Return the bits of `tensor` as integers of its size, in its own memory: numpy knows no bfloat16."""
    return tensor.view(_INTEGERS[tensor.element_size()])


def _layout(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
