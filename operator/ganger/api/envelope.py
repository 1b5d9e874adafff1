"""What surrounds the spec of a manifest: its kind, metadata and status, judged as the API server does.

A CRD cannot say what metadata looks like; the API server knows it by itself, and so must the offline check.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from ganger.api.conform import UNKNOWN_MAX, Schema, conform, found, unknown_fields
from ganger.api.crd import schema
from ganger.api.field_error import FieldError, below, printable
from ganger.api.pattern import matches
from ganger.api.workload import DNS_LABEL, DNS_SUBDOMAIN, LABEL_KEY, LABEL_VALUE
from ganger.contract import API_GROUP, API_VERSION, KIND, PROFILE_KIND

_DOMAIN_LENGTH_MAX = 253
_LABEL_LENGTH_MAX = 63
_ANNOTATIONS_BYTES_MAX = 262_144  # of all together, as the API server counts them

# metav1.ObjectMeta, as far as a manifest may hold it: one that `kubectl get -o yaml` wrote must be readable again.
_TEXT: Schema = {"type": "string"}
_YES_OR_NO: Schema = {"type": "boolean"}
_WORDS_BY_KEY: Schema = {"type": "object", "additionalProperties": _TEXT | {"default": ""}}  # here null is ""
_OBJECT_NAME: Schema = {
    "type": "string",
    "pattern": DNS_SUBDOMAIN,
    "maxLength": 253,
    "description": "Example: gpu-large",
}
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
    for key in islice(wrong, UNKNOWN_MAX):
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
    limits = {"type": "string", "maxLength": _LABEL_LENGTH_MAX, "pattern": LABEL_VALUE}
    for key, value in labels.items():
        yield from conform(value, limits, below("metadata.labels", key))
    yield from _keys(annotations, "metadata.annotations")
    if sum(len(f"{key}{value}".encode()) for key, value in annotations.items()) > _ANNOTATIONS_BYTES_MAX:
        yield FieldError("metadata.annotations", f"must be at most {_ANNOTATIONS_BYTES_MAX} bytes together")


def without_nulls(manifest: Mapping[str, Any], kind: str = KIND) -> dict[str, Any]:
    """Return the manifest as the API server reads it: null, where a field may not be null, is the same as none."""
    root = schema(kind)
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


def _unknown_below(value: object, node: Schema, path: str) -> Iterator[FieldError]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown_below(item, node.get("items", {}), f"{path}[{index}]")
    elif isinstance(value, dict) and "properties" in node:
        yield from unknown_fields(value, node["properties"], path)
        for key in value.keys() & node["properties"].keys():
            yield from _unknown_below(value[key], node["properties"][key], below(path, key))


def manifest_errors(manifest: Mapping[str, object], kind: str = KIND) -> list[FieldError]:
    """Return every structural mistake of the manifest of one of our kinds: what it is, its metadata, its spec.

    Of a status only the unknown fields are told: the API server looks for them and then drops it as it is.

    The manifest is without the nulls that the API server drops; see `without_nulls`.
    """
    wanted = {"apiVersion": f"{API_GROUP}/{API_VERSION}", "kind": kind}
    errors = [
        FieldError(key, f"must be {value}" + (f", not {manifest[key]!r:.60}" if manifest.get(key) else ""))
        for key, value in wanted.items()
        if manifest.get(key) != value
    ]
    if errors:
        return errors  # another kind altogether: its fields are not ours to judge
    metadata = manifest.get("metadata", {})
    errors += _metadata(metadata)
    if kind == PROFILE_KIND and isinstance(metadata, dict) and isinstance(metadata.get("name"), str):
        errors += conform(metadata["name"], _OBJECT_NAME, "metadata.name")  # the others have rules of their own
    known = schema(kind)["properties"]
    errors += unknown_fields(manifest, known, "")
    if "spec" not in manifest:
        errors.append(FieldError("spec", "is required"))
    else:
        errors += conform(manifest["spec"], known["spec"], "spec")
    errors += _unknown_below(manifest.get("status"), known.get("status", {}), "status")
    return errors
