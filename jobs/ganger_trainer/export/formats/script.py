"""TorchScript, which newer versions of torch call deprecated: traced, and compiled where a trace is not right.

A trace keeps the path that one batch took; a branch that depends on the data is then wrong for others, which the
comparison finds. The deprecation is said once, in the card, and not by every call.
"""

import io
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import torch

from ganger_trainer.checkpoint import durable
from ganger_trainer.export.calls import Call
from ganger_trainer.export.formats import Job, Made, Method, Run
from ganger_trainer.export.interface import tensors_of

FILE: Final = "model.pt"


def methods() -> Sequence[Method]:
    """Return tracing, then compiling."""
    return (
        Method(name="trace", make=_trace, load=_load_flat),
        Method(name="script", make=_script, load=_load_natural),
    )


def _trace(job: Job, folder: Path) -> Made:
    interface = job.interface

    def make() -> Any:
        # What torch would check is checked against the model, on more batches, after loading.
        module = interface.model if interface.plain and len(interface.outputs) == 1 else interface.module()
        return torch.jit.trace(module, interface.flat(job.example), check_trace=False)

    return _saved(make, folder)


def _script(job: Job, folder: Path) -> Made:
    return _saved(lambda: torch.jit.script(job.interface.model), folder)


def _saved(make: Callable[[], Any], folder: Path) -> Made:
    with torch.no_grad(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        buffer = io.BytesIO()
        torch.jit.save(make(), buffer)
    durable.write(folder / FILE, buffer.getbuffer())  # torch's own writer aborts the process when the volume is full
    said = next((str(one.message) for one in caught if "deprecated" in str(one.message)), "")
    return Made(file=FILE, warnings=(f"this torch says of TorchScript: {said.splitlines()[0]}",) if said else ())


def _load_flat(job: Job, folder: Path) -> Run:
    return _load(folder, lambda module, call: module(*job.interface.flat(call)))


def _load_natural(_job: Job, folder: Path) -> Run:
    return _load(folder, lambda module, call: module(*call.args, **call.kwargs))


def _load(folder: Path, call_module: Callable[[Any, Call], Any]) -> Run:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.load(str(folder / FILE), map_location="cpu")

    def run(call: Call) -> list[Any]:
        with torch.no_grad():
            return tensors_of(call_module(module, call))

    return run
