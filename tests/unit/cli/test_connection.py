"""The way to a cluster: what is told where there is none."""

import importlib.abc
import sys

import pytest

from ganger.cli import main
from ganger.cli.session import Session

BROKEN = "- not\n- a kubeconfig\n"
EMPTY = "apiVersion: v1\nkind: Config\nclusters: []\ncontexts: []\nusers: []\n"


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)


def lines(capsys, *arguments):
    code = main.run(["list", *arguments], Session())
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, said.err.splitlines()


def test_without_a_kubeconfig_the_local_way_is_named(capsys, tmp_path):
    code, said = lines(capsys)

    assert 5 == code
    assert "error: there is no way to a cluster" == said[0]
    assert f"  why: there is no kubeconfig at {tmp_path}/.kube/config" == said[1]
    assert "'ganger run job.yaml' runs the job here" in said[2]


@pytest.mark.parametrize("content", [BROKEN, EMPTY, "", "\x00", "a: [", "clusters: 1"])
def test_a_broken_kubeconfig_is_three_lines(capsys, tmp_path, content):
    path = tmp_path / "config"
    path.write_text(content)

    code, said = lines(capsys, "--kubeconfig", str(path))

    assert 5 == code
    assert ["error: there is no way to a cluster", "  why: ", "  fix: "] == [said[0], said[1][:7], said[2][:7]]


def test_a_missing_client_library_is_told_with_the_command_that_installs_it(capsys, monkeypatch):
    class Absent(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == "aiohttp":
                raise ModuleNotFoundError("No module named 'aiohttp'", name="aiohttp")

    for name in [name for name in sys.modules if name.startswith(("aiohttp", "ganger.kube.http", "ganger.kube.logs"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])

    code, said = lines(capsys)

    assert 2 == code
    assert "error: this command needs the Python package aiohttp, which is not installed" == said[0]
    assert "  fix: pip install 'ganger[cli]'" == said[2]
