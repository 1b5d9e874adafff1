"""An elastic gang against the real API server: scaled as `kubectl scale` does it, short of a place, and back."""

import urllib.error

import pytest

from apiclient import wait_for

pytestmark = pytest.mark.integration
CHECKPOINT = {"volume": {"size": "1Gi", "whenDeleted": "Delete"}, "everySteps": 10}
ELASTIC = {"minWorkers": 2, "maxWorkers": 4}


def scale(world, replicas):
    """What `kubectl scale tj/digits --replicas=N` sends."""
    world.api.merge(f"{world.jobs}/digits/scale", {"spec": {"replicas": replicas}})


def place(world, *names):
    """The scheduler's word: the pods have a node."""
    for name in names:
        target = {"apiVersion": "v1", "kind": "Node", "name": "node-1"}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        world.api.create(f"{world.pods}/{name}/binding", binding)


def stopped(world, *names):
    """The kubelet's word: the pods were told to stop, and have."""
    for name in names:
        wait_for(lambda name=name: _is_leaving(world, name), message=f"{name} is deleted")
        world.api.delete(f"{world.pods}/{name}", gracePeriodSeconds=0)


def _is_leaving(world, name):
    return "deletionTimestamp" in (world.api.get(f"{world.pods}/{name}") or {}).get("metadata", {})


def wait_gang(world, attempt, size):
    """Wait for the pods of an attempt and run them; return what each is told of the gang's size."""
    names = [f"digits-{attempt}-{worker}" for worker in range(size)]
    world.wait_pods(*names)
    world.run(*names)
    wait_for(lambda: world.status().get("workers", "").startswith(f"{size}/"), message=f"{size} run")
    world.wait_phase("Running")
    told = set()
    for name in names:
        (container,) = world.api.get(f"{world.pods}/{name}")["spec"]["containers"]
        env = {entry["name"]: entry.get("value") for entry in container["env"]}
        told.add((env["GANGER_WORKERS"], env["GANGER_WORKERS_MAX"], env["GANGER_ATTEMPT"]))
    return told


def test_a_gang_of_four_is_scaled_to_two_and_back_without_a_counted_restart(operated):
    operated.submit(workers=4, elastic=ELASTIC, checkpoint=CHECKPOINT)
    assert {("4", "4", "0")} == wait_gang(operated, 0, 4)

    scale(operated, 2)
    assert {("2", "4", "1")} == wait_gang(operated, 1, 2)
    smaller = operated.status()
    scale(operated, 4)
    operated.wait_pods("digits-1-0", "digits-1-1", "digits-1-probe-0", "digits-1-probe-1")
    probing = operated.status()
    place(operated, "digits-1-probe-0", "digits-1-probe-1")
    stopped(operated, "digits-1-probe-0", "digits-1-probe-1")
    assert {("4", "4", "2")} == wait_gang(operated, 2, 4)
    back = operated.status()

    assert (1, 2, "2/2") == (smaller["attempt"], smaller["gangSize"], smaller["workers"])
    assert (1, 2, "Running") == (probing["attempt"], probing["gangSize"], probing["phase"])
    assert (2, 4, "4/4") == (back["attempt"], back["gangSize"], back["workers"])
    assert (2, "Grown", 2, 4) == (
        back["resizes"]["total"],
        back["resizes"]["last"]["reason"],
        back["resizes"]["last"]["fromWorkers"],
        back["resizes"]["last"]["toWorkers"],
    )
    assert "restarts" not in back
    assert "False" == operated.condition("Shrunk")["status"]
    told = wait_for(lambda: len(found := resizes(operated)) == 2 and found)
    assert {"attempt 1 goes on with 2 workers instead of 4", "attempt 2 goes on with 4 workers instead of 2"} == {
        message.split("; ")[1].removesuffix(" (not counted)") for message in told
    }


def resizes(world):
    events = world.api.items(f"/apis/events.k8s.io/v1/namespaces/{world.namespace}/events")
    return [event["note"] for event in events if event["reason"] == "Resized"]


@pytest.mark.parametrize("replicas", [0, 1, 5])
def test_a_size_out_of_bounds_is_refused_in_a_sentence(operated, replicas):
    operated.submit(workers=4, elastic=ELASTIC)
    with pytest.raises(urllib.error.HTTPError) as refused:
        scale(operated, replicas)
    sentence = refused.value.read().decode()

    assert 422 == refused.value.code
    assert "spec.workers" in sentence
    assert "elastic.minWorkers..elastic.maxWorkers" in sentence or "greater than or equal to 1" in sentence


def test_a_gang_that_is_not_elastic_is_not_scaled_while_it_runs(operated):
    operated.running_job()
    with pytest.raises(urllib.error.HTTPError) as refused:
        scale(operated, 4)

    assert "may change only while the job is suspended: workers" in refused.value.read().decode()


def test_a_gang_without_a_place_for_one_goes_on_and_takes_it_back_when_there_is_room(operated):
    operated.submit(
        workers=3, elastic=ELASTIC | {"shrinkAfterSeconds": 2, "growAfterSeconds": 1}, checkpoint=CHECKPOINT
    )
    operated.wait_pods("digits-0-0", "digits-0-1", "digits-0-2")
    place(operated, "digits-0-0", "digits-0-1")
    operated.run("digits-0-0", "digits-0-1")
    stopped(operated, "digits-0-0", "digits-0-1")
    wait_for(lambda: operated.status().get("gangSize") == 2, message="a smaller gang")
    wait_for(lambda: {"digits-1-0", "digits-1-1"} <= set(operated.pod_names()), message="its pods")
    operated.run("digits-1-0", "digits-1-1")
    operated.wait_pods("digits-1-0", "digits-1-1", "digits-1-probe-0")
    small, shrunk = operated.status(), operated.condition("Shrunk")
    place(operated, "digits-1-probe-0")
    stopped(operated, "digits-1-probe-0")
    wait_gang(operated, 2, 3)
    back = operated.status()

    assert ("2/3", "Running") == (small["workers"], small["phase"])
    assert ("True", "FewerWorkers") == (shrunk["status"], shrunk["reason"])
    assert "2 of 3 workers" in shrunk["message"]
    assert (3, 2) == (back["gangSize"], back["resizes"]["total"])
    assert "restarts" not in back
