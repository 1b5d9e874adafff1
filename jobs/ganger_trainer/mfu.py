"""What a step is worth: tokens, and how much of the device's peak the model's arithmetic uses (MFU).

The task says what a sample costs, this module knows what a device can do. MFU counts the flops that the model needs,
forward and backward, not those that a recomputation adds (PaLM, arXiv 2204.02311, appendix B).
"""

import math
import re
from typing import Any, Final

import torch
from msgspec import Struct

from ganger_trainer.config import TrainConfig
from ganger_trainer.failures import UserError
from ganger_trainer.ranks import Ranks


class Peak(Struct, frozen=True):
    """Dense flops per second of one device. half: bf16 and fp16 with fp32 sums; tf32: fp32 matrices cut to tf32."""

    half: float
    tf32: float | None
    fp32: float


# By the driver's whole name, so that a part of a GPU (MIG) is not taken for all of it. From NVIDIA's data sheets; where
# a sheet counts sparsity (Ampere and later), half of its figure: nothing here is sparse.
_PEAKS: Final = (
    (r"NVIDIA B200", Peak(2250e12, 1125e12, 75e12)),  # Blackwell: HGX B200, an eighth of the board
    (r"NVIDIA (H200|H100 80GB HBM3|GH200 .*)", Peak(989e12, 494e12, 67e12)),  # Hopper: H100 SXM, H200 SXM, GH200
    (r"NVIDIA H(100|200) NVL", Peak(835e12, 417e12, 60e12)),  # Hopper: H100 NVL, H200 NVL
    (r"NVIDIA H100 PCIe", Peak(756e12, 378e12, 51e12)),
    (r"NVIDIA A100[- ].*", Peak(312e12, 156e12, 19.5e12)),  # Ampere: A100, 40 and 80 GB, SXM and PCIe
    (r"NVIDIA A10", Peak(125e12, 62.5e12, 31.2e12)),
    (r"NVIDIA L40S", Peak(362e12, 183e12, 91.6e12)),  # Ada: L40S
    (r"NVIDIA L4", Peak(121e12, 60e12, 30.3e12)),  # Ada: L4
    (r"Tesla V100-SXM2-.*", Peak(125e12, None, 15.7e12)),
    (r"(Tesla|NVIDIA) T4", Peak(65e12, None, 8.1e12)),
)


class Work(Struct, frozen=True):
    """What a sample costs: tokens, and flops over the flops per second of one device. None: nobody said, or knows."""

    tokens: int | None = None
    seconds_at_peak: float | None = None

    def mfu(self, samples_per_second: float, world_size: int) -> float | None:
        """Return the model flops utilisation of `world_size` equal devices that do so many samples together. Pure."""
        return None if self.seconds_at_peak is None else samples_per_second * self.seconds_at_peak / world_size


def work(task: Any, model: Any, config: TrainConfig, ranks: Ranks) -> Work:
    """Ask `task` what a sample costs. Raises UserError (TaskInvalid) if the answer is no number above 0."""
    tokens = flops = None
    if hasattr(task, "tokens_per_sample"):
        tokens = round(_positive(task.tokens_per_sample(config), "tokens_per_sample"))
    if hasattr(task, "flops_per_sample"):
        flops = _positive(task.flops_per_sample(model, config), "flops_per_sample")
    best = peak(device_name(ranks.device), config.precision, tf32=torch.get_float32_matmul_precision() != "highest")
    return Work(tokens, flops / best if flops and best else None)


def device_name(device: Any) -> str:
    """Return what the driver calls the GPU, or the kind of the device: "cpu"."""
    return str(torch.cuda.get_device_name(device) if device.type == "cuda" else device.type)


def peak(name: str, precision: str, *, tf32: bool) -> float | None:
    """Return the dense flops per second of the device `name`, None if it is not known.

    precision: of TrainConfig. tf32: whether fp32 matrix products may be cut to tf32. Pure.
    """
    for pattern, found in _PEAKS:
        if re.fullmatch(pattern, name) and " MIG " not in name:
            if precision != "fp32":
                return found.half
            return (found.tf32 or found.fp32) if tf32 else found.fp32
    return None


def _positive(value: Any, method: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise UserError("TaskInvalid", f"{method}() returned {value!r:.100}: return a finite number above 0")
    return number
