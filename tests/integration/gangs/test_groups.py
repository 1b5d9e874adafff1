"""Gangs that the scheduler knows: placed whole or not at all, preempted whole, and never placed twice by one group."""

import pytest

from apiclient import wait_for

pytestmark = pytest.mark.integration
GROUPS = "/apis/scheduling.k8s.io/v1beta1/namespaces/{}/podgroups"


@pytest.fixture
def world(knowing):
    """A cluster of four nodes, with an operator."""
    knowing.start_operator()
    wait_for(knowing.leader, 20, "a leader")
    knowing.add_nodes(4)
    return knowing


def groups(world):
    """UID of each group by its name, but for those that are being deleted."""
    found = world.api.items(GROUPS.format(world.namespace))
    return {
        one["metadata"]["name"]: one["metadata"]["uid"] for one in found if "deletionTimestamp" not in one["metadata"]
    }


def test_two_gangs_that_both_want_the_whole_cluster_run_one_after_the_other(world):
    for name in ("first", "second"):
        world.submit(name)
    leader = wait_for(lambda: next((n for n in ("first", "second") if world.num_placed(n)), None), 20, "one is placed")
    other = {"first": "second", "second": "first"}[leader]
    world.wait_phase("Running", leader)
    wait_for(lambda: "placed whole or not at all" in world.condition("PodsReady", other).get("message", ""), 20)
    assert "minCount (4)" in world.condition("PodsReady", other)["message"]
    world.finish(leader)
    world.wait_phase("Running", other, timeout=30)
    world.finish(other)

    assert {frozenset(), frozenset({"first"}), frozenset({"second"})} == set(world.placed_together())
    # A gang is bound in a burst: between its first and its last pod nothing else is.
    assert [4, 4] == [world.num_made(name) for name in ("first", "second")]


def test_each_attempt_has_a_group_of_its_own_and_the_old_one_goes(world):
    world.submit("digits")
    world.wait_phase("Running")
    first = groups(world)
    assert {"digits-0"} == set(first)
    world.end("digits-0-1", 1, "boom")
    wait_for(lambda: world.status().get("attempt") == 1 and world.num_placed("digits") >= 4, 30, "the second attempt")
    wait_for(lambda: set(groups(world)) == {"digits-1"}, 30, "its group alone")


def test_a_gang_that_is_resumed_is_placed_as_one_again(world):
    world.submit("digits")
    world.wait_phase("Running")
    before = groups(world)
    world.api.merge(f"{world.jobs}/digits", {"spec": {"suspend": True}})
    wait_for(lambda: not world.pods_of("digits") and not groups(world), 30, "pods and group are gone")
    world.api.merge(f"{world.jobs}/digits", {"spec": {"suspend": False}})
    world.wait_phase("Running", timeout=30)
    after = groups(world)
    assert before.keys() == after.keys()
    assert before != after


def test_a_more_urgent_gang_preempts_all_of_another_which_comes_back_by_itself(world):
    for name, value in (("batch", 1), ("urgent", 100)):
        path = "/apis/scheduling.k8s.io/v1/priorityclasses"
        if world.api.get(f"{path}/{name}") is None:
            world.api.create(path, {"kind": "PriorityClass", "metadata": {"name": name}, "value": value})
    world.submit("modest", priorityClassName="batch")
    world.wait_phase("Running", "modest")
    world.submit("important", priorityClassName="urgent", workers=2)
    world.wait_phase("Running", "important", timeout=40)
    wait_for(lambda: world.status("modest").get("attempt") == 1, 20, "the next attempt of the preempted")
    restarts = world.status("modest")["restarts"]
    assert ("Preempted", 0) == (restarts["last"]["reason"], restarts.get("counted", 0))
    assert 0 == world.num_placed("modest")
    world.finish("important")
    world.wait_phase("Running", "modest", timeout=40)


def test_an_elastic_gang_is_placed_from_its_least_size_on(world):
    """Three of four nodes are free: all of a fixed gang would wait, an elastic one starts with three."""
    world.submit("alone", workers=1)
    world.wait_phase("Running", "alone")
    world.submit("digits", elastic={"minWorkers": 2, "maxWorkers": 4, "shrinkAfterSeconds": 5})
    wait_for(lambda: world.status().get("gangSize") == 3, 30, "it goes on with three")
    world.wait_phase("Running", timeout=30)
    assert {"digits-1"} == set(groups(world))
    assert "alone-0" not in groups(world)


def test_a_priority_class_that_does_not_exist_is_told(world):
    world.submit("digits", priorityClassName="nobody")
    wait_for(lambda: world.condition("PodsReady").get("reason") == "PodGroupForbidden", 20, "a refusal")
    assert "nobody" in world.condition("PodsReady")["message"]
    assert [] == world.pods_of("digits")


def test_an_operator_that_is_told_so_leaves_groups_alone(knowing):
    knowing.start_operator(GANGER_POD_GROUPS="false")
    knowing.add_nodes(4)
    knowing.submit("digits")
    knowing.wait_phase("Running")
    assert {} == groups(knowing)
