"""ONNX, by torch.export where torch can, by tracing where it cannot; run by onnxruntime.

What torch.onnx.export takes is asked of its signature: names came and went between the versions of torch.
"""

import inspect
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import onnx
import onnxruntime
import onnxscript
import torch

from ganger_trainer.export.calls import Call
from ganger_trainer.export.formats import Job, Made, Method, Run
from ganger_trainer.export.interface import shapes

FILE: Final = "model.onnx"
ONE_FILE_BYTES_MAX: Final = 1_500_000_000  # protobuf ends at 2 GiB; larger models have their weights beside the file
PACKAGES: Final = {
    "onnx": onnx.__version__,
    "onnxscript": onnxscript.__version__,
    "onnxruntime": onnxruntime.__version__,
}


def methods() -> Sequence[Method]:
    """Return dynamo, where this torch has it, then the older exporter, which traces."""
    known = inspect.signature(torch.onnx.export).parameters
    older = Method(name="trace", make=_trace, load=_load)
    return (Method(name="dynamo", make=_dynamo, load=_load), older) if "dynamo" in known else (older,)


def _dynamo(job: Job, folder: Path) -> Made:
    interface = job.interface
    dynamic = shapes(interface.axes())
    arguments = {
        "input_names": interface.names,
        "output_names": [one.name for one in interface.outputs],
        "dynamic_shapes": tuple(dynamic) if interface.plain else {"tensors": tuple(dynamic)},
        "opset_version": job.wanted.opset,
        "optimize": True,
        "verbose": False,
        "fallback": False,
    }
    known = inspect.signature(torch.onnx.export).parameters
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of every package that is not there
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            interface.model if interface.plain else interface.module(),
            interface.flat(job.example),
            dynamo=True,
            **{name: value for name, value in arguments.items() if name in known},
        )
    program.save(str(folder / FILE), external_data=_weighs(interface.model) > ONE_FILE_BYTES_MAX)
    return _made(folder)


def _trace(job: Job, folder: Path) -> Made:
    interface = job.interface
    names = [one.name for one in interface.outputs]
    axes = dict(zip(interface.names, interface.axes(), strict=True))
    axes |= {
        one.name: {axis: size for axis, size in enumerate(one.shape) if isinstance(size, str)}
        for one in interface.outputs
    }
    known = inspect.signature(torch.onnx.export).parameters
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            interface.module(),
            interface.flat(job.example),
            str(folder / FILE),
            input_names=interface.names,
            output_names=names,
            dynamic_axes=axes,
            opset_version=job.wanted.opset,
            **({"dynamo": False} if "dynamo" in known else {}),
        )
    return _made(folder)


def _made(folder: Path) -> Made:
    onnx.checker.check_model(str(folder / FILE), full_check=True)
    model = onnx.load(str(folder / FILE), load_external_data=False)
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), None)
    return Made(file=FILE, packages=PACKAGES, opset=opset)


def _load(job: Job, folder: Path) -> Run:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(folder / FILE), options, providers=["CPUExecutionProvider"])
    taken = {one.name for one in session.get_inputs()}  # what the model does not use is no input of the file

    def run(call: Call) -> list[Any]:
        tensors = zip(job.interface.names, job.interface.flat(call), strict=True)
        return [
            torch.from_numpy(value)
            for value in session.run(None, {name: tensor.numpy() for name, tensor in tensors if name in taken})
        ]

    return run


def _weighs(model: Any) -> int:
    return sum(value.numel() * value.element_size() for value in (*model.parameters(), *model.buffers()))
