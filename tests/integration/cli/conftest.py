"""The command line against the real API server: as a person calls it, in this process."""

import threading
from dataclasses import dataclass

import pytest

from apiclient import JOBS, PODS, ApiClient
from ganger.cli import main

MANIFEST = """\
apiVersion: ganger.dev/v1alpha1
kind: TrainingJob
metadata:
  name: {name}
spec:
  task: m:t
  workers: {workers}
"""


@dataclass
class Said:
    """What one call printed and how it ended."""

    code: int
    out: str
    err: str


class Command:
    """`ganger` with the kubeconfig of the control plane and the namespace of the test."""

    def __init__(self, control_plane, namespace, folder, capfd):
        self.api = ApiClient(control_plane.url, control_plane.ca, control_plane.token_for("admin"))
        self.namespace = namespace
        self.jobs = JOBS.format(namespace=namespace)
        self.pods = PODS.format(namespace=namespace)
        self.kubeconfig = str(control_plane.kubeconfig)
        self._folder = folder
        self._capfd = capfd

    def __call__(self, *arguments: str, namespace: str | None = None, kubeconfig: str | None = None) -> Said:
        self._capfd.readouterr()
        where = ["--kubeconfig", kubeconfig or self.kubeconfig, "-n", namespace or self.namespace]
        code = main.run([*arguments, *where])
        said = self._capfd.readouterr()
        return Said(code, said.out, said.err)

    def manifest(self, name: str = "digits", workers: int = 2, more: str = "") -> str:
        path = self._folder / f"{name}.yaml"
        path.write_text(MANIFEST.format(name=name, workers=workers) + more)
        return str(path)

    def job(self, name: str = "digits"):
        return self.api.get(f"{self.jobs}/{name}")

    def says(self, condition: str, reason: str = "Test", name: str = "digits", **status) -> None:
        """Write a status as the operator would."""
        one = {
            "type": condition,
            "status": "True",
            "reason": reason,
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        self.api.merge(f"{self.jobs}/{name}/status", {"status": {"conditions": [one]} | status})


@pytest.fixture
def ganger(control_plane, crd, namespace, tmp_path, capfd):
    return Command(control_plane, namespace, tmp_path, capfd)


def later(call, seconds=0.4):
    timer = threading.Timer(seconds, call)
    timer.start()
    return timer
