"""Whether a job can be: every mistake at once, each with its field, what is allowed and what to do.

`check_manifest` is the door for text that people wrote, `check` the one for a job that already decodes.
"""

import re
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from ganger.api import freeze
from ganger.api.conform import manifest_errors
from ganger.api.crd import schema
from ganger.api.field_error import FieldError
from ganger.api.rules import RULES, Rule, attribute
from ganger.api.schema import KEYED_LISTS, SETS
from ganger.api.spelling import meant
from ganger.api.types import TrainingJob, decode
from ganger.api.unsupported import unsupported as unsupported
from ganger.api.workload import Part

_BY_STRUCT: dict[type[Struct], list[Rule]] = defaultdict(list)
for _rule in RULES:
    _BY_STRUCT[_rule.on].append(_rule)

_AT = re.compile(r"^(?P<message>.*?)(?: - at `\$?(?P<path>.*)`)?$", re.DOTALL)
_FIELD = re.compile(r"^Object (?P<what>contains unknown|missing required) field `(?P<field>.*)`$", re.DOTALL)


def _parts(value: object, path: str) -> Iterator[tuple[str, Struct]]:
    """Yield every Struct of a job that people write, with its path."""
    if isinstance(value, TrainingJob):
        yield "", value
        yield from _parts(value.spec, "spec")
    elif isinstance(value, Part):
        yield path, value
        for name, field in zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True):
            yield from _parts(getattr(value, name), f"{path}.{field}")
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _parts(item, f"{path}[{index}]")


def _repeated(values: list[Hashable]) -> Iterator[int]:
    seen: set[Hashable] = set()
    for index, value in enumerate(values):
        if value in seen:
            yield index
        seen.add(value)


def _duplicates(path: str, part: Struct) -> Iterator[FieldError]:
    """What the API server refuses in a list that is a map or a set."""
    for (cls, field), key in KEYED_LISTS.items():
        if type(part) is cls:
            keys = [getattr(item, attribute(type(item), key)) for item in getattr(part, attribute(cls, field))]
            for index in _repeated(keys):
                yield FieldError(f"{path}.{field}[{index}].{key}", f"{keys[index]!r} is there already: {key} is unique")
    for cls, field in SETS:
        if type(part) is cls:
            values = list(getattr(part, attribute(cls, field)))
            for index in _repeated(values):
                yield FieldError(f"{path}.{field}[{index}]", f"{values[index]!r} is there already")


def check(job: TrainingJob, old: TrainingJob | None = None) -> list[FieldError]:
    """Return every rule that the job breaks; with `old`, also every change that a running job does not allow. Pure."""
    errors: list[FieldError] = []
    for path, part in _parts(job, ""):
        errors += [
            FieldError(f"{path}{rule.path}".lstrip("."), rule.message, rule.remedy)
            for rule in _BY_STRUCT[type(part)]
            if not rule.holds(part)
        ]
        errors += _duplicates(path, part)
    if old is not None:
        errors += [
            FieldError(f"spec.{field.field}", field.message, freeze.REMEDY)
            for field in freeze.FROZEN
            if not field.kept(old.spec, job.spec)
        ]
    return errors


def check_manifest(manifest: Mapping[str, Any]) -> tuple[TrainingJob | None, list[FieldError]]:
    """Return the job of a manifest and no errors, or None and every error: the structural ones first, else the rules.

    Accepts and refuses what the API server does with fieldValidation=Strict.
    """
    errors = manifest_errors(manifest)
    if errors:
        return None, errors
    try:
        job = decode(dict(manifest))
    except msgspec.ValidationError as error:
        return None, [explain(error)]
    errors = check(job)
    return (None if errors else job), errors


def _fields_at(path: str) -> list[str]:
    """The known fields at a path of the manifest, [] where there is nothing."""
    node: dict[str, Any] = schema()
    for word in re.findall(r"[^.\[\]]+", re.sub(r"\[[^\]]*\]", "", path)):
        node = node.get("properties", {}).get(word, {})
        while "items" in node:
            node = node["items"]
    return list(node.get("properties", ()))


def explain(error: msgspec.ValidationError) -> FieldError:
    """Return msgspec's complaint with the path and the words that people know, and what they may have meant."""
    match = _AT.match(str(error))
    assert match is not None
    path = (match["path"] or "").lstrip(".").replace("[...]", "")
    field = _FIELD.match(match["message"])
    if field is None:
        return FieldError(path, match["message"][:1].lower() + match["message"][1:].replace("`", ""))
    inner = f"{path}.{field['field']}".lstrip(".")
    if field["what"] == "missing required":
        return FieldError(inner, "is required")
    return FieldError(inner, "unknown field", meant(field["field"], _fields_at(path)))
