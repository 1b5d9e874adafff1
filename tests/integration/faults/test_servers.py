"""The API server and etcd themselves die, or come back from a backup (F1 to F3): a control plane of their own."""

import contextlib
import os
import shutil
import signal
import time

import pytest

from apiclient import ApiClient, History, wait_for
from ganger.api.crd import definitions
from ganger_dev.control_plane import start_control_plane
from ganger_dev.errors import DevError
from ganger_dev.processes import Service
from integration.faults.conftest import faulty_world

pytestmark = pytest.mark.integration
DOWN_SECONDS = 30.0
# Ended with the server: it remembers what was, and backs off longer than the next test waits for its namespace.
MANAGER = "kube-controller-manager"
VERSIONS = 2000  # more than a control plane writes until somebody asks it
MERGE = "application/merge-patch+json"
KINDS = ("trainingjobs", "pods", "services", "persistentvolumeclaims")


@pytest.fixture(scope="module")
def fragile(tmp_path_factory):
    """A control plane to be broken, with the definitions."""
    plane = start_control_plane(tmp_path_factory.mktemp("fragile"), audit=False)
    for definition in definitions():
        plane.api.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    for kind in ("trainingjobs", "trainingprofiles"):
        wait_for(lambda kind=kind: answers(plane, f"/apis/ganger.dev/v1alpha1/{kind}"), 30, f"{kind} are served")
    yield plane
    plane.stop()


@pytest.fixture
def world(fragile, tmp_path, request):
    """A namespace on it."""
    name = f"t-{request.node.name.split('_')[1]}"
    fragile.api.request(
        "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    )
    wait_for(lambda: answers(fragile, f"/api/v1/namespaces/{name}/serviceaccounts/default"), 30, "its account")
    with faulty_world(fragile, name, tmp_path, watched(fragile, name)) as world:
        yield world
    world.history.close()
    assert [] == world.history.check()


def watched(plane, namespace):
    """The namespace's history from now on."""
    return History(ApiClient(plane.url, plane.ca, plane.token_for("admin")), namespace)


def begin_anew(world):
    """The watches of the history died with the server: check what they brought, and go on with new ones."""
    world.history.close()
    assert [] == world.history.check()
    world.history = watched(world.control_plane, world.namespace)


def answers(plane, path):
    """Whether the server answers there."""
    try:
        return plane.api.request("GET", path)
    except OSError:
        return False


def kill(plane, *names):
    """SIGKILL programs of the control plane, and wait until they are gone."""
    for name in names:
        service = Service(name=name, folder=plane.folder)
        os.kill(service.pid(), signal.SIGKILL)
        wait_for(lambda service=service: service.pid() is None, 10, f"{name} is gone")


def bring_back(plane):
    """Start again what was killed; an API server that finds no etcd yet ends, and is started once more."""

    def is_back():
        with contextlib.suppress(DevError):
            start_control_plane(plane.folder, audit=False)
        return answers(plane, "/apis/ganger.dev/v1alpha1/trainingjobs")

    wait_for(is_back, 90, "the server is back")


def uids(world):
    """UIDs of the pods, by name."""
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in world.api.items(world.pods)}


def test_f1_api_server_killed(fragile, world):
    """No exit, ever fewer tries, at most one list for each kind afterwards, and no pod is touched."""
    proxy = world.proxy()
    operator = world.behind(proxy)
    world.running_job()
    before = uids(world)
    died = time.monotonic()
    kill(fragile, MANAGER, "kube-apiserver")
    time.sleep(DOWN_SECONDS)
    tries = {kind: len([s for s in proxy.seen("*", kind, since=died) if s.verb in ("watch", "list")]) for kind in KINDS}
    assert operator.process.poll() is None
    bring_back(fragile)
    begin_anew(world)
    back = time.monotonic()
    wait_for(world.leader, 60, "a leader")
    world.submit("after", workers=1)
    wait_for(lambda: "after-0-0" in world.pod_names(), 60, "the operator works again")
    lists = {kind: len([s for s in proxy.seen("list", kind, since=died) if s.query["limit"] != "1"]) for kind in KINDS}
    print(f"tries in {DOWN_SECONDS} s: {tries}; lists: {lists}; worked again after {time.monotonic() - back:.1f} s")

    # A kind is tried once after each pause: 0.1 + 0.2 + 0.4 + ... s, each at most a fifth shorter.
    # Eight end within 25.5 s, and the ninth not before 40.8 s.
    assert {8} == set(tries.values())
    assert all(count <= 1 for count in lists.values())
    assert before.items() <= uids(world).items()
    world.finish()
    assert 0 == world.status().get("restarts", {}).get("total", 0)


def test_f2_etcd_killed(fragile, world):
    """Every write that was acknowledged is there afterwards, and nothing is counted twice."""
    proxy = world.proxy()
    operator = world.behind(proxy)
    world.running_job()
    world.end("digits-0-1", 1)
    wait_for(lambda: world.status().get("attempt") == 1)
    kill(fragile, MANAGER, "etcd")
    time.sleep(4.0)
    assert operator.process.poll() is None
    bring_back(fragile)
    begin_anew(world)
    world.finish(attempt=1, timeout=90)

    assert {"total": 1, "counted": 1} == {key: world.status()["restarts"][key] for key in ("total", "counted")}
    assert sorted(set(world.creations())) == sorted(world.creations())


def test_f3_etcd_restored_from_a_backup(fragile, world):
    """The second attempt never happened; that versions went back is noticed, and what was known is forgotten."""
    regressions = "ganger_operator_resource_version_regressions_total"
    operator = world.behind(world.proxy())
    world.running_job()
    backup = world.folder / "backup"
    with stopped(fragile, world):
        shutil.copytree(fragile.folder / "etcd", backup)
    wait_for(world.leader, 60, "a leader")
    old = uids(world)
    for number in range(VERSIONS):
        labels = {"metadata": {"labels": {"number": str(number)}}}
        fragile.api.request("PATCH", world.pods.rpartition("/")[0], labels, content_type=MERGE)
    world.end("digits-0-1", 1)
    wait_for(lambda: set(world.gang(attempt=1)) <= set(world.pod_names()), 60, "the second attempt")
    world.run(*world.gang(attempt=1))
    world.wait_phase("Running")
    assert 0.0 == world.metric(operator, regressions)
    with stopped(fragile, world):
        shutil.rmtree(fragile.folder / "etcd")
        shutil.copytree(backup, fragile.folder / "etcd")
    wait_for(lambda: world.metric(operator, regressions), 60, "the operator has seen that versions went back")
    wait_for(lambda: world.metric(operator, "ganger_operator_leader"), 60, "it leads again")
    world.submit("after", workers=1)
    wait_for(lambda: "after-0-0" in world.pod_names(), 60, "the operator works again")

    assert old.items() <= uids(world).items()
    assert set(world.gang()) | {"after-0-0"} == set(uids(world))
    assert 0 == world.status().get("restarts", {}).get("total", 0)
    world.end("digits-0-1", 1)
    world.finish(attempt=1, timeout=60)
    assert {"total": 1, "counted": 1} == {key: world.status()["restarts"][key] for key in ("total", "counted")}
    assert sorted([*world.gang(attempt=1), "after-0-0"]) == sorted(world.creations())


@contextlib.contextmanager
def stopped(plane, world):
    """Stop the control plane for the body, as for a restore."""
    kill(plane, MANAGER, "kube-apiserver", "etcd")
    yield
    bring_back(plane)
    begin_anew(world)
