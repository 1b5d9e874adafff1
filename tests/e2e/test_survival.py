"""What kills training, done to real pods: each has its class and its message, names its rank, and costs what it must.

All jobs start side by side; what is done to some of them from outside is done while they train. Each test then looks
at how its own job ended.
"""

import contextlib
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from apiclient import wait_for

pytestmark = pytest.mark.e2e
CODE = Path(__file__).with_name("survivor.py").read_text()
STEPS = 400
LONG = 2000  # a minute, for what is done from outside
EVERY_STEPS = 10


def start(namespace, name, *, workers=2, steps=STEPS, checkpoint=None, policy=None, **config):
    namespace.apply(
        {
            "apiVersion": "ganger.dev/v1alpha1",
            "kind": "TrainingJob",
            "metadata": {"name": name},
            "spec": {
                "task": "survivor:task",
                "code": {"configMap": {"name": "survivor"}},
                "config": {"steps": steps, "batchSize": 32, "threads": 1, "logEverySeconds": 1, "rank": workers - 1}
                | config,
                "workers": workers,
                "terminationGracePeriodSeconds": 20,
                "resources": {"requests": {"cpu": "50m", "memory": "300Mi"}, "limits": {"memory": "1Gi"}},
                "checkpoint": {"volume": {"size": "1Gi"}, "everySteps": EVERY_STEPS} | (checkpoint or {}),
                "failurePolicy": policy or {},
            },
        }
    )


@dataclass
class Jobs:
    """The jobs, and what was seen while they were disturbed."""

    namespace: Any
    full: dict
    corrupt: int  # the step of the checkpoint that was damaged
    before: int  # the step of the one before it

    def end(self, name, phase="Complete", timeout=180):
        """The status of a job that has ended, and its events by reason."""
        status = self.namespace.wait_phase(name, phase, timeout)
        path = f"/api/v1/namespaces/{self.namespace.name}/events?fieldSelector=involvedObject.name={name}"
        return status, {event["reason"]: event["message"] for event in self.namespace.api.items(path)}

    def page(self, name):
        """What `ganger status` prints."""
        said, complaints = self.namespace.installed.ganger("-n", self.namespace.name, "status", name).communicate(
            timeout=60
        )
        assert "" == complaints
        return said


@pytest.fixture(scope="module")
def jobs(shared_namespace):
    """Every job, after all that is done to one from outside was done."""
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "survivor"}}
    shared_namespace.apply(config_map | {"data": {"survivor.py": CODE}})
    start(shared_namespace, "drained", steps=LONG, checkpoint={"everySteps": 100_000})  # none but the last
    start(shared_namespace, "frozen", fault="stop", policy={"hang": {"timeoutSeconds": 20}})
    with small_volume(shared_namespace, "full") as grow:
        volume = {"volume": {"claimName": "full"}}
        start(shared_namespace, "full", workers=1, steps=LONG, width=4096, checkpoint=volume)
        start(shared_namespace, "damaged", workers=1, steps=LONG)
        start(shared_namespace, "killed", fault="kill")
        start(shared_namespace, "hungry", fault="memory")
        ignored = {"name": "flaky", "onExitCodes": [7], "action": "Ignore"}
        start(shared_namespace, "flaky", workers=1, fault="exit", policy={"rules": [ignored]})
        start(shared_namespace, "nan", workers=1, fault="nan-always")
        start(shared_namespace, "rolled", fault="nan", policy={"nonFinite": "Rollback"})
        drain(shared_namespace, "drained")
        corrupt, before = damage(shared_namespace, "damaged")
        full = until(shared_namespace, "full", is_stalled)
        grow()
        yield Jobs(shared_namespace, full=full, corrupt=corrupt, before=before)
        shared_namespace.kubectl("delete", "tj", "full", "--wait=true")


@contextlib.contextmanager
def small_volume(namespace, claim):
    """A claim whose volume takes one checkpoint of the job `full`, and no second one until it grows."""
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "64Mi"}}}
    metadata = {"name": claim}
    namespace.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec})
    path = f"{namespace.api_claims}/{claim}"
    wait_for(lambda: namespace.api.get(path).get("status", {}).get("phase") == "Bound", 30, claim)
    folder = str(namespace.volume(claim))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1500k,mode=2777", "tmpfs", folder], check=True)
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,size=64m", folder], check=True)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def drain(namespace, name):
    """Cordon the node and evict the gang, as `kubectl drain` does; return when the next attempt is opened."""
    kubectl, node = namespace.installed.kubectl, namespace.installed.embedded.node_name
    until(namespace, name, lambda status: status.get("progress", {}).get("step", 0) > 50)
    kubectl("cordon", node)
    try:
        for worker in (1, 0):
            pod = f"{name}-0-{worker}"
            eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
            namespace.api.create(f"{namespace.pods_path}/{pod}/eviction", eviction)
        until(namespace, name, lambda status: status.get("attempt") == 1)
    finally:
        kubectl("uncordon", node)


def damage(namespace, name):
    """Flip a bit of the newest checkpoint of a suspended job, resume it; return its step and that of the last good."""
    until(namespace, name, lambda status: status.get("checkpoint", {}).get("latestStep", 0) >= 5 * EVERY_STEPS)
    namespace.kubectl("patch", "tj", name, "--type=merge", "-p", '{"spec":{"suspend":true}}')
    namespace.wait_phase(name, "Suspended", 60)
    wait_for(lambda: not namespace.pods(name), 60, "no pod is left")
    volume = namespace.volume(f"{name}-checkpoints")
    newest, before = sorted((int(path.name[5:]) for path in volume.glob("step_*[0-9]")), reverse=True)[:2]
    shard = volume / f"step_{newest}" / "rank-00000.safetensors"
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    namespace.kubectl("patch", "tj", name, "--type=merge", "-p", '{"spec":{"suspend":false}}')
    return newest, before


