"""A rate that changes while two real pods train: on both ranks after one step, without a restart, for good."""

import re
from pathlib import Path

import pytest
import yaml

from apiclient import wait_for

pytestmark = pytest.mark.e2e
DIGITS = Path(__file__).parents[2] / "jobs" / "examples" / "digits" / "job.yaml"
# Each rank says for itself, from where the value is taken in, how many steps it had made.
TASK = """\
import os

from ganger_trainer.examples.digits import Digits


class Told(Digits):
    steps = 0

    def loss(self, model, batch):
        self.steps += 1
        return super().loss(model, batch)

    def on_live(self, model, optimizer, config):
        print(f"rank {os.environ['RANK']} has lr {config.lr} after {self.steps} steps", flush=True)


task = Told()
"""
SAID = re.compile(r"rank (\d) has lr (\S+) after (\d+) steps")


def in_force(namespace):
    """Name, value and first step of each setting, once both workers have said the same."""
    return [(one["name"], one["value"], one["appliedAtStep"]) for one in namespace.status("told").get("liveConfig", [])]


def step(namespace):
    return namespace.status("told").get("progress", {}).get("step", 0)


def test_a_rate_is_set_on_both_ranks_at_one_step_and_outlives_a_kill(installed, namespace):
    namespace.apply({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "told"}, "data": {"told.py": TASK},
    })  # fmt: skip
    job = yaml.safe_load(DIGITS.read_text())
    job["metadata"]["name"] = "told"
    job["spec"] |= {"task": "told:task", "code": {"configMap": {"name": "told"}}}
    job["spec"]["config"] |= {"epochs": 100_000}
    job["spec"]["checkpoint"] |= {"everySteps": 1000}
    namespace.apply(job)
    wait_for(lambda: step(namespace), 120, "a step")
    pods = {pod["metadata"]["uid"] for pod in namespace.pods("told")}

    command = installed.ganger("-n", namespace.name, "set", "told", "lr=5e-4", "--wait", "--timeout", "60s")
    out, err = command.communicate(timeout=90)

    assert 0 == command.returncode, (out, err, namespace.logs("told"))
    [(name, value, first)] = in_force(namespace)
    assert ("lr", 5e-4) == (name, float(value))
    logs = [namespace.kubectl("logs", f"told-0-{worker}") for worker in (0, 1)]
    told = [SAID.findall(log) for log in logs]
    assert [[("0", "0.0005", str(first - 1))], [("1", "0.0005", str(first - 1))]] == told, "one step on both ranks"
    assert f"live settings from step {first} on: lr=0.0005" in logs[0]

    wait_for(lambda: step(namespace) > first, 30, "further steps")
    assert pods == {pod["metadata"]["uid"] for pod in namespace.pods("told")}
    assert 0 == namespace.status("told").get("restarts", {}).get("total", 0), "nothing was started anew"
    assert 1 == logs[0].count("training begins")
    assert "LiveConfigApplied" in namespace.kubectl("get", "events", "-o", "jsonpath={.items[*].reason}")

    saved = wait_for(lambda: namespace.status("told").get("checkpoint", {}).get("latestStep", 0) > first, 30, "a save")
    assert saved
    installed.kill(namespace.name, "told-0-1")
    wait_for(lambda: namespace.status("told").get("restarts", {}).get("total") == 1, 60, "the restart")
    resumed = wait_for(
        lambda: re.search(r"resumed from step (\d+)", namespace.logs("told")), 60, "the gang goes on from a checkpoint"
    )
    wait_for(lambda: step(namespace) > int(resumed[1]), 60, "steps after the restart")

    assert int(resumed[1]) > first
    assert [("lr", 5e-4, first)] == [(name, float(value), since) for name, value, since in in_force(namespace)]
    newest = namespace.logs("told").rpartition("resumed from step")[2]
    assert {"5.0e-04"} == set(re.findall(r" lr (\S+) samples/s", newest)), newest[-2000:]
    namespace.kubectl("delete", "tj", "told", "--wait=true")
