"""The structural OpenAPI schema of our Structs, as a CRD wants it.

Built from the types alone: references are inlined, `| None` means "may be absent" and never `null`, an int beside a
string becomes int-or-string, and examples go into the description, because a structural schema knows no `examples`.
Source: apiextensions.k8s.io/v1, "Specifying a structural schema".
"""

import json
import re
from typing import Any

from msgspec import NODEFAULT, Struct, inspect

from ganger.api.freeze import freeze_block, volume_block
from ganger.api.merge import PROFILED
from ganger.api.observed import Condition
from ganger.api.policy import Backoff, Checkpoint, CheckpointVolume, FailurePolicy, FailureRule, Hang, Keep
from ganger.api.rule import rule_block
from ganger.api.rules import RULES
from ganger.api.session import DevSessionSpec, DevSessionStatus, Ssh
from ganger.api.session_rules import SESSION_RULES
from ganger.api.status import Said, TrainingJobStatus
from ganger.api.types import TrainingJobSpec
from ganger.api.workload import Resources

Schema = dict[str, Any]

# Lists that are maps: the API server refuses a key that comes twice, and server-side apply merges item by item.
KEYED_LISTS: dict[tuple[type[Struct], str], str] = {
    (TrainingJobSpec, "env"): "name",
    (TrainingJobSpec, "data"): "name",
    (TrainingJobSpec, "volumes"): "name",
    (TrainingJobSpec, "volumeMounts"): "mountPath",
    (Resources, "claims"): "name",
    (FailurePolicy, "rules"): "name",
    (TrainingJobStatus, "conditions"): "type",
    (DevSessionSpec, "env"): "name",
    (DevSessionSpec, "volumes"): "name",
    (DevSessionSpec, "volumeMounts"): "mountPath",
    (DevSessionStatus, "conditions"): "type",
}
# A profile merges into these. A default that the API server fills in would look as if the user had written it, and win
# over the profile, so the types alone know it (docs/adr/0018-profiles.md).
OPEN: frozenset[type[Struct]] = frozenset({Resources, Checkpoint, CheckpointVolume, Keep, FailurePolicy, Backoff, Hang})
SETS: frozenset[tuple[type[Struct], str]] = frozenset(
    {(FailureRule, "onExitCodes"), (FailureRule, "onReasons"), (Ssh, "authorizedKeys")}
)

_REASON = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"
# metav1.Condition word for word, as every tool expects it; `observed.Condition` reads the looser ones of pods too.
_CONDITION: Schema = {
    "type": "object",
    "description": "One observation of the job.",
    "required": ["type", "status", "lastTransitionTime", "reason", "message"],
    "properties": {
        "type": {
            "type": "string",
            "description": "What is observed, such as Running or Complete.",
            "minLength": 1,
            "maxLength": 316,
        },
        "status": {"type": "string", "description": "Whether it holds.", "enum": ["True", "False", "Unknown"]},
        "reason": {
            "type": "string",
            "description": "Why, as one CamelCase word for programs.",
            "minLength": 1,
            "maxLength": 1024,
            "pattern": _REASON,
        },
        "message": {"type": "string", "description": "Why, as a sentence for people.", "maxLength": 32768},
        "lastTransitionTime": {"type": "string", "format": "date-time", "description": "When status last changed."},
        "observedGeneration": {
            "type": "integer",
            "format": "int64",
            "minimum": 0,
            "description": "metadata.generation that it speaks of.",
        },
    },
}


def example_text(example: object) -> str:
    """Return an example as it may stand in a manifest."""
    return example if isinstance(example, str) else json.dumps(example)


def _bounds(type_: inspect.Type, names: dict[str, str]) -> Schema:
    values = {word: getattr(type_, name) for name, word in names.items()}
    return {word: value for word, value in values.items() if value is not None}


def _alternatives(types: list[inspect.Type]) -> Schema:
    """Int beside string. The keywords of each apply to values of its own type only, so they can stand side by side."""
    schema: Schema = {"x-kubernetes-int-or-string": True}
    for type_ in types:
        one = _of(type_)
        words = one.pop("enum", None)
        if words is not None:
            one["pattern"] = "^(" + "|".join(re.escape(word) for word in words) + ")$"
        one.pop("type")
        schema |= one
    return schema


