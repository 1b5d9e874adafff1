"""The CustomResourceDefinition, made from the Structs. The checked-in file is written by `make generate`."""

from functools import cache
from typing import Any

import yaml

from ganger.api.schema import of_struct
from ganger.api.status import TrainingJobStatus
from ganger.api.types import TrainingJob, TrainingJobSpec
from ganger.contract import API_GROUP, API_VERSION, KIND, LABEL_QUEUE, PLURAL, SHORT_NAMES

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
    ("Message", "string", ".status.message", True),
)
# What `kubectl get tj --field-selector` and a watch may select by.
SELECTABLE = (".status.phase", ".spec.suspend", ".spec.managedBy", ".spec.priorityClassName")


@cache
def schema() -> dict[str, Any]:
    """Return the structural schema of a TrainingJob, as the API server and the CLI apply it. Do not change it."""
    root = of_struct(TrainingJob)
    root["required"] = ["spec"]
    root["properties"] = {
        "apiVersion": {"type": "string", "description": f"Always {API_GROUP}/{API_VERSION}."},
        "kind": {"type": "string", "description": f"Always {KIND}."},
        # Named here only so that the rule on it may blame it.
        "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 253}}},
        "spec": of_struct(TrainingJobSpec),
        "status": of_struct(TrainingJobStatus),
    }
    return root


def crd() -> dict[str, Any]:
    """Return the CustomResourceDefinition as plain values."""
    columns = [
        {"name": name, "type": type_, "jsonPath": path, **({"priority": 1} if wide else {})}
        for name, type_, path, wide in COLUMNS
    ]
    version = {
        "name": API_VERSION,
        "served": True,
        "storage": True,
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.workers",
                "statusReplicasPath": ".status.readyWorkers",
                "labelSelectorPath": ".status.selector",
            },
        },
        "selectableFields": [{"jsonPath": path} for path in SELECTABLE],
        "additionalPrinterColumns": columns,
        "schema": {"openAPIV3Schema": schema()},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        # `helm uninstall` must not delete the definition: every job would go with it.
        "metadata": {"name": CRD_NAME, "annotations": {"helm.sh/resource-policy": "keep"}},
        "spec": {
            "group": API_GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": list(SHORT_NAMES),
                "categories": ["all", "training"],
            },
            "versions": [version],
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
