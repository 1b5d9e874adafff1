"""Lost and avoided nodes against the real API server: a pod of a node without a kubelet stays until it is removed."""

import time
from datetime import UTC, datetime

import pytest

from apiclient import wait_for

pytestmark = pytest.mark.integration
GRACE_SECONDS = 5


def place(world, name: str, node: str) -> None:
    """The scheduler's word."""
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": name},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    }
    world.api.create(f"{world.pods}/{name}/binding", binding)


def placed_job(world, **spec) -> None:
    """A running job of which worker 0 is on node a and worker 1 on node b."""
    world.submit(**spec)
    wait_for(lambda: world.pod_names() == ["digits-0-0", "digits-0-1"], message="the pods")
    place(world, "digits-0-0", "a")
    place(world, "digits-0-1", "b")
    world.run("digits-0-0", "digits-0-1")
    world.wait_phase("Running")


def avoided(world, name: str) -> list[str]:
    """The nodes that a pod must not be placed on."""
    affinity = world.api.get(f"{world.pods}/{name}")["spec"].get("affinity", {}).get("nodeAffinity", {})
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {}).get("nodeSelectorTerms", [])
    return [node for term in required for each in term["matchExpressions"] for node in each["values"]]


def test_gang_goes_on_beside_a_worker_that_never_ends(operated):
    placed_job(operated, failurePolicy={"nodeLostGracePeriodSeconds": GRACE_SECONDS})
    # Without a time the disruption controller takes it for stale and puts it to False.
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    target = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "DeletionByTaintManager",
        "lastTransitionTime": now,
    }
    operated.api.merge(f"{operated.pods}/digits-0-1/status", {"status": {"conditions": [target]}})
    operated.api.delete(f"{operated.pods}/digits-0-1", gracePeriodSeconds=1)
    wait_for(lambda: operated.status().get("attempt") == 1, message="the next attempt")
    told = time.monotonic()
    operated.end("digits-0-0", 143)
    wait_for(lambda: {"digits-1-0", "digits-1-1"} <= set(operated.pod_names()), 30, "the next gang")
    waited = time.monotonic() - told
    status = operated.status()

    assert waited >= GRACE_SECONDS - 1, "nothing is given up early"
    assert "digits-0-1" in operated.pod_names(), "what may still run is not removed"
    assert ("NodeLost", "b") == (status["restarts"]["last"]["reason"], status["restarts"]["last"]["node"])
    assert 0 == status["restarts"].get("counted", 0)
    assert ["b"] == status["excludedNodes"]
    assert [["b"], ["b"]] == [avoided(operated, name) for name in ("digits-1-0", "digits-1-1")]


def test_rule_keeps_the_next_attempt_from_the_node_that_failed(operated):
    rules = [{"name": "gpu", "onExitCodes": [79], "action": "ExcludeNode"}]
    placed_job(operated, failurePolicy={"rules": rules})
    assert [] == avoided(operated, "digits-0-0")
    operated.end("digits-0-0", 79)
    wait_for(lambda: operated.status().get("attempt") == 1, message="the next attempt")
    operated.end("digits-0-1", 1)
    wait_for(lambda: {"digits-1-0", "digits-1-1"} <= set(operated.pod_names()), 30, "the next gang")
    status = operated.status()

    assert (1, ["a"]) == (status["restarts"]["counted"], status["excludedNodes"])
    assert ["a"] == avoided(operated, "digits-1-1")
    assert (
        "a" == operated.api.get(f"{operated.pods}/digits-1-0")["metadata"]["annotations"]["ganger.dev/excluded-nodes"]
    )


@pytest.fixture
def nodes(operated):
    """Makes Nodes, which belong to no namespace, and removes them."""
    made = []

    def make(name: str, *conditions) -> str:
        """A node without a kubelet that is as these conditions say; its whole name."""
        name = f"{operated.namespace}-{name}"
        operated.api.create("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
        made.append(name)
        operated.api.merge(f"/api/v1/nodes/{name}/status", {"status": {"conditions": list(conditions)}})
        return name

    yield make
    for name in made:
        operated.api.delete(f"/api/v1/nodes/{name}")


def condition(type_: str, status: str, reason: str) -> dict[str, str]:
    """What a kubelet or node-problem-detector says."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    times = {"lastHeartbeatTime": now, "lastTransitionTime": now}
    return {"type": type_, "status": status, "reason": reason, "message": reason} | times


READY = condition("Ready", "True", "KubeletReady")


def crash_on(world, sick: str, well: str) -> dict:
    """A job whose worker 0 crashes on one node, while worker 1 is on another; its status once the next gang is made."""
    world.submit()
    wait_for(lambda: world.pod_names() == ["digits-0-0", "digits-0-1"], message="the pods")
    place(world, "digits-0-0", sick)
    place(world, "digits-0-1", well)
    world.run("digits-0-0", "digits-0-1")
    world.wait_phase("Running")
    world.end("digits-0-0", 139)
    wait_for(lambda: world.status().get("attempt") == 1, message="the next attempt")
    world.end("digits-0-1", 143)
    wait_for(lambda: {"digits-1-0", "digits-1-1"} <= set(world.pod_names()), 30, "the next gang")
    return world.status()


def test_crash_on_a_node_that_tells_of_trouble_keeps_the_next_attempt_from_it(operated, nodes):
    sick = nodes("sick", READY, condition("KernelDeadlock", "True", "DockerHung"))
    status = crash_on(operated, sick, nodes("well", READY))
    last = status["restarts"]["last"]

    assert ["KernelDeadlock=True (DockerHung)"] == last["nodeConditions"]
    assert f"node {sick} has KernelDeadlock=True (DockerHung)" in last["message"]
    assert [(sick, "NodeUnhealthy")] == [(one["node"], one["reason"]) for one in status["nodeSuspicions"]]
    assert [sick] == status["excludedNodes"]
    assert [[sick], [sick]] == [avoided(operated, name) for name in ("digits-1-0", "digits-1-1")]


def test_crash_on_a_node_that_is_well_is_a_suspicion_alone(operated, nodes):
    status = crash_on(operated, nodes("first", READY), nodes("second", READY))

    assert "nodeConditions" not in status["restarts"]["last"]
    assert ["ProcessKilled"] == [one["reason"] for one in status["nodeSuspicions"]]
    assert [] == status.get("excludedNodes", [])


def test_unhealthy_device_is_named_and_its_node_avoided(operated):
    operated.submit(resources={"limits": {"nvidia.com/gpu": 1}})
    wait_for(lambda: operated.pod_names() == ["digits-0-0", "digits-0-1"], message="the pods")
    place(operated, "digits-0-0", "a")
    place(operated, "digits-0-1", "b")
    operated.run("digits-0-0", "digits-0-1")
    operated.wait_phase("Running")
    health = [{"name": "nvidia.com/gpu", "resources": [{"resourceID": "GPU-4d2c", "health": "Unhealthy"}]}]
    path = f"{operated.pods}/digits-0-0/status"
    status = operated.api.get(path)["status"]
    ended = {"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": "2026-01-01T00:00:00Z"}}
    container = status["containerStatuses"][0] | {"ready": False, "state": ended, "allocatedResourcesStatus": health}
    operated.api.merge(path, {"status": {"phase": "Failed", "containerStatuses": [container]}})
    wait_for(lambda: operated.status().get("attempt") == 1, message="the next attempt")
    found = operated.status()

    assert "the kubelet calls unhealthy: nvidia.com/gpu GPU-4d2c" == found["restarts"]["last"]["message"]
    assert ["a"] == found["excludedNodes"]
