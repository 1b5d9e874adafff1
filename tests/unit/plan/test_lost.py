"""Pods that do not end, and what a job makes of it: it never waits for them for ever."""

import msgspec
import pytest

from builders import at, job, pod, running_gang, with_spec, with_status
from ganger.api.observed import Service
from ganger.plan.decide import decide
from ganger.plan.seen import Seen

GRACE = 60.0
OPERATED = [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager", "message": "taint"}]


def running(job_):
    return with_status(job_, decide(job_, Seen(pods=running_gang(job_)), at(2)).status)


def leaving(job_, worker, *, attempt=0, until=30.0, node="node-1", **kind):
    """A live pod that was told to end, and had until then to do so."""
    plain = pod(job_, worker, attempt=attempt, leaving=True, **kind)
    return msgspec.structs.replace(
        plain,
        metadata=msgspec.structs.replace(plain.metadata, deletion_timestamp=at(until)),
        spec=msgspec.structs.replace(plain.spec, node_name=node),
    )


def names_of(manifests):
    return [manifest["metadata"]["name"] for manifest in manifests]


def restarted(pods):
    """The job after the pass that saw those pods of its running gang."""
    a_job = running(job())
    return with_status(a_job, decide(a_job, Seen(pods=pods), at(12)).status)


def stuck():
    """A job whose worker 1 was told to end by the taint manager and does not, and that pod."""
    gone = leaving(job(), 1, conditions=OPERATED)
    return restarted((pod(job(), 0), gone)), gone


def test_gang_waits_for_an_old_worker_until_it_is_given_up_and_wakes_then():
    a_job, gone = stuck()
    decision = decide(a_job, Seen(pods=(gone,)), at(80))

    assert "NodeLost" == a_job.status.restarts.last.reason
    assert ((), 10.0) == (decision.pods, decision.requeue_after_seconds)
    assert "WaitingForOldWorkers" == decision.status.condition("PodsReady").reason


def test_worker_of_a_lost_node_is_given_up_at_that_very_moment_and_the_node_avoided():
    a_job, gone = stuck()
    first = decide(a_job, Seen(pods=(gone,)), at(30 + GRACE))
    second = decide(with_status(a_job, first.status), Seen(pods=(gone,)), at(30 + GRACE))

    assert ("node-1",) == first.status.excluded_nodes
    assert [("NodesChanged", True)] == [(event.reason, event.warning) for event in first.events]
    assert ["digits-1-0", "digits-1-1"] == names_of(second.pods)
    assert () == second.deletions, "what does not end is not deleted again"


def test_pod_that_somebody_deleted_on_a_lost_node_is_told_as_the_loss_of_the_node():
    gone = leaving(job(), 1)
    a_job = restarted((pod(job(), 0), gone))
    assert "PodDeleted" == a_job.status.restarts.last.reason
    last = decide(a_job, Seen(pods=(gone,)), at(30 + GRACE)).status.restarts.last
    told = "pod digits-0-1 did not end 60 s after its grace period: node node-1 is taken for lost"

    assert ("NodeLost", "node-1") == (last.reason, last.node)
    assert last.message.startswith(told)


def test_lost_node_is_noted_once():
    a_job, gone = stuck()
    a_job = with_status(a_job, decide(a_job, Seen(pods=(gone,)), at(95)).status)
    pods = (gone, *running_gang(a_job, attempt=1))
    a_job = with_status(a_job, decide(a_job, Seen(pods=pods), at(99)).status)

    assert "Running" == a_job.status.phase
    assert decide(a_job, Seen(pods=pods, service=_service()), at(200)).empty


def _service():
    owner = msgspec.convert({"uid": "uid-1", "controller": True}, dict)
    return msgspec.convert({"metadata": {"name": "digits-gang", "ownerReferences": [owner]}}, Service)


def test_grace_is_the_users():
    a_job = with_spec(stuck()[0], failure_policy=msgspec.structs.replace(_policy(), node_lost_grace_period_seconds=5))

    assert () == decide(a_job, Seen(pods=(stuck()[1],)), at(34)).pods
    a_job = with_status(a_job, decide(a_job, Seen(pods=(stuck()[1],)), at(35)).status)
    assert 2 == len(decide(a_job, Seen(pods=(stuck()[1],)), at(35)).pods)


def _policy():
    return job().spec.failure_policy


def test_worker_that_is_lost_while_its_gang_comes_up_opens_another_attempt():
    a_job = job()
    pods = (leaving(a_job, 0, phase="Pending"), pod(a_job, 1, phase="Pending"))
    early, late = decide(a_job, Seen(pods=pods), at(80)), decide(a_job, Seen(pods=pods), at(90))

    assert (0, 10.0) == (early.status.attempt, early.requeue_after_seconds)
    assert (1, "NodeLost", 0) == (
        late.status.attempt, late.status.restarts.last.reason, late.status.restarts.counted,
    )  # fmt: skip


def suspended(pods):
    """A job that was suspended while it ran; its pods were told to end."""
    a_job = with_spec(running(job()), suspend=True)
    return with_status(a_job, decide(a_job, Seen(pods=pods), at(20)).status)


def test_suspended_job_waits_for_nobody():
    pods = (leaving(job(), 0), leaving(job(), 1))

    assert decide(suspended(pods), Seen(pods=pods), at(1000)).empty


@pytest.mark.parametrize("kind", [{}, {"phase": "Failed", "exit_code": 143}], ids=["alive", "ended"])
def test_resume_takes_other_names_than_those_of_lost_workers(kind):
    pods = (leaving(job(), 0, **kind), leaving(job(), 1, **kind))
    a_job = with_spec(suspended(pods), suspend=False)
    early = decide(a_job, Seen(pods=pods), at(80))
    assert ((), None, 10.0) == (early.pods, early.status, early.requeue_after_seconds)

    for _ in range(3):
        decision = decide(a_job, Seen(pods=pods), at(90))
        a_job = with_status(a_job, decision.status)
    assert (1, False) == (a_job.status.attempt, a_job.status.is_true("Suspended"))
    assert ["digits-1-0", "digits-1-1"] == names_of(decide(a_job, Seen(pods=pods), at(90)).pods)


def test_resume_waits_for_the_workers_that_may_still_end():
    pods = (leaving(job(), 0, until=30), leaving(job(), 1, until=40))
    a_job = with_spec(suspended(pods), suspend=False)

    assert decide(a_job, Seen(pods=pods), at(95)).empty
    assert 5.0 == decide(a_job, Seen(pods=pods), at(95)).requeue_after_seconds
    assert 1 == decide(a_job, Seen(pods=pods), at(100)).status.attempt


def test_job_ends_beside_a_lost_worker():
    a_job, gone = stuck()
    a_job = with_status(a_job, decide(a_job, Seen(pods=(gone,)), at(90)).status)
    done = tuple(pod(a_job, worker, attempt=1, exit_code=0) for worker in range(2))
    a_job = with_status(a_job, decide(a_job, Seen(pods=(gone, *done)), at(100)).status)

    assert "Complete" == a_job.status.phase
    assert decide(a_job, Seen(pods=(gone, *done)), at(200)).empty
