"""Capture and restore every random generator that training draws from, as plain tensors.

Tensors of fixed shape, so that they lie in a checkpoint like any other and no pickle is needed.
Covers torch (CPU and the current CUDA device), numpy's global generator and Python's `random`.
"""

import math
import random
from typing import Any

import numpy as np
import torch


def seed_all(seed: int) -> None:
    """Seed torch, numpy and Python from one number."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def derive(*numbers: int) -> int:
    """Return a seed that differs for any two different sequences of non-negative `numbers`, but for a chance of 2^-63.

    By numpy's SeedSequence, whose algorithm is fixed. Pure.
    """
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def capture() -> dict[str, Any]:
    """Return the state of every generator as tensors by name."""
    _, keys, position, has_gauss, cached = np.random.get_state()
    version, internal, gauss_next = random.getstate()
    state = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(np.asarray([*keys, position, has_gauss], dtype=np.int64)),
        "numpyCached": torch.tensor(cached, dtype=torch.float64),
        "python": torch.tensor([version, *internal], dtype=torch.int64),
        "pythonCached": torch.tensor(math.nan if gauss_next is None else gauss_next, dtype=torch.float64),
    }
    if torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore(state: dict[str, Any]) -> None:
    """Put every generator back where `capture` found it."""
    torch.set_rng_state(state["torch"])
    numbers = state["numpy"].tolist()
    keys = np.asarray(numbers[:-2], dtype=np.uint32)
    np.random.set_state(("MT19937", keys, numbers[-2], numbers[-1], float(state["numpyCached"])))
    version, *internal = state["python"].tolist()
    gauss_next = float(state["pythonCached"])
    random.setstate((version, tuple(internal), None if math.isnan(gauss_next) else gauss_next))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
