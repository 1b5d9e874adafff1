"""The chart on a real API server that enforces what the strictest clusters do."""

import json
import os
import subprocess
import urllib.error
from pathlib import Path

import pytest
import yaml

from apiclient import ApiClient, wait_for
from ganger_dev import binaries, definitions
from ganger_dev import control_plane as planes
from ganger_dev.errors import DevError

CHART = Path(__file__).parents[3] / "charts" / "ganger"
NAMESPACE = "ganger-system"


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory):
    """A control plane with OwnerReferencesPermissionEnforcement, as OpenShift has it."""
    plain = planes.apiserver_flags

    def strict(*arguments, **options):
        switch = "--enable-admission-plugins="
        plugin = "OwnerReferencesPermissionEnforcement"
        flags = [f"{f},{plugin}" if f.startswith(switch) else f for f in plain(*arguments, **options)]
        assert any(plugin in flag for flag in flags)
        return flags

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planes, "apiserver_flags", strict)
        plane = planes.start_control_plane(tmp_path_factory.mktemp("strict"))
    yield plane
    plane.stop()


@pytest.fixture(scope="session")
def api(control_plane):
    """The administrator."""
    return ApiClient(control_plane.url, control_plane.ca, control_plane.token_for("admin"))


class Helm:
    """helm as the administrator."""

    def __init__(self, program: Path, kubeconfig: Path, home: Path) -> None:
        self.program = program
        self._env = os.environ | {"KUBECONFIG": str(kubeconfig), "HELM_CACHE_HOME": str(home), "HOME": str(home)}

    def __call__(self, *arguments: str, chart: Path | None = None, values: object = None) -> str:
        """Run helm and return what it says; a failure is an AssertionError with its words."""
        done = self.run(*arguments, chart=chart, values=values)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self, *arguments: str, chart: Path | None = None, values: object = None) -> subprocess.CompletedProcess:
        """Run helm and return how that went."""
        command = [str(self.program), *arguments, *([str(chart)] if chart else []), "--namespace", NAMESPACE]
        if values is not None:
            command += ["--values", "-"]
        return subprocess.run(
            command, input=json.dumps(values), env=self._env, capture_output=True, text=True, check=False, timeout=120
        )


@pytest.fixture(scope="session")
def helm(control_plane, tmp_path_factory):
    program = binaries.path_of("helm")
    if not program.exists():
        pytest.skip("helm is not built: `make test` builds it, or `python -m ganger_dev.binaries helm`")
    return Helm(program, control_plane.kubeconfig, tmp_path_factory.mktemp("helm"))


def make_namespace(api: ApiClient, name: str, **labels: str) -> None:
    """Make a namespace, and wait until pods may be made in it."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    try:
        api.create("/api/v1/namespaces", body)
    except urllib.error.HTTPError as error:
        if error.code != 409:
            raise
    wait_for(lambda: api.get(f"/api/v1/namespaces/{name}/serviceaccounts/default"), 30, f"{name} has its account")


@pytest.fixture(scope="session")
def namespaces(api):
    """The namespaces that the values of the tests name."""
    for name in (NAMESPACE, "team-a", "team-b", "monitoring"):
        make_namespace(api, name)


@pytest.fixture(scope="session")
def others(api):
    """The definitions of the objects that are made for the operators of Prometheus and Grafana, served."""
    try:
        files = definitions.ensure()
    except DevError as error:
        pytest.skip(f"the definitions of other operators cannot be had here: {error}")
    root = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    names = []
    for file in files:
        body = yaml.safe_load(file.read_text())
        names.append(body["metadata"]["name"])
        api.call("POST", root, body)

    def served():
        found = [api.get(f"{root}/{name}").get("status", {}).get("conditions", []) for name in names]
        return all(any((c["type"], c["status"]) == ("Established", "True") for c in one) for one in found)

    wait_for(served, 30, "the definitions are established")
