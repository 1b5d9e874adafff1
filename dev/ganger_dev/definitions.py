"""The definitions of other operators' objects that the chart can make, from the Go modules of those operators.

With them a real API server checks a ServiceMonitor as strictly as it does where that operator is installed.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ganger_dev import golang
from ganger_dev.paths import below_cache, locked


@dataclass(frozen=True, kw_only=True)
class Source:
    """A Go module and the files of it that define objects."""

    module: str
    version: str
    files: tuple[str, ...]


SOURCES: Final = (
    Source(
        module="github.com/prometheus-operator/prometheus-operator",
        version="0.85.0",
        files=tuple(
            f"example/prometheus-operator-crd/monitoring.coreos.com_{plural}.yaml"
            for plural in ("servicemonitors", "podmonitors", "prometheusrules")
        ),
    ),
    Source(
        module="github.com/grafana/grafana-operator/v5",
        version="5.18.0",
        files=("config/crd/bases/grafana.integreatly.org_grafanadashboards.yaml",),
    ),
)


def ensure() -> list[Path]:
    """Return the files of all definitions, fetching what is missing. Raises DevError where Go cannot deliver them."""
    found = []
    with locked("definitions"):
        for source in SOURCES:
            folder = below_cache("definitions") / f"{source.module.replace('/', '-')}-{source.version}"
            files = [folder / Path(name).name for name in source.files]
            if not all(file.exists() for file in files):
                origin = golang.module(source.module, source.version)
                folder.mkdir(parents=True, exist_ok=True)
                for name, file in zip(source.files, files, strict=True):
                    shutil.copyfile(origin / name, file)
                    file.chmod(0o644)  # what lies in Go's cache is read-only
            found += files
    return found
