"""One mistake put into a sound manifest: against the schema, at any field of it."""

import itertools
import random
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from fuzz import sound
from fuzz.sound import Manifest, Schema

ODD_TEXTS = (
    "",
    " ",
    "\x00",
    "a\x00b",
    "a\n",
    "\u202ea",
    "\ufeffa",
    "\U0001f600",
    "e\u0301",
    "\u0430",
    "a\x1b[2J",
    "~",
    "null",
)
HUGE = (1 << 31, (1 << 53) + 1, (1 << 63) - 1, 1 << 63, -(1 << 63), 10**30, 1e300, -1e-300, 0.1, 1.0, -0.0)
BY_TYPE: dict[str, tuple[Any, ...]] = {
    "string": (7, 1.5, True, [], {}, ["a"]),
    "boolean": ("true", 0, "yes", [], {}),
    "integer": ("2", 2.5, True, [2], {"a": 2}),
    "number": ("0.5", True, [0.5], {"a": 0.5}),
    "array": ("a", 1, {"a": 1}, False),
    "object": ("a", 1, [], [{}], True),
    "": (2.5, True, [], {}, ["1"]),  # an integer or a string
}


@dataclass(frozen=True)
class Spoilt:
    """A manifest with a mistake. path: where it is. refused: whether it must be; None: the API server decides."""

    what: str
    manifest: Manifest
    path: str
    refused: bool | None = True


_TRIES = 20  # places for one kind of mistake
Place = tuple[Any, Any, Schema, str]
Mistake = Callable[[random.Random, Place], bool | None]


class UnfitError(Exception):
    """The mistake cannot be made at this place."""


def spoil(draw: random.Random, job: Manifest) -> Spoilt:
    """Return the job with one mistake, of a kind and at a place drawn among those that fit."""
    names = draw.sample(sorted(MISTAKES), len(MISTAKES))
    for name, _ in itertools.product(names, range(_TRIES)):
        copy = deepcopy(job)
        place = draw.choice(list(sound.places(copy["spec"], sound.SPEC, "spec")))
        try:
            refused = MISTAKES[name](draw, place)
        except UnfitError:
            continue
        return Spoilt(name, copy, place[-1], refused)
    raise AssertionError("no mistake fits anywhere")


def _wrong_type(draw: random.Random, place: Place) -> bool:
    holder, key, node, _ = place
    holder[key] = deepcopy(draw.choice(BY_TYPE[node.get("type", "")]))
    return True


def _beyond_bounds(draw: random.Random, place: Place) -> bool:
    holder, key, node, _ = place
    bounds = [node[name] + step for name, step in (("minimum", -1), ("maximum", 1)) if name in node]
    _needs(bounds)
    holder[key] = draw.choice(bounds)
    return True


def _at_bounds(draw: random.Random, place: Place) -> None:
    holder, key, node, _ = place
    inside = ("maximum",) if node.get("exclusiveMinimum") else ("minimum", "maximum")
    bounds = [node[name] for name in inside if name in node]
    _needs(bounds)
    holder[key] = draw.choice(bounds)


def _too_long(draw: random.Random, place: Place) -> bool:
    holder, key, node, _ = place
    value = holder[key]
    if isinstance(value, str) and node.get("maxLength", 1 << 20) <= 4096:
        holder[key] = "a" * (node["maxLength"] + 1)
    elif isinstance(value, list) and "maxItems" in node:
        holder[key] = [sound.value(draw, node["items"], str(key)) for _ in range(node["maxItems"] + 1)]
    elif isinstance(value, dict) and "maxProperties" in node:
        item = sound.value(draw, node["additionalProperties"], str(key))
        holder[key] = {f"a.b/c{number}": item for number in range(node["maxProperties"] + 1)}
    else:
        raise UnfitError
    return True


def _too_short(draw: random.Random, place: Place) -> bool:
    holder, key, node, _ = place
    _needs(node.get("minLength") or node.get("minItems"))
    holder[key] = type(holder[key])()
    return True


def _odd_text(draw: random.Random, place: Place) -> None:
    holder, key, _, _ = place
    _needs(isinstance(holder[key], str))
    holder[key] = draw.choice((draw.choice(ODD_TEXTS), holder[key] + draw.choice(ODD_TEXTS)))


def _unknown_word(draw: random.Random, place: Place) -> bool:
    holder, key, node, _ = place
    _needs("enum" in node)
    holder[key] = draw.choice([word.lower() + "s" for word in node["enum"]])
    return True


def _huge(draw: random.Random, place: Place) -> None:
    holder, key, _, _ = place
    _needs(isinstance(holder[key], int | float) and not isinstance(holder[key], bool))
    holder[key] = draw.choice(HUGE)


def _null(draw: random.Random, place: Place) -> None:
    holder, key, _, _ = place
    holder[key] = None


def _misspelt(draw: random.Random, place: Place) -> bool:
    holder, key, node, _ = place
    _needs(isinstance(holder[key], dict) and "properties" in node)
    known = draw.choice(sorted(node["properties"]))
    at = draw.randrange(len(known))
    near = draw.choice((known[:at] + known[at + 1 :], known.upper(), f"{known}s", known.swapcase(), f"_{known}"))
    _needs(near not in node["properties"])
    holder[key][near] = draw.choice((None, 1, "a", {}, []))
    return True


def _missing(draw: random.Random, place: Place) -> bool:
    holder, key, node, _ = place
    _needs(isinstance(holder[key], dict) and node.get("required"))
    del holder[key][draw.choice(node["required"])]
    return True


def _twice(draw: random.Random, place: Place) -> bool | None:
    holder, key, node, _ = place
    _needs(isinstance(holder[key], list) and holder[key] and len(holder[key]) < node.get("maxItems", 1 << 20))
    holder[key].append(deepcopy(draw.choice(holder[key])))
    return True if node.get("x-kubernetes-list-type") in ("map", "set") else None


def _odd_key(draw: random.Random, place: Place) -> None:
    holder, key, node, _ = place
    _needs(isinstance(holder[key], dict) and "properties" not in node)
    inner = node.get("additionalProperties", {"type": "string"})
    word = draw.choice((*ODD_TEXTS, "a b", "a.b", "..", "gpu", "a" * 400))
    holder[key][word] = sound.value(draw, inner, "")


def _needs(fits: Any) -> None:
    if not fits:
        raise UnfitError


MISTAKES: dict[str, Mistake] = {
    "wrong type": _wrong_type,
    "beyond bounds": _beyond_bounds,
    "at bounds": _at_bounds,
    "too long": _too_long,
    "too short": _too_short,
    "odd text": _odd_text,
    "unknown word": _unknown_word,
    "huge number": _huge,
    "null": _null,
    "misspelt field": _misspelt,
    "missing field": _missing,
    "item twice": _twice,
    "odd key": _odd_key,
}
