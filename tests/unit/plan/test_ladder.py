"""Which rung of the ladder a failure takes, and what the status says of it."""

from typing import Any

import msgspec
import pytest

from builders import at, job, pod, running_gang, with_status
from ganger.api.status import Restarts
from ganger.contract import RESTART_CONTAINER_EXIT_CODE, ROUNDS_MAX
from ganger.plan import ladder, pods
from ganger.plan.decide import decide
from ganger.plan.gang import gang
from ganger.plan.live import Heard, Live, LiveReport, ReportedFailure
from ganger.plan.report import ReportedCheckpoint
from ganger.plan.seen import Seen
from ganger.plan.site import NOWHERE, Site

KILLED = ReportedFailure(reason="ProcessKilled", message="rank 1 was ended by SIGKILL", rank=1, exit_code=137)
VICTIM = ReportedFailure(reason="PeerLost", message="rank 1 hung up", rank=0, exit_code=1)


NEW = Site(restarts_containers=True)


def heard(worker: int, seconds: float = 100.0, **said: Any) -> Heard:
    """What a worker said last, by default that it trains."""
    report = LiveReport(**{"attempt": 0, "worker": worker, "sequence": 9, "phase": "Training", "step": 7} | said)
    return Heard(report=report, at=at(seconds))


def failed(worker: int, failure: ReportedFailure, seconds: float = 100.0, **said: Any) -> Heard:
    return heard(worker, seconds, phase="Failed", failure=failure, **said)


def running(**spec: Any):
    """A job whose two workers run since long."""
    job_ = job(**spec)
    status = decide(job_, Seen(pods=running_gang(job_)), at(2)).status
    return with_status(job_, status)


def after(job_, *words: Heard, seconds: float = 100.0, pods=None, site=NEW):
    """One decision, with all pods running, and the job with the status that it writes."""
    pods = running_gang(job_, attempt=job_.status.attempt) if pods is None else pods
    live = next((Live(report=word.report, at=word.at) for word in words if word.report.worker == 0), None)
    decision = decide(job_, Seen(pods=pods, heard=words, live=live), at(seconds), site=site)
    return decision, with_status(job_, decision.status)


def broken(job_, seconds: float = 100.0, **said: Any):
    """The job after its rank 1 was killed, which worker 0 saw at once."""
    words = (failed(0, VICTIM, seconds, **said), failed(1, KILLED, seconds, **said))
    return after(job_, *words, seconds=seconds)


def told(job_):
    """Round, rung, attempt of a status."""
    restarts = job_.status.restarts
    return job_.status.round, restarts.last.rung, job_.status.attempt


def test_a_worker_that_reports_its_failure_restarts_the_gang_in_its_pods():
    decision, job_ = broken(running())

    assert (1, "Process", 0) == told(job_)
    assert () == decision.deletions
    assert () == decision.pods
    last = job_.status.restarts.last
    assert ("ProcessKilled", 1, 137, "digits-0-1") == (last.reason, last.rank, last.exit_code, last.pod)
    assert (1, 1, 1) == (job_.status.restarts.total, job_.status.restarts.counted, job_.status.restarts.in_place)
    assert ("Restarting", "2/2", True, False) == (
        job_.status.phase, job_.status.workers, job_.status.is_true("PodsReady"), job_.status.is_true("Running"),
    )  # fmt: skip
    (event,) = decision.events
    assert "in the same pods round 1 starts (counted)" in event.message


def test_it_is_judged_as_the_ended_pod_that_it_would_be():
    """Class, count, backoff, blame and lost steps are those of today's restart of the pods."""
    said = {"step": 40, "totalSteps": 100, "resumedFromStep": 20}
    job_ = running()
    _, here = broken(job_, step=40, total_steps=100, resumed_from_step=20)
    ended = (
        pod(job_, 0, exit_code=1, said=said | {"reason": "PeerLost", "message": VICTIM.message, "rank": 0}, ended=100),
        pod(job_, 1, exit_code=137, ended=100,
            said=said | {"reason": "ProcessKilled", "message": KILLED.message, "rank": 1}),
    )  # fmt: skip
    _, there = after(job_, heard(0, step=40, total_steps=100, resumed_from_step=20), pods=ended)

    same = {"rung": None, "node": ""}
    assert msgspec.structs.replace(there.status.restarts.last, **same) == msgspec.structs.replace(
        here.status.restarts.last, **same
    )
    for name in ("total", "counted", "without_progress", "steps_without_progress", "next_attempt_time"):
        assert getattr(there.status.restarts, name) == getattr(here.status.restarts, name), name
    assert there.status.goodput == here.status.goodput
    assert 20 == here.status.goodput.lost_steps


