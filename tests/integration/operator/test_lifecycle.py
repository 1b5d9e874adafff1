"""The life of a job against the real API server, with pods that obey the test."""

import json
import time

import pytest

from apiclient import wait_for

pytestmark = pytest.mark.integration
CHECKPOINT = {"volume": {"size": "1Gi", "whenDeleted": "Delete"}, "everySteps": 10}


def test_job_goes_from_manifest_to_complete_with_what_its_workers_said(operated):
    operated.running_job()
    said = {"outcome": "Done", "step": 40, "totalSteps": 40, "loss": 0.25, "metrics": {"accuracy": 0.97}}
    operated.end("digits-0-0", 0, json.dumps(said))
    operated.end("digits-0-1", 0)
    operated.wait_phase("Complete")
    status = operated.status()

    assert ("2/2", 40, "100%", "0.25") == (
        status["workers"],
        status["progress"]["step"],
        status["progress"]["percent"],
        status["progress"]["loss"],
    )


def test_gang_gets_one_service_that_selects_worker_0_alone(operated):
    operated.running_job()
    service = operated.api.get(f"/api/v1/namespaces/{operated.namespace}/services/digits-gang")

    assert "0" == service["spec"]["selector"]["ganger.dev/worker"]
    assert "None" == service["spec"]["clusterIP"]


def test_failed_worker_restarts_the_whole_gang_and_is_named(operated):
    operated.running_job()
    operated.end("digits-0-1", 137, reason="OOMKilled")
    wait_for(lambda: operated.status().get("attempt") == 1)
    # The victim has nobody who would end it here: the API server deletes a pod without a node at once.
    wait_for(lambda: {"digits-1-0", "digits-1-1"} <= set(operated.pod_names()))
    last = operated.status()["restarts"]["last"]

    assert ("OOMKilled", "digits-0-1", 137) == (last["reason"], last["pod"], last["exitCode"])
    assert 1 == operated.status()["restarts"]["counted"]


def test_deleted_pod_restarts_the_gang_without_spending_a_restart(operated):
    operated.running_job()
    operated.api.delete(f"{operated.pods}/digits-0-1", gracePeriodSeconds=0)
    wait_for(lambda: {"digits-1-0", "digits-1-1"} <= set(operated.pod_names()))
    restarts = operated.status()["restarts"]

    assert (1, 0) == (restarts["total"], restarts.get("counted", 0))


def test_user_error_fails_the_job_without_a_restart(operated):
    operated.running_job()
    said = {"outcome": "UserError", "reason": "ConfigInvalid", "message": "epochs: must be >= 1"}
    operated.end("digits-0-0", 78, json.dumps(said))
    operated.wait_phase("Failed")

    assert "ConfigInvalid" == operated.condition("Failed")["reason"]
    assert "epochs: must be >= 1" in operated.condition("Failed")["message"]
    assert 0 == operated.status().get("attempt", 0)


def test_suspend_stops_the_gang_and_resume_starts_it_again(operated):
    operated.running_job()
    operated.api.merge(f"{operated.jobs}/digits", {"spec": {"suspend": True}})
    operated.wait_phase("Suspended")
    operated.wait_pods()
    operated.api.merge(f"{operated.jobs}/digits", {"spec": {"suspend": False}})
    operated.wait_pods("digits-0-0", "digits-0-1")
    operated.run("digits-0-0", "digits-0-1")
    operated.wait_phase("Running")

    assert "False" == operated.condition("Suspended")["status"]


def test_deadline_ends_a_job_and_its_pods(operated):
    operated.running_job(activeDeadlineSeconds=2)
    operated.wait_phase("Failed")
    operated.wait_pods()

    assert "DeadlineExceeded" == operated.condition("Failed")["reason"]


def test_start_deadline_ends_a_gang_that_does_not_come_up(operated):
    operated.submit(startDeadlineSeconds=2)
    operated.wait_phase("Failed")

    assert "StartDeadlineExceeded" == operated.condition("Failed")["reason"]


