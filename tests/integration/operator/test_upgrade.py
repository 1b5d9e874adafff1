"""From one version of the operator and of the definition to the next, and back: running jobs do not notice."""

import copy
import urllib.error

import pytest

from apiclient import wait_for
from ganger.api.crd import crd as definition
from ports import free_port

pytestmark = pytest.mark.integration
JOBS = 50
DEFINITION = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/trainingjobs.ganger.dev"
OLDER = {"GANGER_DEFAULT_IMAGE": "pytorch-cuda:v1"}


def newer():
    """Settings of a later release that make every pod of a new job another one: its image, and where it reports."""
    port = str(free_port())
    channel = {"GANGER_CONTROL_URL": f"https://localhost:{port}", "GANGER_CONTROL_PORT": port}
    return {"GANGER_DEFAULT_IMAGE": "pytorch-cuda:v2"} | channel


def replace(world, operator, name, settings):
    """Another operator gets ready beside the one that leads, which is told to end, as a Deployment does it."""
    following = world.start_operator(name, **settings)
    wait_for(following.is_ready, 20, f"{name} is ready")
    assert 0 == operator.stop()
    wait_for(lambda: world.leader().startswith(f"{name}_"), 20, f"{name} leads")
    return following


def decides(world, name, settings):
    """The operator that leads makes a pod by its own settings: it has looked at every job before."""
    world.running_job(name, workers=1)
    pod = world.api.get(f"{world.pods}/{name}-0-0")
    assert settings["GANGER_DEFAULT_IMAGE"] == pod["spec"]["containers"][0]["image"]
    world.end(f"{name}-0-0", 0)
    world.wait_phase("Complete", name)


def versions(world, names):
    """UID and resourceVersion of the pods of these jobs: the second changes with every write."""
    found = {pod["metadata"]["name"]: pod["metadata"] for pod in world.api.items(world.pods)}
    return {name: (found[f"{name}-0-0"]["uid"], found[f"{name}-0-0"]["resourceVersion"]) for name in names}


def test_an_upgrade_of_the_operator_and_back_touches_no_pod_of_fifty_running_jobs(world):
    names = [f"job-{number}" for number in range(JOBS)]
    operator = world.start_operator("older", **OLDER)
    wait_for(world.leader, 20, "a leader")
    for name in names:
        world.submit(name, workers=1)
    wait_for(lambda: {f"{name}-0-0" for name in names} <= set(world.pod_names()), 60, "all pods")
    world.run(*(f"{name}-0-0" for name in names))
    for name in names:
        world.wait_phase("Running", name)
    before = versions(world, names)

    settings = newer()
    operator = replace(world, operator, "newer", settings)
    decides(world, "after-upgrade", settings)
    assert before == versions(world, names)

    replace(world, operator, "older-again", OLDER)
    decides(world, "after-rollback", OLDER)
    assert before == versions(world, names)
    assert [0] * JOBS == [world.status(name).get("attempt", 0) for name in names]
    for name in names:
        world.end(f"{name}-0-0", 0)
    for name in names:
        world.wait_phase("Complete", name)


def newer_definition():
    """The definition with a field more, which has a default."""
    found = copy.deepcopy(definition())
    spec = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["lookahead"] = {
        "type": "integer",
        "minimum": 1,
        "default": 3,
        "description": "Of a later version.",
    }
    return found


def takes(world, **spec):
    """Whether the API server knows all of these fields by now."""
    body = {
        "apiVersion": "ganger.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "dry"},
        "spec": {"task": "m:t"} | spec,
    }
    try:
        world.api.call("POST", f"{world.jobs}?dryRun=All&fieldValidation=Strict", body)
    except urllib.error.HTTPError as error:
        if error.code != 400:
            raise
        return False
    return True


def test_an_upgrade_of_the_definition_and_back_keeps_what_is_stored(world, crd):
    world.start_operator()
    wait_for(world.leader, 20, "a leader")
    world.running_job("before")
    stored = world.job("before")
    world.api.merge(DEFINITION, {"spec": newer_definition()["spec"]})
    try:
        wait_for(lambda: takes(world, lookahead=5), 20, "the newer definition is served")
        world.running_job("meanwhile", lookahead=5)
        assert 3 == world.job("before")["spec"]["lookahead"]
        assert 5 == world.job("meanwhile")["spec"]["lookahead"]
    finally:
        world.api.merge(DEFINITION, {"spec": definition()["spec"]})
    wait_for(lambda: not takes(world, lookahead=5), 20, "the older definition is served")

    assert (stored["spec"], stored["metadata"]["uid"]) == (
        world.job("before")["spec"],
        world.job("before")["metadata"]["uid"],
    )
    assert "lookahead" not in world.job("meanwhile")["spec"]
    for name in ("before", "meanwhile"):
        for worker in range(2):
            world.end(f"{name}-0-{worker}", 0)
        world.wait_phase("Complete", name)