def _of(type_: inspect.Type) -> Schema:
    """Return the schema of one type, without description and default."""
    match type_:
        case inspect.Metadata():
            extra = type_.extra_json_schema or {}
            schema = _of(type_.type)
            words = [str(extra.get("description", schema.get("description", "")))]
            words += [f"Example: {example_text(example)}" for example in extra.get("examples") or ()]
            text = " ".join(words)
            if text:
                schema["description"] = text
            return schema | {key: value for key, value in extra.items() if key.startswith("x-")}
        case inspect.UnionType():
            present = [one for one in type_.types if not isinstance(one, inspect.NoneType)]
            return _of(present[0]) if len(present) == 1 else _alternatives(present)
        case inspect.StructType():
            return of_struct(type_.cls)
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.IntType():
            return {"type": "integer", **_bounds(type_, {"ge": "minimum", "le": "maximum"})}
        case inspect.FloatType():
            least = "ge" if type_.gt is None else "gt"
            schema = {"type": "number", **_bounds(type_, {least: "minimum", "le": "maximum"})}
            # Only so does an integer meet the bound as it is: the API server cuts a small minimum to 0 for it.
            return schema if type_.gt is None else schema | {"exclusiveMinimum": True}
        case inspect.StrType():
            names = {"min_length": "minLength", "max_length": "maxLength", "pattern": "pattern"}
            return {"type": "string", **_bounds(type_, names)}
        case inspect.DateTimeType():
            return {"type": "string", "format": "date-time"}
        case inspect.LiteralType():
            return {"type": "string", "enum": list(type_.values)}
        case inspect.VarTupleType():
            sizes = _bounds(type_, {"min_length": "minItems", "max_length": "maxItems"})
            return {"type": "array", **sizes, "items": _of(type_.item_type)}
        case inspect.DictType():
            if isinstance(type_.value_type, inspect.AnyType):
                return {"type": "object"}
            sizes = _bounds(type_, {"max_length": "maxProperties"})
            return {"type": "object", **sizes, "additionalProperties": _of(type_.value_type)}
    raise TypeError(f"a field of type {type_} has no place in a CRD")


def _default(field: inspect.Field, schema: Schema, *, filled_in: bool, is_top: bool) -> Schema:
    """The default as the API server should fill it in, or else as it is told to people.

    An empty collection means the same as none and stays absent. A part of the spec itself becomes an empty one, which
    says nothing to a merge, so that to write it out empty is no change of a running job.
    """
    value = field.default
    if value is NODEFAULT and field.default_factory is not NODEFAULT:
        value = field.default_factory()
    if value is NODEFAULT or value is None or value in ((), {}):
        return {}
    if not filled_in:
        if isinstance(value, Struct):
            return {"default": {}} if is_top else {}  # its parts tell theirs
        text, mark, examples = schema["description"].partition(" Example: ")
        return {"description": f"{text} Default: {example_text(value)}.{mark}{examples}"}
    if isinstance(value, Struct):
        assert value == type(value)(), f"{field.name}: the default of a part must be made of its parts' defaults"
        # Written out: the API server runs the rules on a default before it fills in what lies below.
        whole = {name: one["default"] for name, one in schema["properties"].items() if "default" in one}
        return {"default": whole}
    return {"default": value}


def of_struct(cls: type[Struct]) -> Schema:
    """Return the schema of a Struct with everything below it, its CEL rules included."""
    if cls is Condition:
        return json.loads(json.dumps(_CONDITION))  # type: ignore[no-any-return]
    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType)
    properties: dict[str, Schema] = {}
    # A default in the status would differ from what the controller wrote, for ever.
    defaults = not issubclass(cls, Said)
    for field in info.fields:
        schema = _of(field.type)
        if defaults:
            is_top = cls is TrainingJobSpec
            is_open = cls in OPEN or (is_top and field.encode_name in PROFILED)
            schema |= _default(field, schema, filled_in=not is_open, is_top=is_top)
        key = KEYED_LISTS.get((cls, field.encode_name))
        if key is not None:
            schema |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
        elif (cls, field.encode_name) in SETS:
            schema["x-kubernetes-list-type"] = "set"
        elif schema.get("type") == "array":
            schema["x-kubernetes-list-type"] = "atomic"
        properties[field.encode_name] = _ordered(schema)
    result: Schema = {"type": "object", "description": _promise(cls), "properties": properties}
    required = [field.encode_name for field in info.fields if field.required]
    if required:
        result["required"] = required
    rules = [rule_block(rule) for rule in (*RULES, *SESSION_RULES) if rule.on is cls and rule.cel]
    if cls is TrainingJobSpec:
        rules += [freeze_block(), volume_block()]
    if rules:
        result["x-kubernetes-validations"] = rules
    return result


def _promise(cls: type[Struct]) -> str:
    return (cls.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")


_ORDER = ("description", "type", "format", "enum", "default")


def _ordered(schema: Schema) -> Schema:
    """The keys that people read first come first."""
    first = {key: schema[key] for key in _ORDER if key in schema}
    return first | {key: value for key, value in schema.items() if key not in first}
