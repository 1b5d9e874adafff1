"""Every structural mistake of a manifest at once, by the very schema that the API server applies.

msgspec stops at the first misfit; people want all of them. Nothing is converted here: `types.decode` does that.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from ganger.api.crd import schema
from ganger.api.field_error import FieldError, below, printable
from ganger.api.pattern import matches
from ganger.api.quantity import QUANTITY_PATTERN
from ganger.api.spelling import meant
from ganger.api.workload import DNS_LABEL, LABEL_KEY, LABEL_VALUE, NO_NUL
from ganger.contract import API_GROUP, API_VERSION, KIND

Schema = dict[str, Any]
_UNKNOWN_MAX = 32  # more of them are another kind of file; to look for a misspelling in each would take minutes
_DOMAIN_LENGTH_MAX = 253
_LABEL_LENGTH_MAX = 63
_ANNOTATIONS_BYTES_MAX = 262_144  # of all together, as the API server counts them
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
    elif not node.get("minimum", -math.inf) <= value <= node.get("maximum", math.inf):
        yield FieldError(path, f"must be {_range(node)}, not {value}")


def _range(node: Schema) -> str:
    return f"at least {node['minimum']} and at most {node['maximum']}"


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
    yield from _unknown(present, properties, path)
    for key in node.get("required", ()):
        if key not in present:
            yield FieldError(below(path, key), "is required")


def _unknown(value: Mapping[str, object], properties: Schema, path: str) -> Iterator[FieldError]:
    unknown = [key for key in value if key not in properties]
    if len(unknown) > _UNKNOWN_MAX:
        yield FieldError(path, f"has {len(unknown)} unknown fields, the first is {printable(unknown[0])}")
        return
    for key in unknown:
        yield FieldError(below(path, key), "unknown field", meant(key, properties))


def _unknown_below(value: object, node: Schema, path: str) -> Iterator[FieldError]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown_below(item, node.get("items", {}), f"{path}[{index}]")
    elif isinstance(value, dict) and "properties" in node:
        yield from _unknown(value, node["properties"], path)
        for key in value.keys() & node["properties"].keys():
            yield from _unknown_below(value[key], node["properties"][key], below(path, key))


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
    "array": _typed(list, _list),
    "object": _typed(dict, _object),
}


def conform(value: object, node: Schema, path: str) -> Iterator[FieldError]:
    """Yield every misfit of `value` with the structural schema `node`."""
    check = _int_or_string if node.get("x-kubernetes-int-or-string") else _BY_TYPE[node["type"]]
    yield from check(value, node, path)


# metav1.ObjectMeta, as far as a manifest may hold it: one that `kubectl get -o yaml` wrote must be readable again.
_TEXT: Schema = {"type": "string"}
_YES_OR_NO: Schema = {"type": "boolean"}
_WORDS_BY_KEY: Schema = {"type": "object", "additionalProperties": _TEXT | {"default": ""}}  # here null is ""
_METADATA: Schema = {
    "type": "object",
    "properties": {
        "name": _TEXT,
        # The API server appends five characters, and the name has 40 at most.
        "generateName": {"type": "string", "pattern": r"^[a-z][-a-z0-9]{0,34}$", "description": "Example: digits-"},
        "namespace": {"type": "string", "pattern": DNS_LABEL, "maxLength": 63, "description": "Example: team-a"},
        "labels": _WORDS_BY_KEY,
        "annotations": _WORDS_BY_KEY,
        "finalizers": {"type": "array", "items": _TEXT},
        "ownerReferences": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["apiVersion", "kind", "name", "uid"],
                "properties": {
                    **dict.fromkeys(("apiVersion", "kind", "name", "uid"), _TEXT),
                    **dict.fromkeys(("controller", "blockOwnerDeletion"), _YES_OR_NO),
                },
            },
        },
        "managedFields": {"type": "array", "items": {"type": "object"}},
        **dict.fromkeys(("uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "selfLink"), _TEXT),
        "generation": {"type": "integer"},
        "deletionGracePeriodSeconds": {"type": "integer"},
    },
}


def _keys(values: dict[str, object], path: str) -> Iterator[FieldError]:
    # The case of an annotation's key is free, that of a label's domain is not.
    free = path.endswith("annotations")
    wrong = (
        key
        for key in values
        if not matches(LABEL_KEY, key.lower() if free else key) or len(key.rpartition("/")[0]) > _DOMAIN_LENGTH_MAX
    )
    for key in islice(wrong, _UNKNOWN_MAX):
        yield FieldError(path, f"{printable(key)!r} is no key such as team or example.com/team")


def _metadata(metadata: object) -> Iterator[FieldError]:
    if not isinstance(metadata, dict):
        yield FieldError("metadata", f"must be an object with a name, not {found(metadata)}")
        return
    misfits = list(conform(metadata, _METADATA, "metadata"))
    yield from misfits
    if not metadata.get("name") and not metadata.get("generateName"):
        yield FieldError("metadata.name", "is required")
    if any(misfit.path.startswith(("metadata.labels", "metadata.annotations")) for misfit in misfits):
        return
    labels, annotations = metadata.get("labels", {}), metadata.get("annotations", {})
    yield from _keys(labels, "metadata.labels")
    limits = {"maxLength": _LABEL_LENGTH_MAX, "pattern": LABEL_VALUE}
    for key, value in labels.items():
        yield from _string(value, limits, below("metadata.labels", key))
    yield from _keys(annotations, "metadata.annotations")
    if sum(len(f"{key}{value}".encode()) for key, value in annotations.items()) > _ANNOTATIONS_BYTES_MAX:
        yield FieldError("metadata.annotations", f"must be at most {_ANNOTATIONS_BYTES_MAX} bytes together")


def without_nulls(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest as the API server reads it: null, where a field may not be null, is the same as none."""
    root = schema()
    result: dict[str, Any] = _dropped(manifest, root | {"properties": root["properties"] | {"metadata": _METADATA}})
    return result


