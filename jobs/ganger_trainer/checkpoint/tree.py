"""State dicts as a JSON skeleton plus named tensors, and back.

`torch.save` would pickle, and a pickle runs code when it is read. Here a state dict is taken apart: tensors go to
safetensors under a path-like name, the rest (numbers, strings, lists, keys that are not strings) becomes JSON.
"""

from typing import Any, Final

import torch

from ganger_trainer.failures import UserError

TENSOR: Final = "$tensor"
TUPLE: Final = "$tuple"
PAIRS: Final = "$pairs"
FLOAT: Final = "$float"  # nan and the infinities, which JSON lacks


def flatten(value: Any, name: str, tensors: dict[str, Any]) -> Any:
    """Return the JSON skeleton of `value`; put its tensors into `tensors` under names that begin with `name`.

    Raises UserError (BAD_CONFIG, StateNotSaveable) for a value that is neither data nor a container of data.
    """
    if isinstance(value, torch.Tensor):
        tensors[name] = value.detach()
        return {TENSOR: name}
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else {FLOAT: repr(value)}
    if isinstance(value, dict):
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: flatten(item, f"{name}/{key}", tensors) for key, item in value.items()}
        return {PAIRS: [[_key(key, name), flatten(item, f"{name}/{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        items = [flatten(item, f"{name}/{index}", tensors) for index, item in enumerate(value)]
        return items if isinstance(value, list) else {TUPLE: items}
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        return flatten(value.item(), name, tensors)  # a numpy scalar
    raise UserError(
        "StateNotSaveable",
        f"{name} holds a {type(value).__name__}, which a checkpoint cannot: keep tensors, numbers, strings, lists "
        "and dicts in state_dict()",
    )


def unflatten(skeleton: Any, tensors: dict[str, Any]) -> Any:
    """Return what `flatten` took apart. Raises KeyError if a tensor is missing."""
    if isinstance(skeleton, list):
        return [unflatten(item, tensors) for item in skeleton]
    if not isinstance(skeleton, dict):
        return skeleton
    if TENSOR in skeleton:
        return tensors[skeleton[TENSOR]]
    if FLOAT in skeleton:
        return float(skeleton[FLOAT])
    if TUPLE in skeleton:
        return tuple(unflatten(item, tensors) for item in skeleton[TUPLE])
    if PAIRS in skeleton:
        return {key: unflatten(item, tensors) for key, item in skeleton[PAIRS]}
    return {key: unflatten(item, tensors) for key, item in skeleton.items()}


def _key(key: Any, name: str) -> int | str:
    if isinstance(key, int | str):
        return key
    raise UserError(
        "StateNotSaveable", f"{name} has a key of type {type(key).__name__}; a checkpoint takes strings and ints"
    )
