"""Each invariant is seen to be broken by the smallest history that breaks it."""

import pytest

from chaos.invariants import violations

UID = "job-1"


def job(version, *, attempt=0, counted=0, total=None, limit=3, conditions=(), **status):
    return {
        "kind": "TrainingJob",
        "metadata": {"name": "digits", "uid": UID, "resourceVersion": str(version)},
        "spec": {"failurePolicy": {"maxRestarts": limit}},
        "status": {
            "attempt": attempt,
            "restarts": {"counted": counted, "total": counted if total is None else total},
            "conditions": list(conditions),
        }
        | status,
    }


def pod(version, worker=0, *, attempt=0, phase="Running", uid="", owner=UID, env=None, conditions=(), **meta):
    return {
        "kind": "Pod",
        "metadata": {
            "name": f"digits-{attempt}-{worker}",
            "uid": uid or f"pod-{attempt}-{worker}",
            "resourceVersion": str(version),
            "labels": {
                "ganger.dev/job-uid": UID,
                "ganger.dev/attempt": str(attempt),
                "ganger.dev/worker": str(worker),
            },
            "ownerReferences": [{"kind": "TrainingJob", "uid": owner, "controller": True}],
        }
        | meta,
        "spec": {"containers": [{"env": [{"name": "GANGER_ATTEMPT", "value": str(attempt) if env is None else env}]}]},
        "status": {"phase": phase, "conditions": list(conditions)},
    }


def grouped(a_pod, group):
    return a_pod | {"spec": a_pod["spec"] | {"schedulingGroup": {"podGroupName": group}}}


def exporter(version, number):
    """A pod that makes model files."""
    found = pod(version, uid=f"export-{number}", env="0")
    found["metadata"]["name"] = f"digits-export-{number}"
    found["metadata"]["labels"]["ganger.dev/worker"] = f"export-{number}"
    return found


def said(type_, status="True", time="1", message=""):
    return {"type": type_, "status": status, "lastTransitionTime": time, "message": message}


LOST = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}
GOOD = [
    ("ADDED", job(1)),
    ("ADDED", pod(2, 0)),
    ("ADDED", pod(3, 1)),
    ("MODIFIED", pod(4, 1, phase="Failed")),
    ("MODIFIED", job(5, attempt=1, counted=1)),
    ("DELETED", pod(6, 0)),
    ("ADDED", grouped(pod(7, 0, attempt=1), "digits-1")),
    ("ADDED", pod(8, 1, attempt=1)),
    ("MODIFIED", job(9, attempt=1, counted=1, conditions=[said("Complete")])),
    ("MODIFIED", pod(10, 0, attempt=1, phase="Succeeded")),
]
SHADOW = [
    ("ADDED", job(1, attempt=1)),
    ("ADDED", pod(2)),
    ("MODIFIED", pod(3, conditions=[LOST], deletionTimestamp="1")),
    ("ADDED", pod(4, attempt=1)),
]


def given_up(told):
    """Attempt 1 begins while a pod of attempt 0 should have ended at that time, and has not."""
    return [
        ("ADDED", job(1, attempt=1)),
        ("ADDED", pod(2)),
        ("MODIFIED", pod(3, deletionTimestamp=told)),
        ("ADDED", pod(4, attempt=1, creationTimestamp="2026-01-01T00:01:00Z")),
    ]


def profiled(version, worker, digest):
    """A pod that was made with a profile of that digest."""
    made = pod(version, worker)
    return made | {"metadata": made["metadata"] | {"annotations": {"ganger.dev/profile": digest}}}


def naming(version):
    """A job that names a profile."""
    body = job(version)
    return body | {"spec": body["spec"] | {"profile": "gpu"}}


