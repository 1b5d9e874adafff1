"""Every misfit of a value with its schema at once, by the very schema that the API server applies.

msgspec stops at the first misfit; people want all of them. Nothing is converted here: `types.decode` does that.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ganger.api.field_error import FieldError, below, printable
from ganger.api.pattern import matches
from ganger.api.quantity import QUANTITY_PATTERN
from ganger.api.spelling import meant
from ganger.api.workload import LABEL_VALUE, NO_NUL

Schema = dict[str, Any]
UNKNOWN_MAX = 32  # more of them are another kind of file; to look for a misspelling in each would take minutes
_WORDS = {
    QUANTITY_PATTERN: "a quantity such as 4, 500m or 16Gi",
    LABEL_VALUE: "letters, digits, '-', '_' and '.', with a letter or digit at both ends",
    NO_NUL: "free of the character NUL",
}
_NAMES: dict[type, str] = {
    str: "a string",
    bool: "true or false",
    int: "an integer",
    float: "a number",
    list: "a list",
    dict: "an object",
    type(None): "empty",
}


def found(value: object) -> str:
    """Return what a value is, as people say it."""
    name = _NAMES.get(type(value), type(value).__name__)
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{name} ({value!r:.40})" if isinstance(value, str | int | float) else name


def _string(value: str, node: Schema, path: str) -> Iterator[FieldError]:
    words = node.get("enum")
    if words is not None and value not in words:
        near = meant(value, words)
        remedy = near if near.startswith("did you mean") else ""
        yield FieldError(path, "must be one of " + ", ".join(word or '""' for word in words), remedy)
        return
    if len(value) > node.get("maxLength", math.inf):
        yield FieldError(path, f"must be at most {node['maxLength']} characters, not {len(value)}")
    if len(value) < node.get("minLength", 0):
        yield FieldError(path, "must not be empty")
        return
    pattern = node.get("pattern")
    if pattern is not None and not matches(pattern, value):
        # People write GB; a suffix has no B.
        bytes_ = re.fullmatch(r"([0-9]+[kKMGTPE]i?)[bB]", value) if QUANTITY_PATTERN in pattern else None
        remedy = f"did you mean '{bytes_[1]}'?" if bytes_ else ""
        yield FieldError(path, f"{value!r:.60} is not allowed here: {_in_words(node)}", remedy)


def _in_words(node: Schema) -> str:
    """The rule behind a pattern: its example where there is one, since few people read regular expressions."""
    words = re.match(r"\^\(?([a-z]+)\)?\$", node["pattern"])
    other = f"{words[1]} or " if words else ""
    for pattern, rule in _WORDS.items():
        if pattern in node["pattern"]:
            return f"it must be {other}{rule}"
    if words:
        return f"it must be {other}an integer, {_range(node)}"
    example = node.get("description", "").partition("Example: ")[2].partition(" Example: ")[0]
    return f"it must look like {example}" if example else f"it must match {node['pattern']}"


def _number(value: float, node: Schema, path: str) -> Iterator[FieldError]:
    if isinstance(value, float) and not math.isfinite(value):
        yield FieldError(path, "must be a finite number: JSON has no NaN and no infinity")
    elif not node.get("minimum", -math.inf) <= value <= node.get("maximum", math.inf) or (
        node.get("exclusiveMinimum") and value == node["minimum"]
    ):
        yield FieldError(path, f"must be {_range(node)}, not {value}")


def _real(value: object, node: Schema, path: str) -> Iterator[FieldError]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number(value, node, path)
        return
    # YAML 1.1 takes 1e-4 for a word; YAML 1.2 and kubectl do not.
    is_number = isinstance(value, str) and re.fullmatch(r"-?[0-9.]+([eE][-+]?[0-9]+)?", value) is not None
    yield FieldError(path, f"must be a number, not {found(value)}", "write it as 0.0001 or 1.0e-4" if is_number else "")


def _range(node: Schema) -> str:
    least = "more than" if node.get("exclusiveMinimum") else "at least"
    return f"{least} {node['minimum']} and at most {node['maximum']}"


def _int_or_string(value: object, node: Schema, path: str) -> Iterator[FieldError]:
    if isinstance(value, str):
        yield from _string(value, node, path)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield from _number(value, node, path)
    else:
        fits = isinstance(value, float) and matches(node.get("pattern", ""), str(value))
        remedy = f'write it as "{value}"' if fits else ""
        yield FieldError(path, f"must be an integer or a string, not {found(value)}", remedy)


def _list(value: list[object], node: Schema, path: str) -> Iterator[FieldError]:
    if len(value) > node.get("maxItems", math.inf):
        yield FieldError(path, f"must have at most {node['maxItems']} items, not {len(value)}")
        return  # ten thousand further errors help nobody
    if len(value) < node.get("minItems", 0):
        yield FieldError(path, f"must have at least {node['minItems']} item")
    for index, item in enumerate(value):
        yield from conform(item, node["items"], f"{path}[{index}]")


def _object(value: Mapping[object, object], node: Schema, path: str) -> Iterator[FieldError]:
    if any(not isinstance(key, str) for key in value):
        yield FieldError(path, "every key must be a string")
        return
    present = {str(key): item for key, item in value.items()}
    properties = node.get("properties")
    if properties is None:
        if len(value) > node.get("maxProperties", math.inf):
            yield FieldError(path, f"must have at most {node['maxProperties']} entries, not {len(value)}")
            return
        for key, item in present.items():
            if "additionalProperties" in node:
                yield from conform(item, node["additionalProperties"], below(path, key))
            else:
                yield from _free(item, below(path, key))
        return
    for key, item in present.items():
        if key in properties:
            yield from conform(item, properties[key], below(path, key))
    yield from unknown_fields(present, properties, path)
    for key in node.get("required", ()):
        if key not in present:
            yield FieldError(below(path, key), "is required")


def unknown_fields(value: Mapping[str, object], properties: Schema, path: str) -> Iterator[FieldError]:
    """Yield every field that is not known here, with what was meant; too many of them are one mistake."""
    unknown = [key for key in value if key not in properties]
    if len(unknown) > UNKNOWN_MAX:
        yield FieldError(path, f"has {len(unknown)} unknown fields, the first is {printable(unknown[0])}")
        return
    for key in unknown:
        yield FieldError(below(path, key), "unknown field", meant(key, properties))


def _free(value: object, path: str) -> Iterator[FieldError]:
    """A free-form value may be anything that JSON can hold."""
    if isinstance(value, float):
        yield from _number(value, {}, path)
    elif isinstance(value, dict):
        yield from _object(value, {}, path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _free(item, f"{path}[{index}]")


def _typed(kind: type, check: Callable[[Any, Schema, str], Iterator[FieldError]]) -> Any:
    def apply(value: object, node: Schema, path: str) -> Iterator[FieldError]:
        if isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool):
            yield from check(value, node, path)
            return
        remedy = ""
        if kind is str:
            remedy = "put it in quotes" if isinstance(value, bool | int | float) else ""
        elif isinstance(value, str) and re.fullmatch(r"-?[0-9]+|true|false", value):
            remedy = "remove the quotes"
        yield FieldError(path, f"must be {_NAMES[kind]}, not {found(value)}", remedy)

    return apply


_BY_TYPE = {
    "string": _typed(str, _string),
    "boolean": _typed(bool, lambda value, node, path: iter(())),
    "integer": _typed(int, _number),
    "number": _real,
    "array": _typed(list, _list),
    "object": _typed(dict, _object),
}


def conform(value: object, node: Schema, path: str) -> Iterator[FieldError]:
    """Yield every misfit of `value` with the structural schema `node`."""
    check = _int_or_string if node.get("x-kubernetes-int-or-string") else _BY_TYPE[node["type"]]
    yield from check(value, node, path)
