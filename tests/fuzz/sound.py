"""Manifests that are right, drawn from the schema of the CRD: every field, with its bounds, patterns and words."""

import random
import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from fuzz import patterns
from ganger.api.crd import schema
from ganger.api.field_error import below
from ganger.api.validate import check_manifest

Manifest = dict[str, Any]
Schema = dict[str, Any]
# Without a profile, which lets a job leave out what it has: tests/property/api/test_merge.py draws jobs that name one.
_ALL: Schema = schema()["properties"]["spec"]
SPEC: Schema = _ALL | {"properties": {name: node for name, node in _ALL["properties"].items() if name != "profile"}}
RESOURCES = ("cpu", "memory", "ephemeral-storage", "nvidia.com/gpu", "nvidia.com/mig-1g.10gb", "hugepages-2Mi", "a.b/c")
FREE = (0, 1, -2.5, True, None, "", "x", "é\U0001f600", [], {}, [1, "a"], {"a": {"b_c": 1.5}}, 2**40)
WORDS = ("a", "b_c", "lr", "batchSize", "x1")
_ONE_OF = re.compile(r"^\[(.*)\]\.exists_one\(")
_ATTEMPTS = 12


def manifest(draw: random.Random) -> Manifest:
    """Return a job that the offline check accepts: drawn, then cut where parts of it contradict each other."""
    found = settled(drawn(draw))
    assert found is not None, "the smallest job is refused"
    return found


def drawn(draw: random.Random) -> Manifest:
    """Return a job of which every field is right by itself; two of them may contradict each other."""
    return {
        "apiVersion": "ganger.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": patterns.text(draw, r"^[a-z][a-z0-9]{0,9}(-[a-z0-9]{1,9})?$")},
        "spec": value(draw, SPEC, "spec"),
    }


def settled(job: Manifest) -> Manifest | None:
    """Return the job without what the offline check blames, None where that never ends. The job itself is kept."""
    job = deepcopy(job)
    if bounds := job["spec"].get("elastic"):
        low, high = sorted((bounds["minWorkers"], bounds["maxWorkers"]))
        bounds |= {"minWorkers": low, "maxWorkers": high}
        job["spec"]["workers"] = max(low, min(high, job["spec"].get("workers", 1)))
    volumes = job["spec"].get("volumes", [])
    for index, mount in enumerate(job["spec"].get("volumeMounts", [])):
        mount["name"] = volumes[index % len(volumes)]["name"] if volumes else mount["name"]
    for _ in range(_ATTEMPTS):
        errors = check_manifest(job)[1]
        if not errors:
            return job
        for path in sorted({error.path for error in errors}, reverse=True):  # the last item of a list first
            _cut(job, path)
        if sum(key in job["spec"] for key in ("task", "script", "command")) != 1:
            job["spec"] = {k: v for k, v in job["spec"].items() if k not in ("script", "command")} | {"task": "m:t"}
    return None


def places(value: Any, node: Schema, path: str) -> Iterator[tuple[Any, Any, Schema, str]]:
    """Yield every field and item below a value: what holds it, its key there, its schema, its path."""
    if isinstance(value, dict) and not node.get("x-kubernetes-preserve-unknown-fields"):
        for key in list(value):
            inner = node.get("properties", {}).get(key, node.get("additionalProperties", {}))
            yield value, key, inner, below(path, key)
            yield from places(value[key], inner, below(path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield value, index, node["items"], f"{path}[{index}]"
            yield from places(item, node["items"], f"{path}[{index}]")


def value(draw: random.Random, node: Schema, name: str) -> Any:
    """Return a value that the schema allows. name: of the field, for the words that only rules know."""
    if node.get("x-kubernetes-preserve-unknown-fields"):
        return {key: deepcopy(draw.choice(FREE)) for key in draw.sample(WORDS, draw.randint(0, 3))}
    if node.get("x-kubernetes-int-or-string"):
        return draw.choice((_integer(draw, node), _text(draw, node)))
    match node["type"]:
        case "integer":
            return _integer(draw, node)
        case "number":
            return draw.choice((node["maximum"], (node["minimum"] + node["maximum"]) / 2, 1e-9))
        case "boolean":
            return draw.random() < 0.5
        case "string":
            return draw.choice(node["enum"]) if "enum" in node else _text(draw, node)
        case "array":
            most = min(node.get("maxItems", 3), 3)
            return [value(draw, node["items"], name) for _ in range(draw.randint(node.get("minItems", 0), most))]
        case "object" if "properties" in node:
            return _object(draw, node)
    keys = RESOURCES if name in ("requests", "limits") else ("gpu", "a.b/c", "topology.kubernetes.io/zone")
    return {key: value(draw, node["additionalProperties"], name) for key in draw.sample(keys, draw.randint(0, 2))}


def alternatives(node: Schema) -> list[str]:
    """Return the fields of an object of which just one is set, by the rule in its schema; [] where there are none."""
    for rule in node.get("x-kubernetes-validations", ()):
        if found := _ONE_OF.match(rule["rule"]):
            return re.findall(r"has\(self\.(\w+)\)", found[1])
    return []


def _object(draw: random.Random, node: Schema) -> dict[str, Any]:
    properties, required, either = node["properties"], node.get("required", []), alternatives(node)
    optional = [name for name in properties if name not in required and name not in either]
    names = [*required, *draw.sample(optional, draw.randint(0, min(len(optional), 12)))]
    if either:
        names.append(draw.choice(either))
    return {name: value(draw, properties[name], name) for name in names}


def _integer(draw: random.Random, node: Schema) -> int:
    low, high = node.get("minimum", 0), node.get("maximum", 1 << 31)
    return draw.choice((low, high, draw.randint(low, min(high, low + 8)), draw.randint(low, min(high, low + 8))))


def _text(draw: random.Random, node: Schema) -> str:
    most = node.get("maxLength", 1 << 16)
    for _ in range(_ATTEMPTS):
        found = patterns.text(draw, node.get("pattern", r"^[a-z é]{0,9}$"))
        if node.get("minLength", 0) <= len(found) <= most:
            return found
    raise AssertionError(f"{node['pattern']} yields nothing of at most {most} characters")


def _cut(job: Manifest, path: str) -> None:
    """Remove the field or item at a path, or the nearest around it that is there."""
    for holder, key, _, at in reversed(list(places(job["spec"], SPEC, "spec"))):
        if path == at or path.startswith((f"{at}.", f"{at}[")):
            del holder[key]
            return
