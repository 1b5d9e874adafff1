"""Names of jobs of the real API server, completed by a real bash and by kubectl's own completion."""

import subprocess

import pytest

from ganger_dev import binaries
from shells import installed, tab

pytestmark = pytest.mark.integration


@pytest.fixture
def environment(ganger, tmp_path):
    """`ganger`, `kubectl-ganger` and `kubectl_complete-ganger` on PATH, and the cluster as the kubeconfig's own."""
    (tmp_path / "kubectl").symlink_to(binaries.ensure("kubectl")["kubectl"])
    return installed(tmp_path, KUBECONFIG=ganger.kubeconfig)


def test_bash_completes_the_name_of_a_job(ganger, environment):
    ganger("submit", ganger.manifest("digits"))
    ganger("submit", ganger.manifest("other"))
    line = f"ganger status -n {ganger.namespace} di"

    assert f"{line}gits" == tab(environment, line)


def test_kubectl_completes_its_plug_in(ganger, environment):
    ganger("submit", ganger.manifest("digits"))

    def complete(*words):
        command = ["kubectl", "__complete", "ganger", *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60).stdout.splitlines()

    assert ["status", ":4"] == [line.split("\t")[0] for line in complete("stat")]
    assert ["digits", ":4"] == complete("status", "-n", ganger.namespace, "")
    assert [ganger.namespace, ":4"] == complete("status", "-n", ganger.namespace[:-1])
    assert [":0"] == complete("submit", "-f", "")
