"""Isolated jobs on a real API server: one policy for each, before its pods, made once, and gone with it."""

import signal

import pytest

from apiclient import wait_for
from ganger.api.types import decode
from ganger.plan.networkpolicy import network_policy

pytestmark = pytest.mark.integration
ISOLATING = {"GANGER_ISOLATE_JOBS": "true"}
POLICIES = "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies"


@pytest.fixture
def isolated(world):
    """A namespace with an operator that isolates jobs; what happens to policies is in its history."""
    assert world.history.follow(POLICIES.format(world.namespace))
    world.start_operator(**ISOLATING)
    wait_for(world.leader, 20, "a leader")
    return world


def own(world, name="digits"):
    """The policy of a job, None while there is none."""
    return world.api.get(f"{POLICIES.format(world.namespace)}/{name}-gang")


def told(world):
    """What happened to policies: ADDED, MODIFIED or DELETED, and the name."""
    return [(kind, obj["metadata"]["name"]) for kind, obj in world.history.events if obj["kind"] == "NetworkPolicy"]


def test_the_server_stores_what_was_sent_and_it_is_written_once_in_the_life_of_a_job(isolated):
    isolated.running_job()
    uid = isolated.job()["metadata"]["uid"]
    isolated.end("digits-0-1", 1, "boom")
    wait_for(lambda: {"digits-1-0", "digits-1-1"} <= set(isolated.pod_names()), 30, "the second attempt")
    isolated.run("digits-1-0", "digits-1-1")
    isolated.wait_phase("Running")
    job = {"metadata": {"name": "digits", "namespace": isolated.namespace, "uid": uid}, "spec": {"task": "m:t"}}

    assert network_policy(decode(job))["spec"] == own(isolated)["spec"]
    assert [("ADDED", "digits-gang")] == told(isolated)


def test_no_pod_is_made_before_the_policy(isolated):
    isolated.submit(workers=4)
    wait_for(lambda: len(isolated.pod_names()) == 4, 20, "four pods")
    pods = [int(pod["metadata"]["resourceVersion"]) for pod in isolated.api.items(isolated.pods)]

    assert int(own(isolated)["metadata"]["resourceVersion"]) < min(pods)


def test_it_goes_with_its_job_and_a_successor_has_its_own(isolated):
    isolated.running_job()
    before = own(isolated)["spec"]["podSelector"]
    isolated.api.delete(f"{isolated.jobs}/digits")
    wait_for(lambda: own(isolated) is None and not isolated.pod_names(), 60, "policy and pods are collected")
    isolated.running_job()

    assert before != own(isolated)["spec"]["podSelector"]
    assert {"matchLabels": {"ganger.dev/job-uid": isolated.job()["metadata"]["uid"]}} == own(isolated)["spec"][
        "podSelector"
    ]


def test_one_that_was_deleted_is_made_anew_and_the_gang_runs_on(isolated):
    isolated.running_job()
    isolated.api.delete(f"{POLICIES.format(isolated.namespace)}/digits-gang")
    wait_for(lambda: own(isolated), 20, "it is made anew")

    assert ["digits-0-0", "digits-0-1"] == sorted(isolated.history.created())
    assert "Running" == isolated.status()["phase"]


def test_one_of_somebody_else_is_not_touched_and_no_pod_starts_beside_it(isolated):
    path = POLICIES.format(isolated.namespace)
    body = {"kind": "NetworkPolicy", "metadata": {"name": "digits-gang"}, "spec": {"podSelector": {}}}
    uid = isolated.api.create(path, body | {"apiVersion": "networking.k8s.io/v1"})["metadata"]["uid"]
    isolated.submit()
    wait_for(lambda: isolated.condition("PodsReady").get("reason") == "WaitingForPreviousPolicy", 20, "it is said")

    assert "NetworkPolicy digits-gang belongs to another owner" in isolated.condition("PodsReady")["message"]
    assert [] == isolated.pod_names()
    assert uid == own(isolated)["metadata"]["uid"]
    isolated.api.delete(f"{path}/digits-gang")
    isolated.wait_pods("digits-0-0", "digits-0-1", timeout=30)
    assert uid != own(isolated)["metadata"]["uid"]


def test_a_quota_that_leaves_no_room_for_it_holds_the_gang_back_whole(isolated):
    hard = {"hard": {"count/networkpolicies.networking.k8s.io": "0"}}
    quotas = f"/api/v1/namespaces/{isolated.namespace}/resourcequotas"
    isolated.api.create(quotas, {"kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": hard})
    wait_for(lambda: isolated.api.get(f"{quotas}/q").get("status", {}).get("hard"), 20, "the quota is in force")
    isolated.submit()
    wait_for(lambda: isolated.condition("PodsReady").get("reason") == "QuotaExceeded", 20, "it is said")

    assert "networkpolicies" in isolated.condition("PodsReady")["message"]
    assert [] == isolated.pod_names()


def test_gangs_that_run_are_isolated_as_soon_as_the_operator_is_told_to(world):
    operator = world.start_operator()
    wait_for(world.leader, 20, "a leader")
    world.running_job()
    assert own(world) is None
    operator.signal(signal.SIGTERM)
    assert 0 == operator.stop()
    world.start_operator("operator-b", **ISOLATING)
    wait_for(lambda: own(world), 20, "its policy")

    assert ["digits-0-0", "digits-0-1"] == sorted(world.history.created())
    assert "Running" == world.status()["phase"]
