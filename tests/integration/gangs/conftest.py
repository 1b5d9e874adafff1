"""Real schedulers over simulated nodes: one that knows groups of pods, and one that places pod by pod."""

import itertools
import secrets
from itertools import islice

import pytest

from apiclient import History, wait_for
from ganger.api.crd import definitions
from ganger_dev import kwok
from ganger_dev.errors import DevError
from integration.operator.conftest import World

NODES = "/api/v1/nodes"
NUMBERS = itertools.count()  # no two nodes of a session share a name: pods of an ended test may be left on the older


class Cluster(World):
    """A namespace of a cluster whose nodes take one worker each."""

    limits = {"cpu": "1"}  # noqa: RUF012 - read alone

    def add_nodes(self, count: int, *, taint: str = "") -> None:
        """Add nodes on which one worker finds room; with a taint only one that bears it."""
        spec = {"taints": [{"key": taint, "effect": "NoSchedule"}] if taint else []}
        for index in islice(NUMBERS, count):
            node = kwok.node(index, gpus=0, cpu=1, memory="8Gi")
            self.api.create(NODES, node | {"spec": spec})

    def remove_taints(self) -> None:
        """Let every worker have any node."""
        for node in self.api.items(NODES):
            self.api.merge(f"{NODES}/{node['metadata']['name']}", {"spec": {"taints": None}})

    def remove_nodes(self) -> None:
        """Take all nodes away, for the next test."""
        for node in self.api.items(NODES):
            self.api.delete(f"{NODES}/{node['metadata']['name']}")

    def submit(self, name: str = "digits", **spec):
        return super().submit(name, **({"workers": 4, "resources": {"limits": self.limits}} | spec))

    def pods_of(self, name: str):
        """The pods of a job."""
        return [pod for pod in self.api.items(self.pods) if pod["metadata"]["labels"]["ganger.dev/job"] == name]

    def num_placed(self, name: str) -> int:
        """How many workers of a job have a node."""
        return sum("nodeName" in pod["spec"] for pod in self.pods_of(name))

    def finish(self, name: str) -> None:
        """The workers end well."""
        for pod in self.pods_of(name):
            self.end(pod["metadata"]["name"], 0)
        self.wait_phase("Complete", name)

    def num_made(self, name: str) -> int:
        """How many pods of a job were ever made."""
        return sum(made.startswith(f"{name}-") for made in self.history.created())

    def placed_together(self) -> list[frozenset[str]]:
        """Which jobs had workers on nodes at the same time, at each event of the watch."""
        nodes: dict[str, str] = {}
        found = []
        for kind, obj in self.history.events:
            if obj["kind"] != "Pod":
                continue
            over = kind == "DELETED" or obj.get("status", {}).get("phase") in ("Succeeded", "Failed")
            if over or "nodeName" not in obj["spec"]:
                nodes.pop(obj["metadata"]["name"], None)
            else:
                nodes[obj["metadata"]["name"]] = obj["metadata"]["labels"]["ganger.dev/job"]
            found.append(frozenset(nodes.values()))
        return found


def _cluster(plane, tmp_path):
    name = f"t-{secrets.token_hex(4)}"
    plane.api.request("POST", "/api/v1/namespaces", {"kind": "Namespace", "metadata": {"name": name}})
    cluster = Cluster(plane, name, tmp_path, None)
    wait_for(lambda: cluster.api.get(f"/api/v1/namespaces/{name}/serviceaccounts/default"), 30, "its account")
    cluster.history = History(cluster.api, name)
    try:
        yield cluster
    finally:
        for operator in cluster.operators:
            operator.stop()
        cluster.history.close()
        cluster.api.delete(cluster.jobs)
        cluster.remove_nodes()
    assert [] == cluster.history.check()


def _plane(folder, *, gang):
    from ganger_dev.control_plane import start_control_plane

    plane = start_control_plane(folder, kwok=True, audit=False, gang=gang)
    for body in definitions():
        plane.api.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body)
    for body in definitions():
        served = f"/apis/{body['spec']['group']}/v1alpha1/{body['spec']['names']['plural']}"
        wait_for(lambda served=served: _answers(plane, served), 30, f"{served} is served")
    return plane


def _answers(plane, path):
    try:
        return plane.api.request("GET", path)
    except (OSError, DevError):  # 404 first, then 429 for a while
        return False


@pytest.fixture(scope="module")
def knowing_plane(tmp_path_factory):
    """A control plane whose scheduler knows groups."""
    plane = _plane(tmp_path_factory.mktemp("knowing"), gang=True)
    yield plane
    plane.stop()


@pytest.fixture(scope="module")
def plain_plane(tmp_path_factory):
    """A control plane as Kubernetes comes: no PodGroups."""
    plane = _plane(tmp_path_factory.mktemp("plain"), gang=False)
    yield plane
    plane.stop()


@pytest.fixture
def knowing(knowing_plane, tmp_path):
    """A namespace of the cluster that knows groups."""
    yield from _cluster(knowing_plane, tmp_path)


@pytest.fixture
def plain(plain_plane, tmp_path):
    """A namespace of the cluster that does not."""
    yield from _cluster(plain_plane, tmp_path)
