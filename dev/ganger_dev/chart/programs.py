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
    """The two programs. home: a folder for their caches, one for each cluster. kubeconfig: None for no cluster."""

    helm_path: Path
    kubectl_path: Path
    home: Path
    kubeconfig: Path | None = None

    @classmethod
    def at(cls, home: Path, kubeconfig: Path | None = None) -> Programs:
        """Return the programs of the cache, with a new folder as their home."""
        home.mkdir()
        helm, kubectl = binaries.path_of("helm"), binaries.path_of("kubectl")
        return cls(helm_path=helm, kubectl_path=kubectl, home=home, kubeconfig=kubeconfig)

    def helm(self, *arguments: str, values: object = None, namespace: str = NAMESPACE) -> Answer:
        """Run helm in the namespace; values are handed over as a file would be."""
        more = ["--values", "-"] if values is not None else []
        return self._run([str(self.helm_path), *arguments, "--namespace", namespace, *more], json.dumps(values))

    def kubectl(self, *arguments: str, stdin: str = "") -> Answer:
        """Run kubectl."""
        return self._run([str(self.kubectl_path), f"--cache-dir={self.home / 'kubectl'}", *arguments], stdin)

    def get(self, *arguments: str) -> dict[str, Any] | None:
        """Return an object, or None where there is none."""
        answer = self.kubectl("get", *arguments, "--output=json", "--ignore-not-found")
        return json.loads(answer.out) if answer.ok and answer.out else None

    def _run(self, command: list[str], stdin: str) -> Answer:
        environment = os.environ | {"HOME": str(self.home), "HELM_CACHE_HOME": str(self.home / "helm")}
        environment |= {"KUBECONFIG": str(self.kubeconfig) if self.kubeconfig else os.devnull}
        done = subprocess.run(command, input=stdin, env=environment, capture_output=True, text=True, timeout=600)
        return Answer(code=done.returncode, out=done.stdout, error=done.stderr)
