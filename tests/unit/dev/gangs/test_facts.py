"""What is read of the events of pods, Workloads and jobs."""

import json
from fractions import Fraction

from ganger_dev.gangs import facts

LABELS = {"ganger.dev/job": "batch-1", "ganger.dev/attempt": "2"}


def body(**parts):
    metadata = {"name": "x", "resourceVersion": "17"} | parts.pop("metadata", {})
    return json.dumps({"metadata": metadata} | parts).encode()


def container(**requests):
    return {"name": "c", "resources": {"requests": requests}}


def test_a_pod_is_told_with_its_place_and_with_what_it_takes():
    spec = {
        "nodeName": "kwok-3",
        "initContainers": [container(cpu="2", memory="1Gi")],
        "containers": [container(cpu="500m", memory="2Gi"), container(cpu="1")],
    }
    text = body(metadata={"labels": LABELS}, spec=spec, status={"phase": "Running"})
    seen = facts.pod("MODIFIED", text, 1.5)
    assert (17, 1.5, "x", "batch-1", 2) == (seen.version, seen.at, seen.name, seen.gang, seen.attempt)
    assert {"cpu": Fraction(2), "memory": Fraction(2 * 1024**3)} == seen.requests
    assert seen.is_live
    assert not facts.pod("DELETED", text, 1.5).is_live


def test_a_pod_without_a_node_or_at_its_end_holds_no_place():
    assert not facts.pod("ADDED", body(status={"phase": "Pending"}), 0.0).is_live
    for phase in ("Succeeded", "Failed"):
        assert not facts.pod("ADDED", body(spec={"nodeName": "n"}, status={"phase": phase}), 0.0).is_live
    # It holds its place until it is gone, also while it is being deleted.
    leaving = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    text = body(metadata=leaving, spec={"nodeName": "n"}, status={"phase": "Running"})
    assert facts.pod("MODIFIED", text, 0.0).is_live


def workload(*conditions, admitted=True):
    sets = [
        {"name": "workers", "count": 16, "resourceUsage": {"cpu": "16", "nvidia.com/gpu": "16"}},
        {"name": "more", "count": 1, "resourceUsage": {"cpu": "500m"}},
    ]
    told = [{"type": type_, "status": status, "reason": reason} for type_, status, reason in conditions]
    status = {"conditions": told, "admission": {"clusterQueue": "north", "podSetAssignments": sets}}
    return body(metadata={"labels": LABELS}, status=status if admitted else {"conditions": told})


def test_a_workload_holds_quota_from_its_admission_to_its_end():
    seen = facts.workload("MODIFIED", workload(("Admitted", "True", "Admitted")), 0.0)
    assert ("batch-1", "north", 17) == (seen.gang, seen.queue, seen.pods)
    assert {"cpu": Fraction(33, 2), "nvidia.com/gpu": Fraction(16)} == seen.usage
    free = (
        facts.workload("MODIFIED", workload(("Finished", "True", "Succeeded")), 0.0),
        facts.workload("DELETED", workload(), 0.0),
        facts.workload("ADDED", workload(admitted=False), 0.0),
    )
    assert [("", 0, {})] * 3 == [(one.queue, one.pods, one.usage) for one in free]


def test_an_evicted_workload_holds_its_quota_until_it_is_given_back():
    seen = facts.workload("MODIFIED", workload(("Evicted", "True", "Preempted")), 0.0)
    assert ("Preempted", "north") == (seen.evicted, seen.queue)
    assert "" == facts.workload("MODIFIED", workload(("Evicted", "False", "QuotaReserved")), 0.0).evicted


def test_a_job_is_told_with_its_phase_and_with_why_its_attempt_began():
    status = {"phase": "Running", "attempt": 1, "message": "m", "restarts": {"last": {"reason": "Preempted"}}}
    seen = facts.job("MODIFIED", body(status=status), 0.0)
    assert ("Running", 1, "Preempted", "m") == (seen.phase, seen.attempt, seen.reason, seen.told)
    assert "Deleted" == facts.job("DELETED", body(status=status), 0.0).phase
    assert "" == facts.job("ADDED", body(), 0.0).phase
