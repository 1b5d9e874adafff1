"""Pods that die, and an operator that dies, in the middle of a training: the weights come out the same, bit for bit."""

from pathlib import Path

import pytest
import yaml

from apiclient import wait_for

pytestmark = pytest.mark.e2e
EXAMPLES = Path(__file__).parents[2] / "jobs" / "examples"
EVERY_STEPS = 100


def start(namespace, name):
    """Start the main job, long enough to be met in the middle, with a checkpoint every 100 steps."""
    job = yaml.safe_load((EXAMPLES / "digits" / "job.yaml").read_text())
    job["metadata"]["name"] = name
    job["spec"]["config"]["epochs"] = 60
    job["spec"]["checkpoint"]["everySteps"] = EVERY_STEPS
    namespace.apply(job)


def weights(namespace, name):
    """The step of the last checkpoint, and the SHA-256 of each of its shards."""
    status = namespace.wait_phase(name, "Complete", 240)
    step = status["checkpoint"]["latestStep"]
    return step, {file["name"]: file["sha256"] for file in namespace.checkpoint(name, step)["files"]}


@pytest.fixture(scope="module")
def undisturbed(shared_namespace):
    """The weights of a run that nothing happened to."""
    start(shared_namespace, "undisturbed")
    return weights(shared_namespace, "undisturbed")


def test_killed_pod_costs_nothing_but_time(shared_namespace, undisturbed):
    start(shared_namespace, "killed")
    shared_namespace.checkpoint("killed", EVERY_STEPS)
    follower = shared_namespace.installed.ganger("-n", shared_namespace.name, "logs", "-f", "killed")
    shared_namespace.installed.kill(shared_namespace.name, "killed-0-1")

    assert undisturbed == weights(shared_namespace, "killed")
    said, complaints = follower.communicate(timeout=30)
    assert 0 == follower.returncode, complaints
    assert "worker-0 | resumed from step" in said
    assert "worker-1 | worker 1: Done" in said
    restarts = shared_namespace.status("killed")["restarts"]
    assert (1, 1, 137) == (restarts["total"], restarts["counted"], restarts["last"]["exitCode"])
    assert "killed-0-1" == restarts["last"]["pod"]
    assert "resumed from step" in shared_namespace.kubectl("logs", "killed-1-0")


def test_deleted_pod_is_a_disruption_that_no_restart_is_spent_on(shared_namespace, undisturbed):
    start(shared_namespace, "deleted")
    shared_namespace.checkpoint("deleted", EVERY_STEPS)
    shared_namespace.kubectl("delete", "pod", "deleted-0-1", "--wait=false")

    assert undisturbed == weights(shared_namespace, "deleted")
    restarts = shared_namespace.status("deleted")["restarts"]
    assert (1, 0) == (restarts["total"], restarts.get("counted", 0))
    assert "resumed from step" in shared_namespace.kubectl("logs", "deleted-1-0")


def test_killed_operators_touch_no_pod_and_the_job_completes(shared_namespace, undisturbed):
    installed = shared_namespace.installed
    earlier = len(shared_namespace.history.created())
    start(shared_namespace, "unwatched")
    shared_namespace.checkpoint("unwatched", EVERY_STEPS)
    before = {pod["metadata"]["uid"] for pod in shared_namespace.pods("unwatched")}
    for pod in installed.operators():
        installed.kill(pod["metadata"]["namespace"], pod["metadata"]["name"])

    assert undisturbed == weights(shared_namespace, "unwatched")
    assert before == {pod["metadata"]["uid"] for pod in shared_namespace.pods("unwatched")}
    assert ["unwatched-0-0", "unwatched-0-1"] == sorted(shared_namespace.history.created()[earlier:])
    assert "restarts" not in shared_namespace.status("unwatched")
    wait_for(lambda: all(_ready(pod) for pod in installed.operators()), 120, "the operators are back")


def test_suspended_job_gives_its_pods_back_and_goes_on_where_it_was(shared_namespace, undisturbed):
    start(shared_namespace, "suspended")
    shared_namespace.checkpoint("suspended", EVERY_STEPS)
    shared_namespace.kubectl("patch", "tj", "suspended", "--type=merge", "-p", '{"spec":{"suspend":true}}')
    shared_namespace.wait_phase("suspended", "Suspended", 60)
    wait_for(lambda: not shared_namespace.pods("suspended"), 60, "no pod is left")
    shared_namespace.kubectl("patch", "tj", "suspended", "--type=merge", "-p", '{"spec":{"suspend":false}}')

    assert undisturbed == weights(shared_namespace, "suspended")


def _ready(pod):
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", []))