def _dropped(value: Any, node: Schema) -> Any:
    if isinstance(value, list):
        return [_dropped(item, node.get("items", {})) for item in value]
    if not isinstance(value, dict) or node.get("x-kubernetes-preserve-unknown-fields"):
        return value
    fields, rest = node.get("properties"), node.get("additionalProperties", {})
    if fields is None:
        empty = rest.get("default")
        present = {key: empty if item is None else item for key, item in value.items()}
        return {key: _dropped(item, rest) for key, item in present.items() if item is not None}
    # A field that is unknown is so with null as well.
    return {
        key: _dropped(item, fields.get(key, {})) for key, item in value.items() if item is not None or key not in fields
    }


def manifest_errors(manifest: Mapping[str, object]) -> list[FieldError]:
    """Return every structural mistake of a TrainingJob manifest.

    Of a status only the unknown fields are told: the API server looks for them and then drops it as it is.

    The manifest is without the nulls that the API server drops; see `without_nulls`.
    """
    wanted = {"apiVersion": f"{API_GROUP}/{API_VERSION}", "kind": KIND}
    errors = [
        FieldError(key, f"must be {value}" + (f", not {manifest[key]!r:.60}" if manifest.get(key) else ""))
        for key, value in wanted.items()
        if manifest.get(key) != value
    ]
    if errors:
        return errors  # another kind altogether: its fields are not ours to judge
    errors += _metadata(manifest.get("metadata", {}))
    known = schema()["properties"]
    errors += _unknown(manifest, known, "")
    if "spec" not in manifest:
        errors.append(FieldError("spec", "is required"))
    else:
        errors += conform(manifest["spec"], known["spec"], "spec")
    errors += _unknown_below(manifest.get("status"), known["status"], "status")
    return errors
