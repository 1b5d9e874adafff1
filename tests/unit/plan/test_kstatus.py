"""Tools that know nothing of training wait for a job by its conditions (kstatus: Flux, kpt, Argo CD's default).

The algorithm below is kstatus's generic one: sigs.k8s.io/cli-utils, pkg/kstatus, README.
"""

import pytest

from builders import at, job, pod, with_spec, with_status
from ganger.plan.decide import decide
from ganger.plan.seen import Seen


def computed(job_):
    """kstatus's word for an object without a Ready condition."""
    if job_.status.observed_generation != job_.metadata.generation:
        return "InProgress"
    if job_.status.is_true("Reconciling"):
        return "InProgress"
    return "Failed" if job_.status.is_true("Stalled") else "Current"


def passed(job_, seconds, *pods):
    return with_status(job_, decide(job_, Seen(pods=pods), at(seconds)).status)


@pytest.fixture
def alone():
    return job(workers=1)


def test_a_job_is_in_progress_until_its_workers_run(alone):
    waiting = passed(alone, 1)
    running = passed(waiting, 5, pod(alone, 0))

    assert ["InProgress", "InProgress", "Current"] == [computed(one) for one in (alone, waiting, running)]


def test_a_job_that_ended_well_is_current_and_one_that_did_not_has_failed(alone):
    running = passed(alone, 5, pod(alone, 0))
    complete = passed(running, 9, pod(alone, 0, exit_code=0))
    failed = passed(running, 9, pod(alone, 0, exit_code=78, said={"outcome": "UserError", "reason": "ConfigInvalid"}))

    assert ["Current", "Failed"] == [computed(complete), computed(failed)]
    assert "ConfigInvalid" in failed.status.condition("Stalled").message


def test_a_restart_is_progress_again(alone):
    restarting = passed(passed(alone, 5, pod(alone, 0)), 9, pod(alone, 0, exit_code=1))

    assert "InProgress" == computed(restarting)
    assert "Current" == computed(passed(restarting, 20, pod(alone, 0, attempt=1)))


def test_a_suspended_job_waits_for_nobody(alone):
    running = passed(alone, 5, pod(alone, 0))
    suspended = passed(with_spec(running, suspend=True), 9, pod(alone, 0))

    assert "Current" == computed(suspended)


def test_times_move_only_when_a_condition_flips(alone):
    first = passed(alone, 1)
    second = passed(first, 3, pod(alone, 0, phase="Pending", waiting=("ContainerCreating", "")))

    assert first.status != second.status
    assert at(1) == second.status.condition("Reconciling").last_transition_time
