"""What Kueue is asked and told, write by write."""

import msgspec
import pytest

from builders import at, pod, running_gang, with_spec, with_status
from ganger.api.conditions import upsert
from ganger.api.status import ExportStatus
from ganger.plan import quota
from ganger.plan import workload as asking
from ganger.plan.decide import decide
from ganger.plan.gang import gang
from ganger.plan.quota import Priority, Quota
from ganger.plan.seen import Seen
from unit.plan.queueing import queued, served, workload

HIGH = Priority(group="kueue.x-k8s.io", kind="WorkloadPriorityClass", name="high", value=1000)
LABEL_HIGH = {"kueue.x-k8s.io/priority-class": "high"}


def change(a_job, quota, *pods):
    return asking.change(a_job, gang(pods, a_job.status.attempt, a_job.spec.workers), Seen(quota=quota), at(65))


def conditions(found):
    return {one["type"]: (one["status"], one["reason"]) for one in found.body["status"]["conditions"]}


def with_condition(a_job, type_, message=""):
    told = upsert(a_job.status.conditions, type_, True, "Because", message, now=at(60), generation=1)
    return with_status(a_job, msgspec.structs.replace(a_job.status, conditions=told))


def test_the_workload_has_the_name_that_kueue_would_give_it():
    # printf 'TrainingJob\nganger.dev\ndigits\nuid-1' | sha1sum
    assert "trainingjob-digits-e9969" == asking.name(queued())


def test_a_long_name_stays_a_label_value():
    assert 63 >= len(asking.name(queued(name="a" * 40)))


def test_a_workload_asks_for_the_gangs_pods_and_is_owned_by_the_job():
    made = asking.manifest(queued(resources={"requests": {"cpu": "3"}}), HIGH)
    (pod_set,) = made["spec"]["podSets"]

    assert ("kueue.x-k8s.io/v1beta2", "Workload", "team") == (
        made["apiVersion"],
        made["kind"],
        made["spec"]["queueName"],
    )
    assert [("uid-1", True)] == [(owner["uid"], owner["controller"]) for owner in made["metadata"]["ownerReferences"]]
    assert "uid-1" == made["metadata"]["labels"]["kueue.x-k8s.io/job-uid"]
    assert ("workers", 2, False) == (pod_set["name"], pod_set["count"], "minCount" in pod_set)
    assert {"cpu": "3"} == pod_set["template"]["spec"]["containers"][0]["resources"]["requests"]
    assert (1000, {"group": "kueue.x-k8s.io", "kind": "WorkloadPriorityClass", "name": "high"}) == (
        made["spec"]["priority"],
        made["spec"]["priorityClassRef"],
    )
    assert {"labels"} == set(pod_set["template"]["metadata"])


def test_an_elastic_job_may_be_admitted_in_part():
    made = asking.manifest(queued(workers=4, elastic={"minWorkers": 2, "maxWorkers": 6}), Priority())

    assert (4, 2) == (made["spec"]["podSets"][0]["count"], made["spec"]["podSets"][0]["minCount"])
    assert (0, False) == (made["spec"]["priority"], "priorityClassRef" in made["spec"])


def test_a_longest_execution_time_comes_from_its_label():
    labels = {"kueue.x-k8s.io/max-exec-time-seconds": "60"}

    assert 60 == asking.manifest(queued(labels), Priority())["spec"]["maximumExecutionTimeSeconds"]


@pytest.mark.parametrize("quota", [None, Quota(), Quota(state="Absent")])
def test_nothing_is_written_before_kueue_was_heard(quota):
    assert None is change(queued(), quota)


def test_a_job_without_a_workload_asks_once_its_pods_have_stopped():
    a_job = queued()

    assert "create" == change(a_job, served()).verb
    assert None is change(a_job, served(), pod(a_job, 0))
    assert None is change(a_job, served(priority=None))
    assert None is change(with_spec(a_job, suspend=True), served())


def test_an_evicted_job_gives_its_quota_back_only_when_no_container_can_run():
    a_job = queued()
    quota = served(workload(a_job, "PodsReady", admitted=True, evicted="Preempted"))
    found = change(a_job, quota, pod(a_job, 0, exit_code=143), pod(a_job, 1, exit_code=143))

    assert None is change(a_job, quota, pod(a_job, 0, exit_code=143), pod(a_job, 1, leaving=True))
    assert ("status", "7", None) == (
        found.verb,
        found.body["metadata"]["resourceVersion"],
        found.body["status"]["admission"],
    )
    assert {
        "Requeued": ("True", "Preempted"),
        "QuotaReserved": ("False", "Pending"),
        "Admitted": ("False", "NoReservation"),
        "PodsReady": ("False", "WaitForStart"),
        "Evicted": ("True", "Preempted"),
    } == conditions(found)
    assert 60 == found.body["status"]["accumulatedPastExecutionTimeSeconds"]


@pytest.mark.parametrize("reason, status", [("NodeFailures", "True"), ("Deactivated", "False"), ("Other", "False")])
def test_only_who_lost_its_place_is_queued_again_at_once(reason, status):
    a_job = queued()
    found = change(a_job, served(workload(a_job, admitted=True, evicted=reason)))

    assert (status, reason) == conditions(found)["Requeued"]


def test_quota_that_was_given_back_is_not_given_back_twice():
    a_job = queued()

    assert None is change(a_job, served(workload(a_job, evicted="Preempted"), priority=None))


