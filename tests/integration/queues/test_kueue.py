"""Jobs in the queues of a real Kueue: waiting, flavors, preemption, deactivation, and admission in part."""

import pytest

from apiclient import wait_for
from integration.queues.conftest import API

pytestmark = pytest.mark.integration
ELASTIC = {"minWorkers": 1, "maxWorkers": 4}


def test_the_second_of_two_jobs_waits_for_the_quota_of_the_first_and_then_runs(queues):
    queues.queue_job("first")
    first = queues.train("first")
    queues.queue_job("second")
    wait_for(lambda: "insufficient unused quota" in queues.condition("Admitted", "second").get("message", ""), 20)
    waiting = queues.status("second")
    held = queues.pod_names()
    queues.wait_told("first", "PodsReady", "True", "Started")
    queues.finish(first)
    queues.wait_told("first", "Finished", "True", "Succeeded")
    second = queues.train("second")
    queues.finish(second)

    assert first == held
    assert ("Suspended", "0/2") == (waiting["phase"], waiting["workers"])
    assert "queue team: " in waiting["message"]
    assert "True" == queues.condition("Admitted", "second")["status"]
    assert waiting["goodput"]["seconds"].get("suspended", 0) == 0
    assert queues.status("second")["goodput"]["seconds"]["queued"] > 0
    wanted = queues.workload("second")["spec"]["podSets"][0]
    assert ("workers", 2) == (wanted["name"], wanted["count"])


def test_the_pods_carry_what_their_flavor_asks_for_and_no_label_that_queues_them_again(queues):
    queues.queue_job("digits", nodeSelector={"disk": "fast"})
    wait_for(lambda: queues.pod_names() == ["digits-0-0", "digits-0-1"], 20, "the pods")
    pods = queues.api.items(queues.pods)

    for pod in pods:
        assert {"pool": "spot", "disk": "fast"} == pod["spec"]["nodeSelector"]
        assert {"key": "spot", "operator": "Exists", "effect": "NoSchedule"} in pod["spec"]["tolerations"]
        labels = pod["metadata"]["labels"]
        assert ("workers", "team") == (labels["kueue.x-k8s.io/podset"], labels["kueue.x-k8s.io/local-queue-name"])
        assert queues.namespace == labels["kueue.x-k8s.io/cluster-queue-name"]
        assert "kueue.x-k8s.io/queue-name" not in labels


def test_a_job_of_higher_priority_preempts_one_that_keeps_its_quota_while_it_stops_and_resumes_by_itself(queues):
    queues.queue_job("low")
    low = queues.train("low")
    queues.queue_job("high", {"kueue.x-k8s.io/priority-class": f"{queues.namespace}-high"})
    queues.wait_told("low", "Evicted", "True", "Preempted")
    queues.wait_held("low", "Evicted")
    wait_for(lambda: all("deletionTimestamp" in pod["metadata"] for pod in queues.api.items(queues.pods)), 20)
    stopping = queues.told("low", "QuotaReserved"), queues.pod_names()
    queues.stop_pods(low)
    high = queues.train("high")
    released = queues.told("low", "QuotaReserved")[0], queues.told("low", "Requeued")
    queues.finish(high)
    again = queues.train("low")
    queues.finish(again)

    assert (("True", "QuotaReserved"), low) == stopping
    assert ("False", ("True", "Preempted")) == released
    assert low == again
    assert "restarts" not in queues.status("low")
    assert 1000 == queues.workload("high")["spec"]["priority"]


def test_a_deactivated_workload_stops_its_gang_until_it_is_active_again(queues):
    queues.queue_job("digits")
    names = queues.train("digits")
    queues.activate("digits", False)
    queues.wait_told("digits", "Evicted", "True", "Deactivated")
    queues.stop_pods(names)
    wait_for(lambda: queues.told("digits", "QuotaReserved")[0] == "False", 20, "the quota is given back")
    held = queues.wait_held("digits", "Deactivated")
    queues.activate("digits", True)
    queues.finish(queues.train("digits"))

    assert "set its spec.active to true" in held


def test_an_elastic_job_runs_with_the_workers_that_there_is_quota_for(queues):
    queues.queue_job("digits", workers=4, elastic=ELASTIC)
    names = queues.train("digits")
    (container,) = queues.api.get(f"{queues.pods}/digits-0-0")["spec"]["containers"]
    told = {entry["name"]: entry.get("value") for entry in container["env"]}

    assert names == queues.pod_names()
    assert ("2", "4") == (told["GANGER_WORKERS"], told["GANGER_WORKERS_MAX"])
    assert "with 2 of 4 workers" in queues.condition("Admitted", "digits")["message"]
    assert (4, 1) == tuple(queues.workload("digits")["spec"]["podSets"][0][key] for key in ("count", "minCount"))


