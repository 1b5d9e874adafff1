"""Two operators: one leads, the other takes over, and no pod is ever made twice."""

import signal
import time

import pytest

from apiclient import wait_for

pytestmark = pytest.mark.integration


def pair(world):
    """Two operators and the one that leads."""
    first = world.start_operator("operator-a")
    wait_for(world.leader, 20, "a leader")
    second = world.start_operator("operator-b")
    wait_for(second.is_ready, 20, "a standby that is ready")
    return first, second


def seconds_until_pods(world, name):
    """Seconds from now until the first pod of a job submitted now."""
    started = time.monotonic()
    world.submit(name, workers=1)
    wait_for(lambda: f"{name}-0-0" in world.pod_names(), 30, f"a pod of {name}")
    return time.monotonic() - started


def test_terminated_leader_hands_over_within_a_second(world):
    first, _ = pair(world)
    first.signal(signal.SIGTERM)

    assert seconds_until_pods(world, "one") < 1.0
    assert 0 == first.process.wait(timeout=10)


def test_killed_leader_is_replaced_within_five_seconds(world):
    first, _ = pair(world)
    first.signal(signal.SIGKILL)

    assert seconds_until_pods(world, "two") < 5.0


def test_frozen_leader_that_wakes_up_writes_nothing(world):
    first, second = pair(world)
    world.running_job("before")
    first.signal(signal.SIGSTOP)
    seconds_until_pods(world, "while")
    first.signal(signal.SIGCONT)
    seconds_until_pods(world, "after")

    created = world.history.created()
    assert sorted(set(created)) == sorted(created)
    assert second.process.poll() is None


def test_restarted_operator_touches_no_pod_of_a_running_job(world):
    operator = world.start_operator()
    wait_for(world.leader, 20, "a leader")
    world.running_job()
    before = {pod["metadata"]["uid"]: pod["metadata"]["resourceVersion"] for pod in world.api.items(world.pods)}
    operator.signal(signal.SIGKILL)
    operator.process.wait()
    world.start_operator("operator-c")
    seconds_until_pods(world, "proof-of-life")
    after = {pod["metadata"]["uid"]: pod["metadata"]["resourceVersion"] for pod in world.api.items(world.pods)}

    assert before.items() <= after.items()
    world.end("digits-0-0", 0)
    world.end("digits-0-1", 0)
    world.wait_phase("Complete")


def test_job_that_failed_while_no_operator_ran_is_restarted_once(world):
    operator = world.start_operator()
    wait_for(world.leader, 20, "a leader")
    world.running_job()
    operator.signal(signal.SIGKILL)
    operator.process.wait()
    world.end("digits-0-1", 1)
    world.start_operator("operator-c")
    wait_for(lambda: {"digits-1-0", "digits-1-1"} <= set(world.pod_names()), 20)

    assert 1 == world.status()["restarts"]["counted"]
