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
from ganger.api.crd import schema
from ganger.api.envelope import manifest_errors, without_nulls
from ganger.api.field_error import FieldError, below
from ganger.api.merge import PROFILED
from ganger.api.observed import Metadata
from ganger.api.rule import Rule, attribute, fields_read
from ganger.api.rules import RULES
from ganger.api.schema import KEYED_LISTS, SETS
from ganger.api.session import DevSession, DevSessionSpec
from ganger.api.session_rules import SESSION_RULES
from ganger.api.spelling import meant
from ganger.api.types import TrainingJob, TrainingJobSpec, decode
from ganger.api.workload import Part
from ganger.contract import PROFILE_KIND, SESSION_KIND

PROFILE_BYTES_MAX = 16_384  # it becomes a part of the status of every job that names it
_BY_STRUCT: dict[type[Struct], list[Rule]] = defaultdict(list)
for _rule in (*RULES, *SESSION_RULES):
    _BY_STRUCT[_rule.on].append(_rule)


def _structs_in(cls: type[Struct]) -> dict[str, type[Struct]]:
    """The fields of a Struct that hold a Struct, or a list of them."""
    found: dict[str, type[Struct]] = {}
    info = msgspec.inspect.type_info(cls)
    assert isinstance(info, msgspec.inspect.StructType)
    for field in info.fields:
        types = [field.type]
        while types:
            match types.pop():
                case msgspec.inspect.Metadata(type=inner) | msgspec.inspect.VarTupleType(item_type=inner):
                    types.append(inner)
                case msgspec.inspect.UnionType(types=several):
                    types.extend(several)
                case msgspec.inspect.StructType(cls=struct):
                    found[field.encode_name] = struct
    return found


def _all_structs(cls: type[Struct]) -> dict[type[Struct], dict[str, type[Struct]]]:
    inside = _structs_in(cls)
    found = {cls: inside}
    for inner in inside.values():
        found |= _all_structs(inner)
    return found


_STRUCTS_IN = _all_structs(TrainingJobSpec) | _all_structs(DevSessionSpec)
_NOT_PROFILED = set(TrainingJobSpec.__struct_encode_fields__) - PROFILED
_AT = re.compile(r"^(?P<message>.*?)(?: - at `\$?(?P<path>.*)`)?$", re.DOTALL)
_FIELD = re.compile(r"^Object (?P<what>contains unknown|missing required) field `(?P<field>.*)`$", re.DOTALL)


def _parts(value: object, path: str) -> Iterator[tuple[str, Struct]]:
    """Yield every Struct of a job or a session that people write, with its path."""
    if isinstance(value, TrainingJob | DevSession):
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


def _broken(part: Struct, path: str, unsound: set[str]) -> Iterator[FieldError]:
    """What is wrong with one part itself, apart from the rules that read an unsound field of it."""
    unknown = unsound - set(part.__struct_encode_fields__)
    for rule in _BY_STRUCT[type(part)]:
        # A rule on the whole is mostly about fields that are missing: an unknown one may be just that, misspelt.
        if fields_read(rule) & unsound or (unknown and not rule.path):
            continue
        if not rule.holds(part):
            yield FieldError(f"{path}{rule.path}".lstrip("."), rule.message, rule.remedy)
    yield from _duplicates(path, part)


def check(job: TrainingJob, old: TrainingJob | None = None) -> list[FieldError]:
    """Return every rule that the job breaks; with `old`, also every change that a running job does not allow. Pure."""
    errors: list[FieldError] = []
    for path, part in _parts(job, ""):
        errors += _broken(part, path, set())
    if old is not None:
        errors += [
            FieldError(f"spec.{field.field}", field.message, freeze.REMEDY)
            for field in freeze.FROZEN
            if not field.kept(old.spec, job.spec)
        ]
        if not freeze.volume_kept(old.spec, job.spec):
            errors.append(FieldError(freeze.VOLUME_PATH, freeze.VOLUME_MESSAGE, freeze.VOLUME_REMEDY))
    return errors


