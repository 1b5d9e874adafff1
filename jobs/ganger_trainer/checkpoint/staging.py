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
# The bits of infinity. Without their sign those of a NaN are greater; numpy has no bfloat16.
_INFINITY: Final = {
    torch.float64: (np.uint64, 0x7FF0000000000000),
    torch.float32: (np.uint32, 0x7F800000),
    torch.float16: (np.uint16, 0x7C00),
    torch.bfloat16: (np.uint16, 0x7F80),
}
SCAN_ELEMENTS: Final = 1 << 20


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
        """Copy `tensors` in. When it returns, they may change."""
        on_device = False
        for name, view in self._views.items():
            view.copy_(tensors[name], non_blocking=True)
            on_device = on_device or tensors[name].is_cuda
        if on_device:
            torch.cuda.current_stream().synchronize()

    def first_nan(self, prefix: str) -> str | None:
        """Return the name of a tensor under `prefix` that holds a NaN, or None. Uses no torch threads.

        An infinity may be meant: masks of attention, which many models keep as buffers, are full of them.
        """
        for name, view in self._views.items():
            if not name.startswith(prefix) or view.dtype not in _INFINITY or view.numel() == 0:
                continue
            kind, infinity = _INFINITY[view.dtype]
            magnitude = kind((1 << (8 * view.element_size() - 1)) - 1)
            bits = view.reshape(-1).view(torch.uint8).numpy().view(kind)
            for start in range(0, bits.size, SCAN_ELEMENTS):
                if ((bits[start : start + SCAN_ELEMENTS] & magnitude) > infinity).any():
                    return name
        return None


def shares(tensors: dict[str, Any], world_size: int) -> list[list[str]]:
    """Return which tensors each rank writes: about equal bytes, the same answer on every rank. Pure."""
    names: list[list[str]] = [[] for _ in range(world_size)]
    load = [0] * world_size
    for name in sorted(tensors, key=lambda name: (-tensors[name].numel() * tensors[name].element_size(), name)):
        rank = load.index(min(load))
        names[rank].append(name)
        load[rank] += tensors[name].numel() * tensors[name].element_size()
    return names


def _layout(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