def test_a_gang_that_is_scaled_down_gives_back_its_quota_to_the_next_job(queues):
    queues.queue_job("digits", elastic=ELASTIC)
    names = queues.train("digits")
    queues.queue_job("next", workers=1)
    queues.api.merge(f"{queues.jobs}/digits/scale", {"spec": {"replicas": 1}})
    queues.stop_pods(names)
    queues.train("digits", workers=1, attempt=1)
    queues.finish(queues.train("next", workers=1))

    assert [{"name": "workers", "count": 1}] == queues.workload("digits")["status"]["reclaimablePods"]


def test_a_gang_that_is_trained_gives_back_all_quota_but_that_of_its_export(queues):
    checkpoint = {"volume": {"claimName": "shared"}, "everySteps": 10}
    queues.queue_job("digits", checkpoint=checkpoint, export=[{"format": "onnx"}])
    names = queues.train("digits")
    queues.queue_job("next", workers=1)
    for name in names:
        queues.end(name, 0)
    wait_for(lambda: "digits-export-0" in queues.pod_names(), 20, "the pod of the export")
    queues.train("next", workers=1)

    assert [{"name": "workers", "count": 1}] == queues.workload("digits")["status"]["reclaimablePods"]
    assert "Exporting" == queues.status("digits")["phase"]


def test_a_suspended_job_asks_for_nothing_and_a_resumed_one_asks_anew(queues):
    queues.queue_job("digits")
    names = queues.train("digits")
    before = queues.workload("digits")["metadata"]["uid"]
    queues.api.merge(f"{queues.jobs}/digits", {"spec": {"suspend": True}})
    queues.stop_pods(names)
    wait_for(lambda: queues.workload("digits") is None, 20, "no Workload")
    queues.api.merge(f"{queues.jobs}/digits", {"spec": {"suspend": False}})
    queues.train("digits")
    after = queues.workload("digits")["metadata"]["uid"]
    queues.api.delete(f"{queues.jobs}/digits")
    wait_for(lambda: queues.workload("digits") is None, 20, "the Workload goes with its job")

    assert before != after


def test_a_queue_that_is_not_there_and_a_class_that_is_not_there_are_said(queues):
    queues.queue_job("lost", queue="nowhere")
    queues.queue_job("classless", {"kueue.x-k8s.io/priority-class": "nothing"})

    wait_for(lambda: "nowhere" in queues.condition("Admitted", "lost").get("message", "")[12:], 20, "Kueue's sentence")
    assert "WorkloadPriorityClass nothing" in queues.wait_held("classless", "WorkloadPriorityClassNotFound")
    assert [] == queues.pod_names()


def test_a_workload_that_somebody_deletes_stops_its_gang_and_is_made_anew(queues):
    queues.queue_job("digits")
    names = queues.train("digits")
    found = queues.workload("digits")["metadata"]
    queues.api.delete(f"{API}/namespaces/{queues.namespace}/workloads/{found['name']}")
    queues.stop_pods(names)
    queues.train("digits")

    assert found["uid"] != queues.workload("digits")["metadata"]["uid"]


def test_the_next_operator_finds_the_gang_admitted_and_leaves_it_alone(queues):
    queues.queue_job("digits")
    names = queues.train("digits")
    queues.wait_told("digits", "PodsReady", "True", "Started")
    queues.operators[0].stop()
    queues.start_operator("operator-b")
    wait_for(lambda: queues.leader().startswith("operator-b"), 20, "the next leader")
    queues.finish(names)
    queues.wait_told("digits", "Finished", "True", "Succeeded")

    assert names == queues.pod_names()
    assert "restarts" not in queues.status("digits")


def test_a_job_that_was_edited_while_no_operator_looked_asks_for_what_it_needs_now(queues):
    queues.queue_job("digits")
    names = queues.train("digits")
    queues.operators[0].stop()
    path = f"{queues.jobs}/digits"
    queues.api.merge(path, {"spec": {"suspend": True}})
    queues.api.merge(path, {"spec": {"resources": {"requests": {"cpu": "500m"}}, "suspend": False}})
    queues.start_operator("operator-b")
    queues.stop_pods(names)
    queues.train("digits")
    (container,) = queues.workload("digits")["spec"]["podSets"][0]["template"]["spec"]["containers"]

    assert {"cpu": "500m"} == container["resources"]["requests"]