def test_the_first_word_of_a_victim_alone_waits_for_the_culprit():
    decision, _ = after(running(), failed(0, VICTIM), heard(1))

    assert decision.status is None
    assert 0 < decision.requeue_after_seconds <= 1


def test_failures_without_progress_climb_the_ladder():
    job_ = running(failurePolicy={"noProgressRestarts": 9, "maxRestarts": 9})
    seen = []
    for number in range(4):
        _, job_ = broken(job_, 100.0 + 60 * number, round=job_.status.round, attempt=job_.status.attempt)
        seen.append(told(job_))
        _, job_ = after(
            job_,
            *(
                heard(worker, 130 + 60 * number, round=job_.status.round, attempt=job_.status.attempt)
                for worker in (0, 1)
            ),
            seconds=130 + 60 * number,
        )
        assert job_.status.is_true("Running")

    assert [(1, "Process", 0), (2, "Container", 0), (0, "Pods", 1), (1, "Process", 1)] == seen


def test_a_cluster_without_restart_rules_has_a_ladder_without_that_rung():
    _, job_ = broken(running())

    words = (failed(0, VICTIM, 160, round=1), failed(1, KILLED, 160, round=1))
    _, job_ = after(job_, *words, seconds=160, site=NOWHERE)

    assert (0, "Pods", 1) == told(job_)


def test_a_checkpoint_brings_the_gang_down_to_the_first_rung():
    job_ = running(checkpoint={"everySteps": 10, "volume": {"claimName": "c"}})
    for number in range(1, 4):
        point = ReportedCheckpoint(step=10 * number)
        _, job_ = broken(job_, 100.0 * number, round=job_.status.round, checkpoint=point, step=10 * number + 3)
        assert (number, "Process", 0) == told(job_)
        assert 1 == job_.status.restarts.in_place


def test_the_backoff_of_a_restart_in_place_is_told_with_the_order():
    _, job_ = broken(running())
    _, job_ = broken(job_, 103.0, round=1)

    assert ladder.Order(round=2, rung="Container", start_seconds=3.0) == ladder.order(job_.status, at(105))
    assert 0.0 == ladder.order(job_.status, at(109)).start_seconds


def test_a_status_without_rounds_orders_nothing():
    assert ladder.Order() == ladder.order(running().status, at(100))


def test_what_was_answered_already_is_not_judged_again():
    _, job_ = broken(running())

    decision, _ = after(job_, failed(0, VICTIM), failed(1, KILLED), seconds=100.2)

    assert decision.status is None


def test_the_gang_runs_again_when_every_worker_is_in_the_round():
    _, job_ = broken(running())
    decision, _ = after(job_, heard(0, 102, round=1), failed(1, KILLED, 100), seconds=102)
    assert decision.status is None

    decision, job_ = after(job_, heard(0, 102, round=1), heard(1, 102.5, round=1), seconds=102.5)

    assert "Running" == job_.status.phase
    assert ["Running"] == [event.reason for event in decision.events]


def test_a_round_that_does_not_come_about_falls_through_to_new_pods_and_is_counted_once():
    _, job_ = broken(running())
    late = 100 + ladder.ROUND_SECONDS
    decision, _ = after(job_, heard(0, 102, round=1), failed(1, KILLED, 100), seconds=late - 1)
    assert 1.0 == decision.requeue_after_seconds

    _, job_ = after(job_, heard(0, 102, round=1), failed(1, KILLED, 100), seconds=late)

    assert (0, "Pods", 1) == told(job_)
    assert (2, 1) == (job_.status.restarts.total, job_.status.restarts.counted)


def test_a_gang_that_nobody_hears_any_more_counts_as_running():
    """The operator lost its channel, not the gang its processes."""
    _, job_ = broken(running())

    _, job_ = after(job_, seconds=110)

    assert "Running" == job_.status.phase


def test_a_container_that_is_not_started_anew_falls_through_to_new_pods_and_is_counted_once():
    """A kubelet before 1.36 knows no such rule: the pod ends with the code that should have restarted it."""
    _, job_ = broken(running())
    _, job_ = broken(job_, 110, round=1)
    left = pod(job_, 1, exit_code=RESTART_CONTAINER_EXIT_CODE, said={"outcome": "Failed", "reason": "ProcessKilled"})

    _, job_ = after(job_, heard(0, 112, round=1), pods=(pod(job_, 0), left), seconds=112)

    assert (0, "Pods", 1) == told(job_)
    assert (3, 2) == (job_.status.restarts.total, job_.status.restarts.counted)
    assert "ProcessKilled" == job_.status.restarts.last.reason


RULE = {"rules": [{"action": "ExcludeNode", "onReasons": ["ProcessKilled"], "name": "node"}]}


