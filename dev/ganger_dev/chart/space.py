"""What the values of the chart can be: every switch and enumeration of the schema, and what else changes objects."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from ganger_dev.paths import repository

CHART: Final = repository() / "charts" / "ganger"
NAMESPACE: Final = "ganger-system"
OTHER_NAMESPACES: Final = ("team-a", "team-b", "monitoring")  # that the values below name
# What is neither a switch nor an enumeration, and makes or unmakes objects or parts of them.
_MORE: Final[dict[str, list[Any]]] = {
    "replicas": [2, 1],
    "operator.shards": [1, 3],
    "watchNamespaces": [[], ["team-a", "team-b"]],
    "image.digest": ["", "sha256:" + "0" * 64],
    "imagePullSecrets": [[], [{"name": "pull"}]],
    "networkPolicy.metricsFrom": [[], [{"podSelector": {"matchLabels": {"app": "prometheus"}}}]],
    "networkPolicy.apiServerCIDRs": [[], ["10.96.0.1/32"]],
    "extraObjects": [[], [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-more"}}]],
    "serviceAccount.name": ["", "given"],
    "control.tlsSecret": ["", "own"],
    "dashboards.namespace": ["", "monitoring"],
    "dashboards.folder": ["Ganger", ""],
    "commonLabels": [{}, {"team": "platform"}],
    "topologySpreadConstraints": [
        [], [{"maxSkew": 2, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"}],
    ],
}  # fmt: skip
# Switches that need the definitions of another operator.
NEED_DEFINITIONS: Final = (
    "metrics.serviceMonitor.enabled",
    "metrics.podMonitor.enabled",
    "prometheusRule.enabled",
    "dashboards.grafanaOperator.enabled",
)


def schema(chart: Path = CHART) -> dict[str, Any]:
    """Return the schema of the chart's values."""
    found: dict[str, Any] = json.loads((chart / "values.schema.json").read_text())
    return found


def properties(node: Mapping[str, Any], root: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield path and schema of every value that the schema names, outer ones before inner; references are followed."""
    for name, part in node.get("properties", {}).items():
        found = resolved(part, root)
        yield f"{prefix}{name}", found
        yield from properties(found, root, f"{prefix}{name}.")


def resolved(node: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the node refers to, else the node."""
    return root["definitions"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node


def factors(root: Mapping[str, Any], *, definitions: bool) -> dict[str, list[Any]]:
    """Return each value to combine with what it can be. definitions: those of the other operators are served."""
    found: dict[str, list[Any]] = {}
    for path, node in properties(root, root):
        if node.get("type") == "boolean" and (definitions or path not in NEED_DEFINITIONS):
            found[path] = [True, False]
        elif "enum" in node:
            found[path] = list(node["enum"])
    return found | _MORE


def nested(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by dotted path as Helm wants them: nested."""
    values: dict[str, Any] = {}
    for path, value in row.items():
        *parents, last = path.split(".")
        inner = values
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = value
    return values
