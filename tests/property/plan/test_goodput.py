"""Two simulated hours of faults, decided by the operator: the account adds up and every fault has its verdict."""

import pytest
from bench.faultcosts import COSTS, STEP_SECONDS
from bench.faultworld import World
from bench.goodput import simulate

VERDICTS = {
    "crash": {("ProcessKilled", True)},
    "outOfMemory": {("OOMKilled", True)},
    "eviction": {("Evicted", False)},
    "nodeLost": {("NodeLost", False)},
    "hang": {("Hang", True)},
    "nan": set(),  # the ranks go back by themselves
    "slowCheckpoint": set(),
}


@pytest.fixture(scope="module", params=range(4))
def world(request):
    found = World(request.param, 2.0)
    found.run()
    return found


def test_the_parts_of_the_account_sum_to_the_age_of_the_job(world):
    seconds = world.job.status.goodput.seconds
    parts = [getattr(seconds, name) for name in seconds.__struct_fields__]
    accounted = (world.job.status.goodput.accounted_time - world.job.metadata.creation_timestamp).total_seconds()

    assert pytest.approx(accounted, abs=1e-6) == sum(parts)
    assert world.end - 10 <= accounted <= world.end
    assert all(part >= 0 for part in parts)


def test_every_fault_has_its_class_and_only_failures_are_counted(world):
    expected = sorted(each for _, kind in world.faults for each in VERDICTS[kind])
    actual = sorted((reason, counted) for _, reason, _, counted in world.restarts)
    unanswered = world.down  # the plan may end while the last fault is dealt with
    assert (expected == actual) or (unanswered and len(expected) == len(actual) + 1)


def test_disruptions_take_new_pods_and_a_dead_process_does_not(world):
    rungs = {(reason, rung) for _, reason, rung, _ in world.restarts}

    assert {"Pods"} == {rung for reason, rung in rungs if reason in ("Evicted", "NodeLost", "OOMKilled")}
    assert ("ProcessKilled", "Process") in rungs
    assert ("ProcessKilled", "Pods") not in rungs


def test_lost_steps_are_at_most_those_between_two_checkpoints(world):
    losing = sum(kind in ("crash", "outOfMemory", "nodeLost", "hang") for _, kind in world.faults)
    slowest = COSTS.save_every + COSTS.save_write + COSTS.save_hold
    assert world.job.status.goodput.lost_steps <= losing * (slowest / STEP_SECONDS + 1)


def test_the_same_seed_is_the_same_story():
    assert simulate(7, 0.5) == simulate(7, 0.5)
    assert simulate(7, 0.5)["faults"] != simulate(8, 0.5)["faults"]
