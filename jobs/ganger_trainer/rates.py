"""The learning rates of an optimizer and of its schedule, all moved by one factor.

`lr` of the config is the base of all of them, not the rate of the moment: a schedule goes on with its shape, at another
height. Groups keep their ratio to each other. What a schedule was given as an absolute rate of its own, as eta_min, is
not known here and stays.
"""

from typing import Any, Final

_OF_GROUP: Final = ("lr", "initial_lr", "max_lr", "min_lr")  # the last two are OneCycleLR's
_OF_SCHEDULE: Final = ("base_lrs", "max_lrs", "_last_lr")  # max_lrs: CyclicLR's


def scale(optimizer: Any, scheduler: Any | None, old: float, new: float) -> None:
    """Bring every rate that was made for a base of `old` to a base of `new`, in place.

    A rate that is `old` becomes `new` to the last bit.
    """
    for group in optimizer.param_groups:
        for key in _OF_GROUP:
            if key in group:
                group[key] = _scaled(group[key], old, new)
    waiting = [] if scheduler is None else [scheduler]
    while waiting:
        one = waiting.pop()
        waiting.extend(getattr(one, "_schedulers", ()))  # of SequentialLR and ChainedScheduler
        for name in _OF_SCHEDULE:
            if isinstance(rates := getattr(one, name, None), list):
                setattr(one, name, [_scaled(rate, old, new) for rate in rates])


def _scaled(rate: Any, old: float, new: float) -> Any:
    if hasattr(rate, "fill_"):  # a tensor, as capturable optimizers have: whoever holds it must see the change
        return rate.fill_(_scaled(float(rate), old, new))
    return new if rate == old else rate * (new / old)