def check_manifest(manifest: Mapping[str, Any]) -> tuple[TrainingJob | None, list[FieldError]]:
    """Return the job of a manifest and no errors, or None and every error: the structural ones first, then the rules.

    Accepts and refuses what the API server does with fieldValidation=Strict. Beside a structural mistake the rules
    that do not read the field in question are still asked, so that one round shows everything.
    """
    present = without_nulls(manifest)
    errors = manifest_errors(present)
    if errors:
        return None, errors + list(_beside(present, [error.path for error in errors]))
    try:
        job = decode({key: value for key, value in present.items() if key != "status"})
    except msgspec.ValidationError as error:
        return None, [explain(error)]
    errors = check(job)
    return (None if errors else job), errors


def check_session(session: DevSession) -> list[FieldError]:
    """Return every rule that the session breaks. Pure."""
    return [error for path, part in _parts(session, "") for error in _broken(part, path, set())]


def check_session_manifest(manifest: Mapping[str, Any]) -> tuple[DevSession | None, list[FieldError]]:
    """Return the session of a manifest and no errors, or None and every error, as `check_manifest` does for a job."""
    present = without_nulls(manifest, SESSION_KIND)
    errors = manifest_errors(present, SESSION_KIND)
    if errors:
        misfits = [error.path for error in errors]
        if isinstance(present.get("spec"), dict) and not {"apiVersion", "kind"} & set(misfits):
            errors += _beside_in(present["spec"], DevSessionSpec, "spec", misfits)
        return None, errors
    try:
        session = msgspec.convert({key: value for key, value in present.items() if key != "status"}, DevSession)
    except msgspec.ValidationError as error:
        return None, [explain(error)]
    errors = check_session(session)
    return (None if errors else session), errors


def check_profile(manifest: Mapping[str, Any]) -> list[FieldError]:
    """Return every mistake of a TrainingProfile manifest, as `check_manifest` does for a job."""
    present = without_nulls(manifest, PROFILE_KIND)
    errors = [_of_the_job(error) for error in manifest_errors(present, PROFILE_KIND)]
    spec = present.get("spec")
    if not isinstance(spec, dict) or any(error.path in ("apiVersion", "kind") for error in errors):
        return errors
    unsound = [error.path for error in errors] + [f"spec.{field}" for field in _NOT_PROFILED]
    errors += _beside_in(dict.fromkeys(_NOT_PROFILED) | spec, TrainingJobSpec, "spec", unsound)
    if len(msgspec.json.encode(spec)) > PROFILE_BYTES_MAX:
        remedy = "put data into a ConfigMap: the status of every job that names the profile holds a copy"
        errors.append(FieldError("spec", f"must be at most {PROFILE_BYTES_MAX} bytes as JSON", remedy))
    return errors


def _of_the_job(error: FieldError) -> FieldError:
    """Tell of a field that jobs have and profiles have not where it belongs."""
    if error.path.removeprefix("spec.") in _NOT_PROFILED:
        return FieldError(error.path, error.message, "it belongs into the job: a profile says what many jobs share")
    return error


def _beside(manifest: dict[str, Any], misfits: list[str]) -> Iterator[FieldError]:
    """Every rule that the sound fields of a misfit manifest break."""
    if "apiVersion" in misfits or "kind" in misfits:
        return
    if not any(_within(misfit, "metadata") for misfit in misfits):
        metadata = msgspec.convert(manifest["metadata"], Metadata)
        yield from _broken(TrainingJob(metadata=metadata, spec=TrainingJobSpec()), "", set())
    if isinstance(manifest.get("spec"), dict):
        yield from _beside_in(manifest["spec"], TrainingJobSpec, "spec", misfits)


def _beside_in(value: dict[str, Any], cls: type[Struct], path: str, misfits: list[str]) -> Iterator[FieldError]:
    unsound = {key for key in value if any(_within(misfit, below(path, key)) for misfit in misfits)}
    try:
        part = msgspec.convert({key: item for key, item in value.items() if key not in unsound}, cls)
    except msgspec.ValidationError:
        pass  # a required field is missing or unsound: nothing can be said of the whole
    else:
        yield from _broken(part, path, unsound)
    for name, inner in _STRUCTS_IN[cls].items():
        inside = value.get(name)
        if isinstance(inside, dict):
            yield from _beside_in(inside, inner, f"{path}.{name}", misfits)
        elif isinstance(inside, list):
            for index, item in enumerate(inside):
                if isinstance(item, dict):
                    yield from _beside_in(item, inner, f"{path}.{name}[{index}]", misfits)


def _within(path: str, outer: str) -> bool:
    return path == outer or path.startswith((f"{outer}.", f"{outer}["))


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
