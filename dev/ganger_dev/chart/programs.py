"""helm and kubectl as the administrator of one cluster; a refusal is an answer like another."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganger_dev import binaries
from ganger_dev.chart.space import NAMESPACE


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a program said."""

    code: int
    out: str
    error: str

    @property
    def ok(self) -> bool:
        """Return whether it did what it was asked."""
        return self.code == 0


@dataclass(frozen=True, kw_only=True)
class Programs:
    """The two programs of the cache. home: a folder for what they remember, one for each cluster.

    kubeconfig: None for no cluster. name: helm, or helm3.
    """

    home: Path
    kubeconfig: Path | None = None
    name: str = "helm"

    @property
    def ask_server(self) -> str:
        """Return the option by which `helm template` asks the server what it serves; helm 3 checks its objects too."""
        return "--validate" if self.name == "helm3" else "--dry-run=server"

    def helm(self, *arguments: str, values: object = None, namespace: str = NAMESPACE) -> Answer:
        """Run helm in the namespace; values are handed over as a file would be."""
        more = ["--values", "-"] if values is not None else []
        return self._run(
            [str(binaries.path_of(self.name)), *arguments, "--namespace", namespace, *more], json.dumps(values)
        )

    def kubectl(self, *arguments: str, stdin: str = "") -> Answer:
        """Run kubectl."""
        return self._run([str(binaries.path_of("kubectl")), f"--cache-dir={self.home / 'kubectl'}", *arguments], stdin)

    def get(self, *arguments: str) -> dict[str, Any] | None:
        """Return an object, or None where there is none."""
        answer = self.kubectl("get", *arguments, "--output=json", "--ignore-not-found")
        return json.loads(answer.out) if answer.ok and answer.out else None

    def _run(self, command: list[str], stdin: str) -> Answer:
        self.home.mkdir(exist_ok=True)
        environment = os.environ | {"HOME": str(self.home), "HELM_CACHE_HOME": str(self.home / "helm")}
        environment |= {"KUBECONFIG": str(self.kubeconfig) if self.kubeconfig else os.devnull}
        done = subprocess.run(command, input=stdin, env=environment, capture_output=True, text=True, timeout=600)
        return Answer(code=done.returncode, out=done.stdout, error=done.stderr)
