"""Whom an attempt died of, from what pods say."""

import msgspec
import pytest

from builders import at, job, pod
from ganger.plan.attribution import cause, failure
from ganger.plan.gang import gang


def of(*pods, a_job=None):
    return cause(a_job or job(), gang(tuple(pods), 0, 2), at(30))[0]


def target(reason, message=""):
    return [{"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}]


def test_earliest_failure_is_the_cause_and_not_the_lowest_worker():
    a_job = job()
    said = {"outcome": "Failed", "reason": "Exception", "rank": 3, "message": "ValueError: boom"}
    found = of(pod(a_job, 0, exit_code=1, ended=11), pod(a_job, 1, exit_code=1, said=said, ended=10))

    assert ("Exception", 3, "digits-0-1", "node-1", "ValueError: boom") == (
        found.reason, found.rank, found.pod, found.node, found.message,
    )  # fmt: skip


@pytest.mark.parametrize("victim", ["PeerLost", "CollectiveTimeout", "RendezvousTimeout"])
def test_victim_is_not_blamed_even_when_it_fell_first(victim):
    a_job = job()
    found = of(
        pod(a_job, 0, exit_code=1, said={"outcome": "Failed", "reason": victim}, ended=5),
        pod(a_job, 1, exit_code=139, ended=10),
    )

    assert ("ProcessKilled", "digits-0-1") == (found.reason, found.pod)


def test_among_victims_the_one_that_waited_in_vain_comes_first():
    a_job = job()
    lost, late = ({"outcome": "Failed", "reason": reason} for reason in ("PeerLost", "CollectiveTimeout"))
    found = of(pod(a_job, 0, exit_code=1, said=lost, ended=9), pod(a_job, 1, exit_code=1, said=late, ended=10))

    assert ("CollectiveTimeout", "digits-0-1") == (found.reason, found.pod)


def test_worker_that_ran_out_of_memory_is_named_with_its_limit():
    a_job = job(resources={"limits": {"memory": "8Gi"}})
    found = failure(a_job, pod(a_job, 1, exit_code=137, reason="OOMKilled"))

    assert ("OOMKilled", 1) == (found.reason, found.rank)
    assert found.message.startswith("worker 1 used more than its memory limit of 8Gi; raise spec.resources.limits")


def test_rank_that_ran_out_of_memory_alone_is_told_like_its_container():
    a_job = job(resources={"limits": {"memory": "8Gi"}})
    said = {"outcome": "Failed", "reason": "OOMKilled", "message": "the kernel ended rank 1", "rank": 1}
    found = failure(a_job, pod(a_job, 1, exit_code=137, said=said))

    assert ("OOMKilled", 1) == (found.reason, found.rank)
    assert found.message.startswith("worker 1 used more than its memory limit of 8Gi")


def test_sigkill_that_was_not_the_memory_limit_keeps_the_word_of_the_supervisor():
    a_job = job()
    said = {"outcome": "Failed", "reason": "ProcessKilled", "message": "rank 1 was ended by SIGKILL", "rank": 1}
    found = failure(a_job, pod(a_job, 1, exit_code=137, said=said))

    assert ("ProcessKilled", 1, "rank 1 was ended by SIGKILL") == (found.reason, found.rank, found.message)


@pytest.mark.parametrize(
    "original, reason",
    [
        ("PreemptionByScheduler", "Preempted"),
        ("EvictionByEvictionAPI", "Evicted"),
        ("DeletionByTaintManager", "NodeLost"),
        ("DeletionByPodGC", "NodeLost"),
        ("TerminationByKubelet", "Evicted"),
        ("SomethingNew", "Disrupted"),
    ],
)
def test_disruption_has_our_class_and_keeps_the_word_of_kubernetes(original, reason):
    a_job = job()
    found = of(pod(a_job, 0), pod(a_job, 1, leaving=True, conditions=target(original, "to make room")))

    assert (reason, f"{original}: to make room") == (found.reason, found.message)


@pytest.mark.parametrize(
    "original, reason", [("Evicted", "Evicted"), ("Terminated", "NodeShutdown"), ("Preempting", "Preempted")]
)
def test_kubelet_names_its_own_disruptions_in_the_reason_of_the_pod(original, reason):
    a_job = job()
    plain = pod(a_job, 1, exit_code=137, conditions=target("TerminationByKubelet"))
    status = msgspec.structs.replace(plain.status, reason=original, message="disk pressure")
    found = failure(a_job, msgspec.structs.replace(plain, status=status))

    assert (reason, "TerminationByKubelet: disk pressure") == (found.reason, found.message)


def test_pod_that_the_kubelet_refused_says_why():
    a_job = job()
    plain = pod(a_job, 1, phase="Failed")
    status = msgspec.structs.replace(
        plain.status, reason="UnexpectedAdmissionError", message="no healthy devices", container_statuses=()
    )
    found = of(pod(a_job, 0), msgspec.structs.replace(plain, status=status))

    assert ("PodRejected", "UnexpectedAdmissionError: no healthy devices") == (found.reason, found.message)


def test_supervisors_word_names_rank_and_message():
    said = {"outcome": "Failed", "reason": "Exception", "rank": 3, "message": "boom"}
    found = failure(job(), pod(job(), 1, exit_code=1, said=said))

    assert ("Exception", 3, "boom", "node-1") == (found.reason, found.rank, found.message, found.node)


def test_termination_message_that_is_no_json_is_kept_as_text():
    assert "Killed by hand" == failure(job(), pod(job(), 1, exit_code=1, said="Killed by hand")).message


STOPPED = {"outcome": "Preempted", "reason": "Preempted"}


def test_of_a_gang_that_stopped_together_the_deleted_pod_is_the_cause_even_when_it_is_seen_late():
    a_job = job()
    deleted = pod(a_job, 1, exit_code=143, said=STOPPED, ended=9)
    deleted = msgspec.structs.replace(
        deleted, metadata=msgspec.structs.replace(deleted.metadata, deletion_timestamp=at(5))
    )
    found = of(pod(a_job, 0, exit_code=143, said=STOPPED, ended=8), deleted)

    assert ("PodDeleted", "digits-0-1", "pod digits-0-1 was deleted") == (found.reason, found.pod, found.message)


def test_a_deleted_pod_that_was_killed_on_its_way_to_a_stop_says_what_to_raise():
    a_job = job()
    words = STOPPED | {"message": "it did not finish within 60 s: raise spec.terminationGracePeriodSeconds"}
    killed = pod(a_job, 1, exit_code=137, said=words)
    killed = msgspec.structs.replace(
        killed, metadata=msgspec.structs.replace(killed.metadata, deletion_timestamp=at(5))
    )
    lost = pod(a_job, 0, exit_code=1, said={"outcome": "Failed", "reason": "PeerLost"}, ended=9)
    found = of(lost, killed)

    assert ("PodDeleted", "digits-0-1", 137) == (found.reason, found.pod, found.exit_code)
    assert f"pod digits-0-1 was deleted: {words['message']}" == found.message


def test_a_worker_that_was_told_to_stop_before_it_trained_is_the_cause_and_its_peers_are_not():
    a_job = job()
    lost = pod(a_job, 0, exit_code=1, said={"outcome": "Failed", "reason": "PeerLost"}, ended=8)
    found = of(lost, pod(a_job, 1, exit_code=143, said=STOPPED, ended=9))

    assert ("Preempted", "digits-0-1") == (found.reason, found.pod)


def test_broken_device_of_the_culprit_is_named_after_what_it_said():
    a_job = job()
    said = {"outcome": "Failed", "reason": "Exception", "message": "CUDA error: uncorrectable ECC error"}
    found = of(
        pod(a_job, 0, exit_code=1, said=said, ended=10, devices={"GPU-4d2c": "Unhealthy", "GPU-77aa": "Healthy"}),
        pod(a_job, 1, devices={"GPU-0b1e": "Unhealthy"}),
    )

    told = "CUDA error: uncorrectable ECC error; the kubelet calls unhealthy: nvidia.com/gpu GPU-4d2c"
    assert ("Exception", told) == (found.reason, found.message)


def test_long_message_makes_room_for_the_broken_device():
    said = {"outcome": "Failed", "reason": "Exception", "message": "x" * 3000}
    found = failure(job(), pod(job(), 0, exit_code=1, said=said, devices={"GPU-4d2c": "Unhealthy"}))

    assert (1000, True) == (
        len(found.message),
        found.message.endswith("xx; the kubelet calls unhealthy: nvidia.com/gpu GPU-4d2c"),
    )