@pytest.mark.parametrize(
    ("spec", "words", "change"),
    [
        ({"failurePolicy": RULE}, (heard(0), failed(1, KILLED)), {}),
        ({}, (failed(1, KILLED),), {}),  # worker 0 was never heard of
        ({}, (heard(0, 100 - ladder.DEAF_SECONDS - 1), failed(1, KILLED)), {}),
        ({}, (heard(0, round=ROUNDS_MAX - 1), failed(1, KILLED, round=ROUNDS_MAX - 1)), {"round": ROUNDS_MAX - 1}),
        ({}, (heard(0), failed(1, msgspec.structs.replace(KILLED, reason="RendezvousTimeout"), 90)), {}),
    ],
)  # fmt: skip
def test_what_needs_other_pods_takes_the_last_rung_at_once(spec, words, change):
    job_ = running(**spec)
    job_ = with_status(job_, msgspec.structs.replace(job_.status, restarts=Restarts(), **change))

    _, job_ = after(job_, *words)

    assert (0, "Pods", 1) == told(job_)


@pytest.mark.parametrize("other", [{"exit_code": 137, "reason": "OOMKilled"}, {"leaving": True}, {"exit_code": 0}])
def test_a_gang_of_which_a_pod_is_gone_gets_new_pods(other):
    job_ = running()

    _, job_ = after(job_, heard(0), failed(1, KILLED), pods=(pod(job_, 0, **other), pod(job_, 1)))

    assert (0, "Pods", 1) == told(job_)


def test_a_failure_that_ends_the_job_ends_it_while_the_pods_still_run():
    job_ = running(failurePolicy={"maxRestarts": 0})
    _, job_ = after(job_, heard(0), failed(1, KILLED))

    assert "Failed" == job_.status.phase
    pods = running_gang(job_)
    deleted = decide(job_, Seen(pods=pods, heard=(heard(0), failed(1, KILLED))), at(101)).deletions
    assert {"digits-0-0", "digits-0-1"} == {deletion.metadata.name for deletion in deleted}


def test_rounds_begin_anew_in_the_pods_of_a_resumed_job():
    _, job_ = broken(running())
    suspended = msgspec.structs.replace(job_, spec=msgspec.structs.replace(job_.spec, suspend=True))
    _, suspended = after(suspended, seconds=101)
    assert suspended.status.is_true("Suspended")

    resumed = msgspec.structs.replace(suspended, spec=job_.spec)
    status = decide(resumed, Seen(), at(110)).status

    assert 0 == status.round


def test_a_status_older_than_the_rounds_of_the_workers_goes_on_after_them():
    """As after a restore of etcd: a round that the workers have had already would restart nothing."""
    _, job_ = broken(running(), round=3)

    assert 4 == job_.status.round


def test_a_container_on_its_way_to_start_anew_is_no_failure():
    _, job_ = broken(running())
    _, job_ = broken(job_, 110, round=1)
    restarting = tuple(pod(job_, worker, waiting=("ContainerCreating", "")) for worker in (0, 1))
    assert 2 == gang(restarting, 0, 2).num_running

    decision, _ = after(job_, heard(0, 110, round=1), heard(1, 110, round=1), pods=restarting, seconds=112)

    assert decision.status is None
    assert () == decision.deletions


LISTENS = Site(control_url="https://operator:9443", authority="PEM", restarts_containers=True)


@pytest.mark.parametrize(
    ("spec", "site", "expected"),
    [
        ({}, LISTENS, True),
        ({}, msgspec.structs.replace(LISTENS, restarts_containers=False), False),
        ({}, NEW, False),  # nobody would ask for it
        ({"task": None, "command": ["sleep", "1"]}, LISTENS, False),  # no supervisor that ends with that code for it
    ],
)
def test_the_rule_that_starts_containers_anew_is_on_pods_whose_supervisor_may_be_asked(spec, site, expected):
    (container,) = pods.pod(job(**spec), 0, 0, site)["spec"]["containers"]

    rule = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [RESTART_CONTAINER_EXIT_CODE]}}
    found = container.get("restartPolicy"), container.get("restartPolicyRules")
    assert (("Never", [rule]) if expected else (None, None)) == found


def test_gang_with_a_broken_device_is_not_restarted_on_it_and_its_node_is_avoided():
    healthy = running()
    sick = (pod(healthy, 0), pod(healthy, 1, devices={"GPU-4d2c": "Unhealthy"}))
    words = (failed(0, VICTIM), failed(1, KILLED))
    _, well = after(healthy, *words)
    _, moved = after(healthy, *words, pods=sick)
    last = moved.status.restarts.last

    assert ((1, "Process", 0), (0, "Pods", 1)) == (told(well), told(moved))
    assert "rank 1 was ended by SIGKILL; the kubelet calls unhealthy: nvidia.com/gpu GPU-4d2c" == last.message
    assert ("node-1",) == moved.status.excluded_nodes