def condition(status, type_):
    """The condition of that type, {} where there is none."""
    return next((each for each in status.get("conditions", []) if each["type"] == type_), {})


def is_stalled(status):
    return condition(status, "CheckpointStalled").get("status") == "True"


def until(namespace, name, holds, timeout=120):
    """The status of a job once it is such; fails with the last one and the logs."""
    try:
        return wait_for(lambda: (status := namespace.status(name)) and holds(status) and status, timeout)
    except AssertionError as error:
        raise AssertionError(f"{error}: {namespace.status(name)}\n{namespace.logs(name)}") from error


def last(status):
    """Class, rank, worker and exit code of the last failure, and how many restarts were counted."""
    restarts = status["restarts"]
    cause = restarts["last"]
    return (
        cause["reason"], cause.get("rank"), cause["pod"].rpartition("-")[2], cause.get("exitCode"),
        restarts.get("counted", 0),
    )  # fmt: skip


def test_killed_rank_is_named_and_the_job_goes_on(jobs):
    status, events = jobs.end("killed")

    assert ("ProcessKilled", 1, "1", 137, 1) == last(status)
    assert "rank 1 was ended by SIGKILL" in status["restarts"]["last"]["message"]
    assert STEPS == status["progress"]["step"]
    assert "ProcessKilled" in events["Restarting"]
    assert "ProcessKilled, exit 137, rank 1 in killed-0-1" in jobs.page("killed")


def test_worker_over_its_memory_limit_is_named_with_the_limit(jobs):
    status, events = jobs.end("hungry")

    assert ("OOMKilled", 1, "1", 137, 1) == last(status)
    assert "worker 1 used more than its memory limit of 1Gi" in status["restarts"]["last"]["message"]
    assert "raise spec.resources.limits.memory" in events["Restarting"]
    assert "OOMKilled" in jobs.page("hungry")


def test_exit_code_of_a_rule_restarts_for_free(jobs):
    status, _ = jobs.end("flaky")

    assert ("ProcessExited", 0, "0", 7, 0) == last(status)
    assert 1 == status["restarts"]["total"]


def test_nan_fails_the_job_at_once_and_says_what_to_change(jobs):
    status, events = jobs.end("nan", "Failed")

    failed = condition(status, "Failed")
    assert ("NonFiniteLoss", 65) == (failed["reason"], status["restarts"]["last"]["exitCode"])
    assert "lr" in failed["message"]
    assert "NonFiniteLoss" in events
    assert "NonFiniteLoss" in jobs.page("nan")


def test_nan_rolls_back_in_the_running_processes(jobs):
    status, events = jobs.end("rolled")

    assert 1 == status["rollbacks"]["count"]
    assert 0 == status.get("restarts", {}).get("total", 0)
    assert STEPS == status["progress"]["step"]
    assert "RolledBack" in events


def test_drained_node_costs_no_step_and_no_restart_is_spent_on_it(jobs):
    status, events = jobs.end("drained")

    assert ("Evicted", 0) == (status["restarts"]["last"]["reason"], status["restarts"].get("counted", 0))
    assert status["restarts"]["last"]["pod"].startswith("drained-0-")
    assert 1 == status["restarts"]["total"]
    assert 0 == status["goodput"].get("lostSteps", 0)
    # It keeps no checkpoint but the one that was made when it was told to stop.
    assert 50 < int(*re.findall(r"resumed from step (\d+)", jobs.namespace.kubectl("logs", "drained-1-0")))
    assert LONG == status["progress"]["step"]
    assert "Evicted" in events["Restarting"]


def test_damaged_newest_checkpoint_is_set_aside_and_the_one_before_is_loaded(jobs):
    status, events = jobs.end("damaged")

    assert [f"step_{jobs.corrupt}.corrupt"] == status["checkpoint"]["quarantined"]
    assert f"step_{jobs.corrupt}.corrupt" in events["CheckpointQuarantined"]
    assert f"resumed from step {jobs.before} " in jobs.namespace.kubectl("logs", "damaged-0-0")
    assert LONG == status["checkpoint"]["latestStep"]
    assert "damaged and never loaded" in jobs.page("damaged")


def test_full_volume_is_told_and_costs_no_restart(jobs):
    assert "ENOSPC" == condition(jobs.full, "CheckpointStalled")["reason"]
    assert jobs.full["progress"]["step"] > jobs.full["checkpoint"]["latestStep"]

    status, events = jobs.end("full")
    assert ("False", "Saved") == tuple(condition(status, "CheckpointStalled")[key] for key in ("status", "reason"))
    assert "restarts" not in status
    assert LONG == status["checkpoint"]["latestStep"]
    assert "saves in a row failed" in events["CheckpointStalled"]


def test_stopped_rank_is_a_hang_of_that_rank(jobs):
    status, events = jobs.end("frozen", timeout=240)

    assert ("Hang", 1, "1", 1) == last(status)[:3] + last(status)[4:]
    assert "rank 1 is stopped (process state T)" in status["restarts"]["last"]["message"]
    assert "stacks" in events["HangSuspected"]
    assert STEPS == status["progress"]["step"]
