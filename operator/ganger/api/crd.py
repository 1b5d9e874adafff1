"""The CustomResourceDefinitions, made from the Structs. The checked-in files are written by `make generate`."""

from functools import cache
from typing import Any

import yaml
from msgspec import Struct

from ganger.api.merge import PROFILED
from ganger.api.rule import fields_read, rule_block
from ganger.api.rules import RULES
from ganger.api.schema import of_struct
from ganger.api.session import DevSession, DevSessionSpec, DevSessionStatus
from ganger.api.status import TrainingJobStatus
from ganger.api.types import TrainingJob, TrainingJobSpec
from ganger.contract import (
    API_GROUP,
    API_VERSION,
    KIND,
    LABEL_QUEUE,
    PLURAL,
    PROFILE_KIND,
    PROFILE_PLURAL,
    PROFILE_SHORT_NAMES,
    SESSION_KIND,
    SESSION_PLURAL,
    SESSION_SHORT_NAMES,
    SHORT_NAMES,
)

CRD_NAME = f"{PLURAL}.{API_GROUP}"
# Columns of `kubectl get tj`: name, type, path, and whether only `-o wide` shows it.
COLUMNS: tuple[tuple[str, str, str, bool], ...] = (
    ("Phase", "string", ".status.phase", False),
    ("Workers", "string", ".status.workers", False),
    ("Step", "integer", ".status.progress.step", False),
    ("Progress", "string", ".status.progress.percent", False),
    ("Loss", "string", ".status.progress.loss", False),
    ("Restarts", "integer", ".status.restarts.total", False),
    ("Age", "date", ".metadata.creationTimestamp", False),
    # As text: kubectl shows a date as the time that has passed since, which a date to come has not.
    ("ETA", "string", ".status.progress.etaTime", True),
    ("Checkpoint", "date", ".status.checkpoint.latestTime", True),
    ("Queue", "string", f".metadata.labels.{LABEL_QUEUE.replace('.', chr(92) + '.')}", True),
    ("Image", "string", ".spec.image", True),
    ("Profile", "string", ".spec.profile", True),
    ("Message", "string", ".status.message", True),
)
PROFILE_COLUMNS: tuple[tuple[str, str, str, bool], ...] = (
    ("Image", "string", ".spec.image", False),
    ("Priority", "string", ".spec.priorityClassName", False),
    ("Age", "date", ".metadata.creationTimestamp", False),
)
SESSION_COLUMNS: tuple[tuple[str, str, str, bool], ...] = (
    ("Phase", "string", ".status.phase", False),
    ("Job", "string", ".spec.fromJob", False),
    ("Idle-Since", "date", ".status.lastActivityTime", False),
    ("Age", "date", ".metadata.creationTimestamp", False),
    # As text, as the ETA of a job.
    ("Cull-Time", "string", ".status.cullTime", True),
    ("Pod", "string", ".status.pod", True),
    ("Message", "string", ".status.message", True),
)
# What `kubectl get tj --field-selector` and a watch may select by.
SELECTABLE = (".status.phase", ".spec.suspend", ".spec.managedBy", ".spec.priorityClassName")


@cache
def schema(kind: str = KIND) -> dict[str, Any]:
    """Return the structural schema of one of our kinds, as the API server and the CLI apply it. Do not change it."""
    wholes: dict[str, type[Struct]] = {KIND: TrainingJob, SESSION_KIND: DevSession}
    whole = wholes.get(kind)
    root: dict[str, Any] = {"type": "object", "description": _PROFILE} if whole is None else of_struct(whole)
    root["required"] = ["spec"]
    root["properties"] = {
        "apiVersion": {"type": "string", "description": f"Always {API_GROUP}/{API_VERSION}."},
        "kind": {"type": "string", "description": f"Always {kind}."},
        # Named here only so that the rule on it may blame it.
        "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 253}}},
    }
    if kind == KIND:
        root["properties"] |= {"spec": of_struct(TrainingJobSpec), "status": of_struct(TrainingJobStatus)}
    elif kind == SESSION_KIND:
        root["properties"] |= {"spec": of_struct(DevSessionSpec), "status": of_struct(DevSessionStatus)}
    else:
        root["properties"]["spec"] = _profile_spec()
    return root


_PROFILE = "Values for the jobs that name this profile in spec.profile. A job's own values win."


def _profile_spec() -> dict[str, Any]:
    """The part of a job's spec that a profile may have, with the rules that read nothing else."""
    whole = of_struct(TrainingJobSpec)
    rules = [rule for rule in RULES if rule.on is TrainingJobSpec and rule.cel and fields_read(rule) <= PROFILED]
    return {
        "type": "object",
        "description": "Every field as in spec of a TrainingJob, where it is explained.",
        "properties": {
            name: {key: value for key, value in node.items() if key != "default"}
            for name, node in whole["properties"].items()
            if name in PROFILED
        },
        "x-kubernetes-validations": [rule_block(rule) for rule in rules],
    }


def crd() -> dict[str, Any]:
    """Return the CustomResourceDefinition of TrainingJob as plain values."""
    version = {
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.workers",
                "statusReplicasPath": ".status.readyWorkers",
                "labelSelectorPath": ".status.selector",
            },
        },
        "selectableFields": [{"jsonPath": path} for path in SELECTABLE],
    }
    return _definition(KIND, PLURAL, SHORT_NAMES, ["all", "training"], version, COLUMNS)


def profile_crd() -> dict[str, Any]:
    """Return the CustomResourceDefinition of TrainingProfile as plain values."""
    return _definition(PROFILE_KIND, PROFILE_PLURAL, PROFILE_SHORT_NAMES, ["training"], {}, PROFILE_COLUMNS)


def session_crd() -> dict[str, Any]:
    """Return the CustomResourceDefinition of DevSession as plain values."""
    version = {"subresources": {"status": {}}, "selectableFields": [{"jsonPath": ".status.phase"}]}
    categories = ["all", "training"]
    return _definition(SESSION_KIND, SESSION_PLURAL, SESSION_SHORT_NAMES, categories, version, SESSION_COLUMNS)


def definitions() -> tuple[dict[str, Any], ...]:
    """Return all of them."""
    return crd(), profile_crd(), session_crd()


def _definition(
    kind: str,
    plural: str,
    short_names: tuple[str, ...],
    categories: list[str],
    version: dict[str, Any],
    columns: tuple[tuple[str, str, str, bool], ...],
) -> dict[str, Any]:
    shown = [
        {"name": name, "type": type_, "jsonPath": path, **({"priority": 1} if wide else {})}
        for name, type_, path, wide in columns
    ]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        # `helm uninstall` must not delete the definition: every object of it would go with it.
        "metadata": {"name": f"{plural}.{API_GROUP}", "annotations": {"helm.sh/resource-policy": "keep"}},
        "spec": {
            "group": API_GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": list(short_names),
                "categories": categories,
            },
            "versions": [
                {"name": API_VERSION, "served": True, "storage": True}
                | version
                | {"additionalPrinterColumns": shown, "schema": {"openAPIV3Schema": schema(kind)}}
            ],
        },
    }


class _Plain(yaml.SafeDumper):
    """Writes every value out: an anchor in a CRD would puzzle its readers."""

    def ignore_aliases(self, data: Any) -> bool:
        """Whether a value that comes twice is written twice: always."""
        return True


def as_yaml(value: Any) -> str:
    """Return the value as YAML, the same text for the same value."""
    return yaml.dump(value, Dumper=_Plain, sort_keys=False, width=1_000_000, allow_unicode=True)
