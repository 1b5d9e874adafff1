"""Profiles against the real API server: made after the job, changed and deleted while it runs, read at a resume."""

import urllib.error

import pytest

from apiclient import wait_for
from ganger.contract import ANNOTATION_PROFILE

pytestmark = pytest.mark.integration
OLD = {"env": [{"name": "FROM_PROFILE", "value": "old"}], "failurePolicy": {"maxRestarts": 7}}
NEW = {"env": [{"name": "FROM_PROFILE", "value": "new"}], "failurePolicy": {"maxRestarts": 0}}


def profiles(world, namespace=""):
    return f"/apis/ganger.dev/v1alpha1/namespaces/{namespace or world.namespace}/trainingprofiles"


def make(world, spec=OLD, name="shared", namespace=""):
    body = {"apiVersion": "ganger.dev/v1alpha1", "kind": "TrainingProfile", "metadata": {"name": name}, "spec": spec}
    return world.api.create(profiles(world, namespace), body)


def values(world, attempt=0):
    """What the pods of the attempt have from the profile."""
    found = world.api.items(world.pods)
    pods = [pod for pod in found if pod["metadata"]["labels"]["ganger.dev/attempt"] == str(attempt)]
    variables = [one for pod in pods for one in pod["spec"]["containers"][0]["env"]]
    return [one["value"] for one in variables if one["name"] == "FROM_PROFILE"]


def test_a_job_waits_for_its_profile_and_starts_when_it_is_made(operated):
    operated.submit(profile="shared")
    wait_for(lambda: operated.condition("PodsReady").get("reason") == "WaitingForProfile")
    assert f"profile shared is not in namespace {operated.namespace}: create it" in operated.status()["message"]
    assert [] == operated.pod_names()

    make(operated)
    wait_for(lambda: ["old", "old"] == values(operated), 5, "the pods, without any polling")
    operated.run("digits-0-0", "digits-0-1")
    operated.wait_phase("Running")

    kept = operated.status()["profile"]
    assert {"name": "shared", "namespace": operated.namespace, "generation": 1, "values": OLD} == kept
    # As the user wrote it: the API server fills in no default that would win over the profile.
    assert {"task": "m:t", "workers": 2, "profile": "shared"}.items() <= operated.job()["spec"].items()
    assert {} == operated.job()["spec"]["failurePolicy"]


def test_a_profile_that_changes_and_goes_changes_nothing_of_a_running_job(operated):
    make(operated)
    operated.running_job(profile="shared")
    operated.api.merge(f"{profiles(operated)}/shared", {"spec": NEW})
    operated.end("digits-0-1", 1)
    # By the new profile the first failure would have ended the job.
    wait_for(lambda: ["old", "old"] == values(operated, 1), 15, "attempt 1 with the old values")
    operated.run("digits-1-0", "digits-1-1")
    operated.wait_phase("Running")

    operated.api.delete(f"{profiles(operated)}/shared")
    operated.end("digits-1-1", 1)
    wait_for(lambda: ["old", "old"] == values(operated, 2), 30, "attempt 2 with the old values")
    assert 2 == operated.status()["restarts"]["counted"]


def test_a_resume_reads_the_profile_anew(operated):
    make(operated)
    operated.running_job(profile="shared")
    operated.api.merge(f"{operated.jobs}/digits", {"spec": {"suspend": True}})
    operated.wait_phase("Suspended")
    wait_for(lambda: not operated.pod_names(), 15, "the pods are gone")
    operated.api.merge(f"{profiles(operated)}/shared", {"spec": NEW})
    operated.api.merge(f"{operated.jobs}/digits", {"spec": {"suspend": False}})

    wait_for(lambda: ["new", "new"] == values(operated), 15, "the pods with the new values")
    assert (2, NEW) == (operated.status()["profile"]["generation"], operated.status()["profile"]["values"])


def test_the_jobs_own_value_wins_and_what_is_left_to_the_profile_comes_from_it(operated):
    make(operated, {"env": OLD["env"], "checkpoint": {"volume": {"size": "3Gi"}}, "terminationGracePeriodSeconds": 90})
    own = [{"name": "FROM_PROFILE", "value": "own"}]
    # 60 is the default of the type: written out, it is the user's own.
    operated.submit(profile="shared", env=own, checkpoint={"everySteps": 5}, terminationGracePeriodSeconds=60)
    wait_for(lambda: ["own", "own"] == values(operated))
    pods = operated.api.items(operated.pods)
    claim = operated.api.get(f"/api/v1/namespaces/{operated.namespace}/persistentvolumeclaims/digits-checkpoints")

    assert {60} == {pod["spec"]["terminationGracePeriodSeconds"] for pod in pods}
    assert "3Gi" == claim["spec"]["resources"]["requests"]["storage"]
    assert 1 == len({pod["metadata"]["annotations"][ANNOTATION_PROFILE] for pod in pods})


def test_a_profile_that_makes_no_job_is_told_and_mended(operated):
    make(operated, {"image": "gpu:v1"})
    operated.submit(profile="shared", checkpoint={"everySteps": 5})
    wait_for(lambda: operated.condition("PodsReady").get("reason") == "ProfileInvalid")
    assert "spec.checkpoint.volume: volume is required" in operated.status()["message"]

    operated.api.merge(f"{profiles(operated)}/shared", {"spec": {"checkpoint": {"volume": {"size": "1Gi"}}}})
    wait_for(lambda: ["digits-0-0", "digits-0-1"] == operated.pod_names(), 5, "the pods, without any polling")


def test_a_job_without_a_profile_is_none_of_this(operated):
    make(operated)
    operated.running_job()

    assert "profile" not in operated.status()
    assert [] == values(operated)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"workers": 2}, 'unknown field "spec.workers"'),
        ({"failurePolicy": {"maxRestarts": -1}}, "spec.failurePolicy.maxRestarts"),
        ({"priorityClassName": "system-node-critical"}, "priorityClassName must not start with system-"),
        ({"checkpoint": {"volume": {"claimName": "c", "storageClassName": "s"}}}, "storageClassName has no place"),
    ],
)
def test_a_bad_profile_is_refused_by_its_own_schema(world, spec, said):
    body = {"apiVersion": "ganger.dev/v1alpha1", "kind": "TrainingProfile", "metadata": {"name": "bad"}, "spec": spec}
    with pytest.raises(urllib.error.HTTPError) as refused:
        world.api.call("POST", f"{profiles(world)}?fieldValidation=Strict", body)

    assert said in refused.value.read().decode().replace("\\", "")
