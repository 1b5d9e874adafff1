"""Manifests made from the schema itself: every field, at its bounds and beyond, and what does not belong there.

Most of a drawn manifest is sound, and a mistake or two is put into it: a manifest with a mistake everywhere would be
refused whatever the check knew.
"""

import string
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st

from ganger.api.crd import schema

Schema = dict[str, Any]
# By field name: words that the rules connect, and texts that patterns of several parts allow.
WORDS = {
    "image": ["a", "pytorch-cuda:v2.15", "r.io:5000/a/b:1@sha256:" + "0" * 64, "a::b", "A:b", "a b"],
    "reference": ["data:v1", "a//b"],
    "task": ["m:t", "a.b:c", "m", "m:t:u"],
    "fieldPath": ["status.hostIP", "metadata.labels['a/b']", "spec.nodeName", "metadata.labels[a]"],
    "managedBy": ["ganger.dev/ganger", "kueue.x-k8s.io/multikueue", "ganger"],
    "mountPath": [
        "/data",
        "/a/b",
        "/tmp",
        "/tmp/x",
        "/code",
        "/codes",
        "/dev/shm",
        "/./dev",
        "/a/../b",
        "/a/..b",
        "a",
        "/",
    ],
    "subPath": ["a", "a/b", "../a", "a/..", "/a", "a\n", "..."],
    "path": ["runs/a", "a/../b", "a/./b", "/a", "a..b", "model.onnx"],
    "name": ["a", "b", "ganger-x", "A", "RANK", "GANGER_X", "NCCL_DEBUG", "a.b", "a-", "a\n", ""],
    "key": ["a", "nvidia.com/gpu", "a b", "a..b/c", "a\n", "-a"],
    "priorityClassName": ["batch", "system-node-critical", "system"],
    "operator": ["Equal", "Exists"],
    "effect": ["NoSchedule", "NoExecute"],
    "accessMode": ["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"],
}
QUANTITIES = [
    "0",
    "1",
    "2",
    "500m",
    "1.5",
    "2000m",
    "1Gi",
    "1G",
    "16GB",
    "-1",
    "1e3",
    "1E3",
    "1e999",
    ".5",
    "5.",
    "0Mi",
    0,
    1,
    2,
]
KEYS = ["cpu", "memory", "nvidia.com/gpu", "hugepages-2Mi", "gpu", "a/b/c", "a b/c", "team", "x.y/z", "a\n", ""]
ODD = st.sampled_from(
    [None, True, 0, -1, 1.5, 1 << 40, "", "a", "x\ny", "\u00e9", "a\x1b", [], {}, ["a"], {"a": 1}]
).map(deepcopy)


def _text(node: Schema, name: str) -> st.SearchStrategy[Any]:
    if "enum" in node:
        return st.sampled_from(node["enum"])
    if name in WORDS:
        return st.sampled_from(WORDS[name])
    letters = st.text(string.ascii_lowercase, min_size=1, max_size=min(8, node.get("maxLength", 8)))
    longest = node.get("maxLength", 1 << 20)
    if longest > 300:
        return letters
    return letters | st.sampled_from(["a" * longest, "a" * (longest + 1)])


def _number(node: Schema) -> st.SearchStrategy[Any]:
    low, high = node.get("minimum", 0), node.get("maximum", 1 << 31)
    inside = st.integers(low, min(high, low + 3))
    return inside | inside | st.sampled_from([low, high, low - 1, high + 1])


def _value(node: Schema, name: str) -> st.SearchStrategy[Any]:
    if node.get("x-kubernetes-int-or-string"):
        if "auto" in node.get("pattern", "") and "KMGT" not in node["pattern"]:
            return st.sampled_from(["auto", "Auto", 1, 0, 64, 65])
        return st.sampled_from(QUANTITIES)
    if node.get("x-kubernetes-preserve-unknown-fields"):
        inner = st.recursive(
            ODD, lambda some: st.dictionaries(st.sampled_from(["a", "b_c"]), some, max_size=2), max_leaves=4
        )
        return st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2)
    match node["type"]:
        case "string":
            return _text(node, name)
        case "integer":
            return _number(node)
        case "number":
            low, high = node["minimum"], node["maximum"]
            return st.sampled_from([low, (low + high) / 2, high, low / 2, high * 1.5, int(high), -1, "0.5"])
        case "boolean":
            return st.booleans()
        case "array":
            return st.lists(_value(node["items"], name), min_size=node.get("minItems", 0), max_size=3)
        case "object" if "properties" in node:
            return _object(node)
    return st.dictionaries(st.sampled_from(KEYS), _value(node["additionalProperties"], name), max_size=3)


@st.composite
def _object(draw: st.DrawFn, node: Schema) -> dict[str, Any]:
    properties, required = node["properties"], node.get("required", [])
    optional = sorted(set(properties) - set(required))
    few = draw(st.lists(st.sampled_from(optional), max_size=3, unique=True)) if optional else []
    return {name: draw(_value(properties[name], name)) for name in [*required, *few]}


def _places(value: Any) -> list[Any]:
    """Every object and list in a value."""
    if isinstance(value, dict):
        return [value, *(place for item in value.values() for place in _places(item))]
    if isinstance(value, list):
        return [value, *(place for item in value for place in _places(item))]
    return []


@st.composite
def manifests(draw: st.DrawFn, *, spoilt: bool = True) -> dict[str, Any]:
    """A manifest of a job; `spoilt`: perhaps with a mistake beside those that its words bring along."""
    node = schema()["properties"]["spec"]
    part = draw(st.sampled_from(sorted(node["properties"])))
    spec = {"task": "m:t", part: draw(_value(node["properties"][part], part))}
    if draw(st.booleans()):
        spec |= draw(_object(node))
    spec = deepcopy(spec)  # what is drawn twice may be one object, and it is changed below
    if spoilt and draw(st.integers(0, 3)) == 0:
        place = draw(st.sampled_from(_places(spec)))
        if isinstance(place, list):
            place.append(draw(ODD))
        elif place and draw(st.booleans()):
            place[draw(st.sampled_from(sorted(place)))] = draw(ODD)
        else:
            place[draw(st.sampled_from(["replicas", "Workers", "wrokers"]))] = draw(ODD)
    return {
        "apiVersion": "ganger.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": draw(_metadata()) if spoilt else {"name": "digits"},
        "spec": spec,
    }


@st.composite
def _metadata(draw: st.DrawFn) -> dict[str, Any]:
    if draw(st.integers(0, 4)):
        return {"name": "digits"}
    metadata: dict[str, Any] = draw(
        st.sampled_from(
            [
                {"name": "a" * 40},
                {"name": "a" * 41},
                {"name": "1a"},
                {"name": "a-"},
                {"generateName": "a-"},
                {"generateName": "a" * 35},
                {"generateName": "a" * 36},
                {"generateName": "A"},
                {"name": ""},
                {},
            ]
        )
    )
    keys = ["team", "a.b/c", "A.b/c", "a..b/c", "a b", "kueue.x-k8s.io/queue-name", "a" * 63, "a" * 64]
    values = st.sampled_from(["a", "", "a b", "a" * 63, "a" * 64, "-a", None])
    kind = draw(st.sampled_from(["labels", "annotations"]))
    return metadata | {kind: draw(st.dictionaries(st.sampled_from(keys), values, max_size=2))}
