"""torch.export: a graph and its weights in one .pt2, called as the model is called."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch.utils import _pytree as pytree

from ganger_trainer.checkpoint import durable
from ganger_trainer.export.calls import Call
from ganger_trainer.export.formats import Job, Made, Method, Run
from ganger_trainer.export.interface import tensors_of

FILE: Final = "model.pt2"


def methods() -> Sequence[Method]:
    """Return the only method."""
    return (Method(name="export", make=_make, load=_load),)


def _make(job: Job, folder: Path) -> Made:
    with torch.no_grad():
        program = torch.export.export(
            job.interface.model,
            job.example.args,
            job.example.kwargs,
            dynamic_shapes=job.interface.dynamic_shapes(),
            strict=False,  # the default of newer versions of torch
        )
    try:
        program.example_inputs = None  # the file would hold samples of the training data
    except ValueError:  # torch 2.6 wants some
        program.example_inputs = pytree.tree_map(_zeros, (job.example.args, job.example.kwargs))
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    durable.write(folder / FILE, buffer.getbuffer())  # torch's own writer aborts the process when the volume is full
    return Made(file=FILE)


def _load(_job: Job, folder: Path) -> Run:
    module = torch.export.load(folder / FILE).module()

    def run(call: Call) -> list[Any]:
        with torch.no_grad():
            return tensors_of(module(*call.args, **call.kwargs))

    return run


def _zeros(leaf: Any) -> Any:
    return torch.zeros_like(leaf) if isinstance(leaf, torch.Tensor) else leaf
