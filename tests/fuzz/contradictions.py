"""Contradictions in a manifest of which every field is right by itself, and names that are Ganger's own."""

import random
from copy import deepcopy
from typing import Any

from fuzz.mistakes import Spoilt
from fuzz.sound import Manifest

PROGRAMS: dict[str, Any] = {"task": "m:t", "script": ["a.py"], "command": ["true"]}
_SIZE = {"volume": {"size": "1Gi"}, "everySteps": 5}
_CLAIM = {"volume": {"claimName": "shared"}, "everySteps": 5}
_DATA = [{"name": "data", "emptyDir": {}}]

# What is put over the spec, and the field that must be blamed.
OVER_SPEC: dict[str, tuple[dict[str, Any], str]] = {
    "elastic crosses": ({"workers": 2, "elastic": {"minWorkers": 3, "maxWorkers": 2}}, "spec.elastic.minWorkers"),
    "workers below": ({"workers": 1, "elastic": {"minWorkers": 2, "maxWorkers": 3}}, "spec.workers"),
    "workers above": ({"workers": 4, "elastic": {"minWorkers": 2, "maxWorkers": 3}}, "spec.workers"),
    "requests over limits": (
        {"resources": {"requests": {"memory": "1025Mi"}, "limits": {"memory": "1Gi"}}},
        "spec.resources.requests",
    ),
    "half a device": ({"resources": {"limits": {"nvidia.com/gpu": "500m"}}}, "spec.resources.limits"),
    "half a slice": ({"resources": {"limits": {"nvidia.com/mig-1g.10gb": "1.5"}}}, "spec.resources.limits"),
    "device reserved alone": ({"resources": {"requests": {"nvidia.com/gpu": 1}}}, "spec.resources.requests"),
    "device without domain": ({"resources": {"limits": {"gpu": 1}}}, "spec.resources.limits"),
    "mount without volume": (
        {"volumes": _DATA, "volumeMounts": [{"name": "date", "mountPath": "/a"}]},
        "spec.volumeMounts",
    ),
    "volume twice": ({"volumes": _DATA * 2}, "spec.volumes[1].name"),
    "volume of Ganger": ({"volumes": [{"name": "ganger-shm", "emptyDir": {}}]}, "spec.volumes[0].name"),
    "two sources": ({"volumes": [{"name": "a", "emptyDir": {}, "claim": {"claimName": "b"}}]}, "spec.volumes[0]"),
    "no source": ({"volumes": [{"name": "a"}]}, "spec.volumes[0]"),
    "variable twice": ({"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}, "spec.env[1].name"),
    "variable with two values": (
        {"env": [{"name": "A", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]},
        "spec.env[0]",
    ),
    "variable without value": ({"env": [{"name": "A"}]}, "spec.env[0]"),
    "environment from nothing": ({"envFrom": [{"prefix": "A_"}]}, "spec.envFrom[0]"),
    "code twice": ({"code": {"configMap": {"name": "a"}, "claim": {"claimName": "b"}}}, "spec.code"),
    "no interval": ({"checkpoint": {"volume": {"size": "1Gi"}}}, "spec.checkpoint"),
    "two intervals": ({"checkpoint": _SIZE | {"everySeconds": 5}}, "spec.checkpoint"),
    "two volumes": (
        {"checkpoint": _SIZE | {"volume": {"size": "1Gi", "claimName": "a"}}},
        "spec.checkpoint.volume",
    ),
    "no size at all": ({"checkpoint": _SIZE | {"volume": {"size": "0"}}}, "spec.checkpoint.volume.size"),
    "folder of an own volume": (
        {"checkpoint": _SIZE | {"volume": {"size": "1Gi", "path": "a"}}},
        "spec.checkpoint.volume.path",
    ),
    "mode of a claim": (
        {"checkpoint": _CLAIM | {"volume": {"claimName": "a", "accessMode": "ReadWriteOnce"}}},
        "spec.checkpoint.volume.accessMode",
    ),
    "one pod for two": (
        {
            "workers": 2,
            "elastic": None,
            "checkpoint": _SIZE | {"volume": {"size": "1Gi", "accessMode": "ReadWriteOncePod"}},
        },
        "spec.checkpoint.volume.accessMode",
    ),
    "backoff crosses": (
        {"failurePolicy": {"backoff": {"baseSeconds": 9, "capSeconds": 8}}},
        "spec.failurePolicy.backoff.baseSeconds",
    ),
    "backoff over the default": ({"failurePolicy": {"backoff": {"baseSeconds": 301}}}, "spec.failurePolicy.backoff"),
    "rule without condition": (
        {"failurePolicy": {"rules": [{"name": "a", "action": "Count"}]}},
        "spec.failurePolicy.rules[0]",
    ),
    "class of the system": ({"priorityClassName": "system-node-critical"}, "spec.priorityClassName"),
    "toleration without key": ({"tolerations": [{"value": "a"}]}, "spec.tolerations[0].key"),
    "value of Exists": ({"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}, "spec.tolerations[0]"),
    "seconds of NoSchedule": (
        {"tolerations": [{"key": "a", "effect": "NoSchedule", "tolerationSeconds": 1}]},
        "spec.tolerations[0].tolerationSeconds",
    ),
    "long command": ({"task": None, "script": None, "command": ["a" * 4096] * 9}, "spec.command"),
    "settings too large": ({"config": {"a": "b" * 65_537}}, "spec.config"),
    "key of settings": ({"config": {"a-b": 1}}, "spec.config"),
}
MOUNTS = (
    "/checkpoints",
    "/checkpoints/a",
    "/dev/shm",
    "/dev",
    "/proc/1",
    "/sys",
    "/tmp",
    "/var/run/ganger",
    "/a/../tmp",
    "/./dev",
)
VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "GANGER_X", "LD_PRELOAD", "PET_NNODES")
NAMES = ("a" * 41, "1a", "a.b", "a-", "A", "a_b", "", "a\u0301", "a\n", "-", "a b")


def contradict(draw: random.Random, job: Manifest) -> Spoilt:
    """Return the job with one contradiction."""
    kind = draw.randrange(len(OVER_SPEC) + 6)
    if kind < len(OVER_SPEC):
        name = sorted(OVER_SPEC)[kind]
        spec, path = OVER_SPEC[name]
        return _over(job, name, spec, path)
    match kind - len(OVER_SPEC):
        case 0:
            spec = dict.fromkeys(PROGRAMS) | {name: PROGRAMS[name] for name in draw.sample(sorted(PROGRAMS), 2)}
            return _over(job, "two programs", spec, "spec")
        case 1:
            return _over(job, "no program", dict.fromkeys(PROGRAMS), "spec")
        case 2:
            mounts = [{"name": "data", "mountPath": draw.choice(MOUNTS)}]
            return _over(job, "mount of Ganger", {"volumes": _DATA, "volumeMounts": mounts}, "spec.volumeMounts[0]")
        case 3:
            code = {"code": {"claim": {"claimName": "a"}}, "volumes": _DATA}
            mounts = [{"name": "data", "mountPath": draw.choice(("/code", "/code/a"))}]
            return _over(job, "mount over code", code | {"volumeMounts": mounts}, "spec.volumeMounts")
        case 4:
            env = [{"name": draw.choice(VARIABLES), "value": "1"}]
            return _over(job, "variable of Ganger", {"env": env}, "spec.env[0].name")
    copy = deepcopy(job)
    copy["metadata"]["name"] = draw.choice(NAMES)
    return Spoilt("name of no host", copy, "metadata.name")


def _over(job: Manifest, name: str, spec: dict[str, Any], path: str) -> Spoilt:
    """A value of None takes the field away."""
    merged = deepcopy(job["spec"]) | deepcopy(spec)
    return Spoilt(name, job | {"spec": {key: value for key, value in merged.items() if value is not None}}, path)