def test_all_workers_ready_and_their_restart_are_told_once_each():
    a_job = queued()
    ready = with_condition(a_job, "PodsReady")
    started = workload(a_job, admitted=True, conditions={"PodsReady": ("True", "Started", "")})
    waiting = workload(a_job, admitted=True, conditions={"PodsReady": ("False", "WaitForRecovery", "")})

    assert ("True", "Started") == conditions(change(ready, served(workload(a_job, admitted=True))))["PodsReady"]
    assert ("False", "WaitForRecovery") == conditions(change(a_job, served(started)))["PodsReady"]
    assert ("True", "Recovered") == conditions(change(ready, served(waiting)))["PodsReady"]
    assert None is change(ready, served(started))
    assert None is change(a_job, served(waiting))


@pytest.mark.parametrize("type_, reason", [("Complete", "Succeeded"), ("Failed", "Failed")])
def test_the_end_of_the_job_is_told_when_its_last_container_has_ended(type_, reason):
    a_job = with_condition(queued(), type_, "that was it")
    quota = served(workload(a_job, admitted=True))
    found = change(a_job, quota, pod(a_job, 0, exit_code=0))

    assert None is change(a_job, quota, pod(a_job, 0))
    assert ("True", reason) == conditions(found)["Finished"]
    assert None is change(a_job, served(workload(a_job, "Finished", admitted=True)))


def test_a_waiting_workload_follows_its_job():
    a_job = queued(workers=4, elastic={"minWorkers": 2, "maxWorkers": 6})
    old = workload(a_job)
    more = with_spec(a_job, workers=5)
    moved = queued({"kueue.x-k8s.io/queue-name": "other"}, workers=4, elastic={"minWorkers": 2, "maxWorkers": 6})

    assert None is change(a_job, served(old, priority=None))
    assert [5] == [pod_set["count"] for pod_set in change(more, served(old)).body["spec"]["podSets"]]
    assert {"queueName": "other"} == change(moved, served(old)).body["spec"]
    assert 1000 == change(a_job, served(old, priority=HIGH)).body["spec"]["priority"]


def test_of_a_workload_with_quota_only_kueues_own_class_may_change():
    a_job = queued(LABEL_HIGH)
    reference = {"group": "kueue.x-k8s.io", "kind": "WorkloadPriorityClass", "name": "low"}
    low = workload(a_job, admitted=True, priorityClassRef=reference, queueName="before")

    assert {"priority", "priorityClassRef"} == set(change(a_job, served(low, priority=HIGH)).body["spec"])
    assert None is change(a_job, served(workload(a_job, admitted=True), priority=HIGH))


def test_a_scaled_down_gang_gives_back_what_it_needs_no_more():
    elastic = {"minWorkers": 1, "maxWorkers": 4}
    before = queued(workers=3, elastic=elastic)
    a_job = with_status(before, msgspec.structs.replace(before.status, gang_size=2, attempt=1))
    a_job = with_spec(a_job, workers=2)
    old, over = pod(a_job, 2), pod(a_job, 2, exit_code=143)
    new = (pod(a_job, 0, attempt=1), pod(a_job, 1, attempt=1))
    found = change(a_job, served(workload(before, admitted=True)), over, *new)

    assert {"reclaimablePods": [{"name": "workers", "count": 1}]} == found.body["status"]
    assert None is change(a_job, served(workload(before, admitted=True)), old, *new)
    assert None is change(a_job, served(workload(before, admitted=True, reclaimed=1)), *new)


def test_a_gang_whose_training_is_done_gives_back_all_but_what_its_export_needs():
    before = queued(workers=3)
    a_job = with_status(before, msgspec.structs.replace(before.status, export=ExportStatus(number=0)))
    gone = tuple(pod(a_job, worker, exit_code=0) for worker in range(3))
    found = change(a_job, served(workload(before, admitted=True)), *gone)

    assert {"reclaimablePods": [{"name": "workers", "count": 2}]} == found.body["status"]
    assert None is change(a_job, served(workload(before, admitted=True, reclaimed=2)), *gone)
    assert None is change(before, served(workload(before, admitted=True)), *gone)


def test_a_suspended_job_takes_its_workload_back_when_its_gang_has_stopped():
    a_job = with_spec(queued(), suspend=True)
    quota = served(workload(a_job, admitted=True))

    assert None is change(a_job, quota, pod(a_job, 0))
    assert ("delete", "wl-1") == (change(a_job, quota).verb, change(a_job, quota).target.uid)


def test_a_workload_of_an_older_edition_of_the_spec_stops_its_gang_and_is_made_anew():
    a_job = queued(resources={"requests": {"cpu": "1"}})
    found = served(workload(a_job, admitted=True))
    more = with_spec(a_job, resources=queued(resources={"requests": {"cpu": "2"}}).spec.resources)
    same = with_spec(a_job, ttl_seconds_after_finished=9)

    assert ("delete", None) == (change(more, found).verb, change(more, found, pod(more, 0)))
    assert "SpecChanged" == quota.hold(more, found).reason
    assert (None, None) == (quota.hold(same, found), change(same, found))


def test_a_job_that_left_its_queue_takes_its_workload_back():
    a_job = queued()
    left = msgspec.structs.replace(a_job, metadata=msgspec.structs.replace(a_job.metadata, labels={}))
    decision = decide(left, Seen(pods=running_gang(a_job), quota=served(workload(a_job, admitted=True))), at(9))

    assert "delete" == decision.workload.verb
    assert () == decision.deletions


def test_a_workload_that_is_being_deleted_is_left_alone():
    a_job = queued()
    found = workload(a_job, admitted=True, evicted="Preempted")
    leaving = msgspec.structs.replace(found.metadata, deletion_timestamp=at(9))

    assert None is change(a_job, served(msgspec.structs.replace(found, metadata=leaving)))
