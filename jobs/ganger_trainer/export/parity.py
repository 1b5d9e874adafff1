"""How far what a file computes is from what the model computes."""

from collections.abc import Sequence
from typing import Any

import torch
from msgspec import Struct


class Difference(Struct, frozen=True):
    """The worst of all batches. place: which output of which batch, as the end of a sentence."""

    max_abs_diff: float
    place: str
    argmax_agreement: float | None


def compare(got: Sequence[Sequence[Any]], wanted: Sequence[Sequence[Any]], names: Sequence[str]) -> Difference:
    """Return how far `got` is from `wanted`, outputs by batch. Another number, shape or type is infinitely far. Pure.

    Two NaNs are equal, and so are two infinities; outputs that are not floats are equal or one apart at least.
    """
    worst, place = 0.0, ""
    same = total = 0
    for batch, (mine, theirs) in enumerate(zip(got, wanted, strict=True)):
        if len(mine) != len(theirs):
            return Difference(float("inf"), f" in batch {batch}: {len(mine)} outputs, not {len(theirs)}", None)
        for name, one, other in zip(names, mine, theirs, strict=True):
            where = f" in output {name} of batch {batch}"
            if one.shape != other.shape or one.dtype != other.dtype:
                what = f"{_kind(one)}, not {_kind(other)}"
                return Difference(float("inf"), f"{where}: {what}", None)
            if (far := _furthest(one, other)) > worst:
                worst, place = far, where
        if theirs and theirs[0].is_floating_point() and theirs[0].ndim > 1 and theirs[0].shape[-1] > 1:
            agree = mine[0].argmax(-1) == theirs[0].argmax(-1)
            same, total = same + int(agree.sum()), total + agree.numel()
    return Difference(worst, place, same / total if total else None)


def _furthest(one: Any, other: Any) -> float:
    if one.numel() == 0:
        return 0.0
    if not one.is_floating_point() and not one.is_complex():
        return float((one.double() - other.double()).abs().max())
    differ = ~((one == other) | (one.isnan() & other.isnan()))
    if not differ.any():
        return 0.0
    far = (one[differ].to(torch.complex128 if one.is_complex() else torch.float64) - other[differ]).abs().max()
    return float("inf") if far.isnan() else float(far)


def _kind(tensor: Any) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
