"""The formats: how each file is written, and loaded anew by the runtime that its users have.

A format may know several methods; the next one is tried where one does not take the model, or makes something else
of it.
"""

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from ganger_trainer.export.calls import Call
from ganger_trainer.export.interface import Interface
from ganger_trainer.export.source import Source
from ganger_trainer.export.wanted import Wanted

MODULES: Final = {
    "onnx": "onnx_file",
    "torch-export": "program",
    "torchscript": "script",
    "safetensors": "weights",
}
# onnxruntime tells its makers of every use unless this is set before it is imported; a training tells nobody.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

Run = Callable[[Call], Sequence[Any]]  # from the arguments of a call to the tensors that the file computes


class Job(Struct, frozen=True, kw_only=True):
    """What a method makes a file of."""

    source: Source
    interface: Interface
    example: Call
    wanted: Wanted


class Made(Struct, frozen=True, kw_only=True):
    """What a method has written. file: the one to load; packages: what made it, by version."""

    file: str
    packages: dict[str, str] = {}
    opset: int | None = None
    warnings: tuple[str, ...] = ()


class Method(Struct, frozen=True, kw_only=True):
    """One way to a format. `make` writes into an empty folder, `load` reads it; both raise what they like."""

    name: str
    make: Callable[[Job, Path], Made]
    load: Callable[[Job, Path], Run]


def methods(name: str) -> Sequence[Method]:
    """Return the methods of the format `name`, the best first. Imports its packages."""
    found: Sequence[Method] = import_module(f"{__name__}.{MODULES[name]}").methods()
    return found
