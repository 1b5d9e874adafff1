"""What of a task's Config may change while it trains, and what becomes of a wish to change it. Pure.

A field says so itself, with its bounds: `alpha: Annotated[float, Live(ge=0, le=1)] = 0.5`. A wish is a whole object, as
spec.liveConfig is: what is not in it has the value of spec.config. Each name is judged by itself, so one mistake stops
nothing; a value that is refused leaves the one in force as it is.
"""

import math
from collections.abc import Mapping
from typing import Any, Final, get_args

import msgspec
from msgspec import Struct

from ganger.contract import LIVE_REFUSALS_MAX, LIVE_VALUE_CHARACTERS_MAX, LIVE_VALUES_MAX
from ganger_trainer.config import Live, TrainConfig, check, explain

MESSAGE_CHARACTERS_MAX: Final = 300
NAME_CHARACTERS_MAX: Final = 64
_BUILT_IN: Final = ("lr", "clipNorm")  # those of TrainConfig that the loop takes in between steps


class Field(Struct, frozen=True):
    """A live field: its name in a manifest, the attribute that holds it, and its bounds."""

    name: str
    attribute: str
    bounds: Live

    @property
    def words(self) -> str:
        """Name and bounds for people."""
        return f"{self.name} ({_words(self.bounds)})" if _words(self.bounds) else self.name


class Value(Struct, frozen=True):
    """A live setting in force: its value as JSON text, and the first step that used it."""

    name: str
    value: str
    step: int


class Refusal(Struct, frozen=True):
    """A wish that was not followed. reason: NotLive, OutOfBounds or Invalid; value: as JSON text, cut."""

    name: str
    value: str
    reason: str
    message: str


class LiveSet(Struct, frozen=True, tag=True):
    """What a rank tells its supervisor of its live settings. step: the first that used this set."""

    rank: int
    step: int
    values: list[Value] = []
    refused: list[Refusal] = []


class Settled(Struct, frozen=True):
    """What is in force: the whole config, which of it is live, and what was refused."""

    config: TrainConfig
    values: tuple[Value, ...] = ()
    refused: tuple[Refusal, ...] = ()


class _Refused(Exception):  # noqa: N818 - becomes a Refusal
    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def declared(kind: type[TrainConfig]) -> dict[str, Field]:
    """Return the live fields of a Config by their names in a manifest."""
    found = {}
    for field in msgspec.structs.fields(kind):
        bounds = _mark(field.type)
        if bounds is not None:
            found[field.encode_name] = Field(field.encode_name, field.name, bounds)
    return found


def misdeclared(kind: type[TrainConfig], *, has_hook: bool) -> str | None:
    """Return what is wrong with the live fields of a Config, or None. A setting that nothing takes in is a mistake."""
    theirs = {field.encode_name for field in msgspec.structs.fields(TrainConfig)}
    live = declared(kind)
    fixed = [name for name in live if name in theirs and name not in _BUILT_IN]
    if fixed:
        return f"{', '.join(fixed)} cannot be live: of the usual fields only {' and '.join(_BUILT_IN)} can"
    own = [name for name in live if name not in theirs]
    if own and not has_hook:
        return f"Config says that {', '.join(own)} is live: add on_live(model, optimizer, config), which takes it in"
    return None


def settle(base: TrainConfig, wanted: Mapping[str, Any], before: tuple[Value, ...], step: int) -> Settled:
    """Return what is in force from `step` on. base: spec.config. before: what was in force until then. Pure.

    A value that stays keeps the step since which it holds. A refused one leaves what was in force.
    """
    config, values, refused = base, [], []
    known, live = {value.name: value for value in before}, declared(type(base))
    for name in sorted(wanted):
        old = known.get(name)
        try:
            config = _changed(config, live, name, wanted[name])
            text = _text(wanted[name])
            values.append(old if old is not None and old.value == text else Value(name, text, step))
        except _Refused as error:
            refused.append(_refusal(name, wanted[name], error))
            if old is None:
                continue
            try:
                config = _changed(config, live, name, msgspec.json.decode(old.value))
                values.append(old)
            except _Refused:
                pass  # the task has been rewritten since; its refusal says enough
    return Settled(config, tuple(values), tuple(refused[:LIVE_REFUSALS_MAX]))


def _changed(config: TrainConfig, live: Mapping[str, Field], name: str, value: Any) -> TrainConfig:
    """Return the config with that value. Raises _Refused."""
    field = live.get(name)
    if field is None or len(live) > LIVE_VALUES_MAX:
        allowed = ", ".join(each.words for each in live.values())
        raise _Refused("NotLive", f"this task does not take it while it trains; live are {allowed}")
    if len(_text(value)) > LIVE_VALUE_CHARACTERS_MAX:
        raise _Refused("Invalid", f"a live value has at most {LIVE_VALUE_CHARACTERS_MAX} characters as JSON")
    kind = type(config)
    try:
        new = msgspec.convert(msgspec.to_builtins(config) | {name: value}, kind)
    except msgspec.ValidationError as error:
        raise _Refused("Invalid", f"{explain(str(error), kind)}; {field.words}") from None
    number = getattr(new, field.attribute)
    if isinstance(number, int | float) and not _is_within(number, field.bounds):
        raise _Refused("OutOfBounds", f"{name} must be {_words(field.bounds) or 'finite'}")
    if problems := check(new):
        raise _Refused("Invalid", "; ".join(problems))
    return new


def _refusal(name: str, value: Any, error: _Refused) -> Refusal:
    return Refusal(
        name[:NAME_CHARACTERS_MAX],
        _text(value)[:NAME_CHARACTERS_MAX],
        error.reason,
        str(error)[:MESSAGE_CHARACTERS_MAX],
    )


def _mark(kind: Any) -> Live | None:
    """Return the mark in a type such as `Annotated[float, Live()] | None`."""
    for part in (kind, *get_args(kind)):
        for extra in getattr(part, "__metadata__", ()):
            if isinstance(extra, Live):
                return extra
    return None


def _is_within(number: float, bounds: Live) -> bool:
    return (
        math.isfinite(number)
        and (bounds.gt is None or number > bounds.gt)
        and (bounds.ge is None or number >= bounds.ge)
        and (bounds.le is None or number <= bounds.le)
    )


def _words(bounds: Live) -> str:
    signs = ((">", bounds.gt), (">=", bounds.ge), ("<=", bounds.le))
    return " and ".join(f"{sign} {limit:g}" for sign, limit in signs if limit is not None)


def _text(value: Any) -> str:
    return msgspec.json.encode(value, order="sorted").decode()
