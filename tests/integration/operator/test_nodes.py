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