BROKEN = {
    "INV-18 digits-0-1 was made with another profile than digits-0-0": [
        ("ADDED", naming(1)),
        ("ADDED", profiled(2, 0, "aa")),
        ("ADDED", profiled(3, 1, "bb")),
    ],
    "INV-21 digits-export-0 was made before try 0 was written; the status has -1": [
        ("ADDED", job(1)),
        ("ADDED", exporter(2, 0)),
    ],
    "INV-21 digits-export-1 was made while digits-export-0 lives": [
        ("ADDED", job(1, export={"number": 0})),
        ("ADDED", exporter(2, 0)),
        ("MODIFIED", job(3, export={"number": 1})),
        ("ADDED", exporter(4, 1)),
    ],
    "INV-21 digits-0-0 was made after the training of digits was done": [
        ("ADDED", job(1, export={"number": 0})),
        ("ADDED", pod(2)),
    ],
    "INV-18 digits-0-0 of a job with profile gpu carries ''": [("ADDED", naming(1)), ("ADDED", pod(2))],
    "INV-18 digits-0-0 of a job with profile None carries 'aa'": [("ADDED", job(1)), ("ADDED", profiled(2, 0, "aa"))],
    "INV-1 digits-1-0 lives beside digits-0-0": [
        ("ADDED", job(1, attempt=1)),
        ("ADDED", pod(2)),
        ("ADDED", pod(3, attempt=1)),
    ],
    "INV-2 digits-1-0 was made before attempt 1 was written": [("ADDED", job(1)), ("ADDED", pod(2, attempt=1))],
    "INV-2 digits-0-0: environment 4, label 0": [("ADDED", job(1)), ("ADDED", pod(2, env="4"))],
    "INV-2 digits-1-0 is scheduled with group digits-0, not with that of attempt 1": [
        ("ADDED", job(1, attempt=1)),
        ("ADDED", grouped(pod(2, attempt=1), "digits-0")),
    ],
    "INV-2 digits: attempt and round went back from (2, 0) to (1, 0)": [
        ("ADDED", job(1, attempt=2)),
        ("MODIFIED", job(2, attempt=1)),
    ],
    "INV-3 digits: a restart without a new attempt or round: (0, 0) to (0, 0)": [
        ("ADDED", job(1)),
        ("MODIFIED", job(2, counted=1)),
    ],
    "INV-3 digits: 4 restarts counted, 3 allowed": [
        ("ADDED", job(1, attempt=3, counted=3)),
        ("MODIFIED", job(2, attempt=4, counted=4)),
    ],
    "INV-3 digits: 1 restarts counted of 0": [
        ("ADDED", job(1, counted=1, total=0)),
        ("MODIFIED", job(2, counted=1, total=0)),
    ],
    "INV-4 digits-0-0 was made after the end of digits": [
        ("ADDED", job(1, conditions=[said("Failed")])),
        ("ADDED", pod(2)),
    ],
    "INV-4 digits: the status changed after the end": [
        ("ADDED", job(1, conditions=[said("Complete")])),
        ("MODIFIED", job(2, conditions=[said("Complete")], phase="Running")),
    ],
    "INV-6 digits: two conditions Running": [("ADDED", job(1, conditions=[said("Running"), said("Running")]))],
    "INV-6 digits: the message of Running is too long": [
        ("ADDED", job(1, conditions=[said("Running", message="x" * 1025)]))
    ],
    "INV-6 digits: Running stayed True but lastTransitionTime moved": [
        ("ADDED", job(1, conditions=[said("Running")])),
        ("MODIFIED", job(2, conditions=[said("Running", time="2")])),
    ],
}


@pytest.mark.parametrize("history", [GOOD, SHADOW], ids=["a restart", "a lost node"])
def test_a_history_that_keeps_the_invariants_has_no_violation(history):
    assert [] == violations(history)


@pytest.mark.parametrize("breach", BROKEN)
def test_the_smallest_breach_of_each_invariant_is_named(breach):
    assert [breach] == violations(BROKEN[breach])


def policy(version):
    owners = [{"kind": "TrainingJob", "uid": UID, "controller": True}]
    meta = {"name": "digits-gang", "uid": "policy", "resourceVersion": str(version), "ownerReferences": owners}
    return {"kind": "NetworkPolicy", "metadata": meta}


def test_a_pod_of_an_isolated_job_comes_after_its_policy_which_is_written_once():
    late = [("ADDED", job(1)), ("ADDED", pod(2)), ("ADDED", policy(3)), ("MODIFIED", policy(4))]

    assert [] == violations([("ADDED", job(1)), ("ADDED", policy(2)), ("ADDED", pod(3))], isolates=True)
    assert [
        "INV-19 digits-0-0 was made before the policy of its job",
        "INV-19 the policy of job-1 was written again",
    ] == violations(late, isolates=True)


def test_two_writes_of_a_count_in_one_are_named_for_both_counts():
    history = [("ADDED", job(1)), ("MODIFIED", job(2, attempt=2, counted=2))]

    assert [
        "INV-3 digits: restarts.total went from 0 to 2 in one write",
        "INV-3 digits: restarts.counted went from 0 to 2 in one write",
    ] == violations(history)


def test_a_pod_that_is_of_no_job_breaks_the_tenth():
    stranger = pod(2, owner="other")

    assert 1 == len(violations([("ADDED", job(1)), ("ADDED", stranger)]))


def test_a_pod_that_does_not_end_is_given_up_after_its_time_and_not_before():
    assert [] == violations(given_up("2026-01-01T00:00:00Z"))
    assert ["INV-1 digits-1-0 lives beside digits-0-0"] == violations(given_up("2026-01-01T00:00:01Z"))


def test_events_of_two_watches_are_put_in_the_servers_order_first():
    assert [] == violations([("ADDED", pod(2)), ("ADDED", job(1))])