def test_finished_job_is_deleted_when_its_time_to_live_is_over(operated):
    operated.running_job(ttlSecondsAfterFinished=1)
    operated.end("digits-0-0", 0)
    operated.end("digits-0-1", 0)
    wait_for(lambda: operated.job() is None)


def test_broken_job_does_not_stop_the_others(operated):
    operated.submit("broken", affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": "no"}})
    operated.running_job("sound")
    operated.wait_phase("Failed", "broken")

    assert "nodeAffinity" in operated.condition("Failed", "broken")["message"]


def test_quota_holds_the_gang_back_whole_and_says_so(operated):
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}}}
    path = f"/api/v1/namespaces/{operated.namespace}/resourcequotas"
    operated.api.create(path, quota)
    operated.api.merge(f"{path}/q/status", {"status": {"hard": {"pods": "1"}, "used": {"pods": "0"}}})
    operated.submit()
    wait_for(lambda: operated.condition("PodsReady").get("reason") == "QuotaExceeded", message=str(operated.status()))
    operated.wait_pods()

    assert "exceeded quota" in operated.condition("PodsReady")["message"]
    assert 0 == operated.status().get("attempt", 0)


def test_pod_of_a_stranger_is_neither_adopted_nor_touched(operated):
    stranger = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "digits-0-0", "labels": {"ganger.dev/attempt": "999999"}},
        "spec": {"containers": [{"name": "c", "image": "x"}]},
    }
    uid = operated.api.create(operated.pods, stranger)["metadata"]["uid"]
    operated.submit()
    wait_for(lambda: operated.condition("PodsReady").get("reason") == "WaitingForPreviousPods")

    assert uid == operated.api.get(f"{operated.pods}/digits-0-0")["metadata"]["uid"]
    assert "digits-0-0" in operated.condition("PodsReady")["message"]


def test_event_of_each_transition_is_there_once(operated):
    operated.running_job()
    operated.end("digits-0-0", 0)
    operated.end("digits-0-1", 0)
    operated.wait_phase("Complete")
    path = f"/apis/events.k8s.io/v1/namespaces/{operated.namespace}/events"

    def reasons():
        events = operated.api.items(path)
        return sorted(e["reason"] for e in events if e["regarding"]["name"] == "digits")

    assert wait_for(lambda: reasons() if len(reasons()) >= 2 else None) == ["Complete", "Running"]


def test_idle_job_costs_no_write(operated):
    operated.running_job()
    before = operated.job()["metadata"]["resourceVersion"]
    operated.api.merge(f"{operated.pods}/digits-0-0", {"metadata": {"annotations": {"nothing": "new"}}})
    time.sleep(3.0)  # longer than a status waits for company: nothing is being held back

    assert before == operated.job()["metadata"]["resourceVersion"]


def test_retained_claim_has_no_owner_and_deleted_one_has(operated):
    operated.running_job("keeps", checkpoint={"volume": {"size": "1Gi"}, "everySteps": 10})
    operated.running_job("drops", checkpoint=CHECKPOINT)
    claims = f"/api/v1/namespaces/{operated.namespace}/persistentvolumeclaims"

    assert None is operated.api.get(f"{claims}/keeps-checkpoints")["metadata"].get("ownerReferences")
    assert "drops" == operated.api.get(f"{claims}/drops-checkpoints")["metadata"]["ownerReferences"][0]["name"]


def test_everything_but_a_retained_volume_goes_with_the_job(operated):
    operated.running_job("keeps", checkpoint={"volume": {"size": "1Gi"}, "everySteps": 10})
    operated.running_job("drops", checkpoint=CHECKPOINT)
    for name in ("keeps", "drops"):
        operated.api.delete(f"{operated.jobs}/{name}", propagationPolicy="Background")
    core = f"/api/v1/namespaces/{operated.namespace}"

    def left():
        kinds = ("pods", "services", "persistentvolumeclaims")
        return sorted(obj["metadata"]["name"] for kind in kinds for obj in operated.api.items(f"{core}/{kind}"))

    wait_for(lambda: left() == ["keeps-checkpoints"], 30, "only the retained claim")
