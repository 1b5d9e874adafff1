"""safetensors: the weights alone, with config.json to make their model with; no code, and nothing that can run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import safetensors.torch
import torch

from ganger_trainer.checkpoint import durable
from ganger_trainer.export.calls import Call
from ganger_trainer.export.formats import Job, Made, Method, Run
from ganger_trainer.export.interface import tensors_of
from ganger_trainer.failures import UserError

FILE: Final = "model.safetensors"
CONFIG: Final = "config.json"


def methods() -> Sequence[Method]:
    """Return the only method."""
    return (Method(name="state_dict", make=_make, load=_load),)


def _make(job: Job, folder: Path) -> Made:
    state = job.source.model.state_dict()
    if others := [name for name, value in state.items() if not isinstance(value, torch.Tensor)]:
        raise UserError(
            "ExportFailed",
            f"safetensors holds tensors alone, and state_dict() has {', '.join(others[:3])}: keep them as buffers, or "
            "take safetensors out of spec.export",
        )
    seen: set[int] = set()
    tensors: dict[str, Any] = {}
    for name, value in state.items():
        own = value.detach().contiguous()
        storage = own.untyped_storage().data_ptr()
        # Tied weights are written under each of their names, so that load_state_dict is all that a reader needs.
        tensors[name] = own.clone() if storage in seen else own
        seen.add(storage)
    safetensors.torch.save_file(tensors, folder / FILE, metadata={"format": "pt"})
    durable.write(folder / CONFIG, msgspec.json.format(msgspec.json.encode(job.source.settings())) + b"\n")
    return Made(file=FILE, packages={"safetensors": safetensors.__version__})


def _load(job: Job, folder: Path) -> Run:
    model = job.source.anew()
    model.load_state_dict(safetensors.torch.load_file(folder / FILE))

    def run(call: Call) -> list[Any]:
        with torch.no_grad():
            return tensors_of(model(*call.args, **call.kwargs))

    return run
