"""The fate of a gang, by exit code and rule."""

from itertools import permutations

import pytest

from builders import at, job, pod, with_status
from ganger.api.status import Restarts, TrainingJobStatus
from ganger.plan.failure import judge
from ganger.plan.gang import gang


def verdict(exit_code, *, rules=(), counted=0, reason="", said=None, conditions=None, steps=(), step=None, **policy):
    a_job = job(failurePolicy={"rules": list(rules), **policy})
    restarts = Restarts(counted=counted, total=counted, without_progress=counted, steps_without_progress=steps)
    a_job = with_status(a_job, TrainingJobStatus(restarts=restarts))
    failed = pod(a_job, 1, exit_code=exit_code, reason=reason, said=said, conditions=conditions)
    members = gang((pod(a_job, 0), failed), 0, 2)
    return judge(a_job, members, progressed=False, step=step, now=at(14))


@pytest.mark.parametrize(
    "exit_code, action, counted, reason",
    [
        (1, "restart", True, "ProcessExited"),
        (2, "restart", True, "ProcessExited"),
        (65, "fail", False, "ProcessExited"),
        (66, "fail", False, "ProcessExited"),
        (75, "restart", False, "Fenced"),
        (78, "fail", False, "ProcessExited"),
        (130, "restart", True, "ProcessKilled"),
        (137, "restart", True, "ProcessKilled"),
        (139, "restart", True, "ProcessKilled"),
        (143, "restart", False, "Preempted"),
    ],
)
def test_exit_code_decides_where_no_rule_does(exit_code, action, counted, reason):
    found = verdict(exit_code)

    assert (action, counted, reason) == (found.action, found.counted, found.reason)


FATE = {
    "Count": ("restart", True, False),
    "Ignore": ("restart", False, False),
    "FailJob": ("fail", False, False),
    "ExcludeNode": ("restart", True, True),
}


@pytest.mark.parametrize("exit_code", [1, 2, 130, 137, 139])
@pytest.mark.parametrize("order", list(permutations(FATE)), ids="-".join)
def test_first_rule_that_matches_wins_in_every_order(exit_code, order):
    rules = [{"name": f"r{n}", "onExitCodes": [exit_code], "action": action} for n, action in enumerate(order)]
    found = verdict(exit_code, rules=rules)

    assert FATE[order[0]] == (found.action, found.counted, found.exclude)


@pytest.mark.parametrize("exit_code", [1, 2, 130, 137, 139])
@pytest.mark.parametrize("action", FATE)
def test_rules_for_other_codes_are_passed_over(exit_code, action):
    rules = [
        {"name": "no", "onExitCodes": [3], "action": "FailJob"},
        {"name": "yes", "onExitCodes": [3, exit_code], "action": action},
    ]
    found = verdict(exit_code, rules=rules)

    assert FATE[action] == (found.action, found.counted, found.exclude)


@pytest.mark.parametrize("exit_code", [75, 143])
@pytest.mark.parametrize("action", FATE)
def test_worker_that_stopped_as_told_is_never_counted_whatever_the_rules(exit_code, action):
    found = verdict(exit_code, rules=[{"name": "r", "onExitCodes": [exit_code], "action": action}])

    assert ("restart", False, False) == (found.action, found.counted, found.exclude)


def test_rule_beats_the_meaning_of_a_user_error():
    assert "restart" == verdict(78, rules=[{"name": "a", "onExitCodes": [78], "action": "Count"}]).action


def test_rule_matches_the_reason_of_the_kubelet():
    rules = [{"name": "oom", "onReasons": ["OOMKilled"], "action": "FailJob"}]

    found = verdict(137, reason="OOMKilled", rules=rules)

    assert ("fail", "OOMKilled") == (found.action, found.reason)


def test_rule_matches_a_class_that_the_program_made_up():
    rules = [{"name": "mine", "onReasons": ["BadShard"], "action": "Ignore"}]

    assert ("restart", False) == _fate(verdict(1, said={"outcome": "Failed", "reason": "BadShard"}, rules=rules))


def _fate(found):
    return found.action, found.counted


def test_word_of_a_pod_does_not_make_its_failure_a_disruption():
    assert ("restart", True) == _fate(verdict(1, said={"outcome": "Failed", "reason": "Evicted"}))


def test_disruption_beats_the_exit_code_it_caused_and_every_rule():
    target = [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]
    found = verdict(1, conditions=target, rules=[{"name": "a", "onExitCodes": [1], "action": "FailJob"}])

    assert ("restart", False, "Preempted") == (found.action, found.counted, found.cause.reason)


def test_restarts_are_spent_exactly_at_the_limit():
    assert "restart" == verdict(1, counted=2, maxRestarts=3).action
    assert "fail" == verdict(1, counted=3, maxRestarts=3).action


@pytest.mark.parametrize("counted, seconds", [(0, 0.0), (1, 5.0), (2, 10.0), (3, 20.0), (10, 300.0), (9_999, 300.0)])
def test_backoff_doubles_up_to_its_cap(counted, seconds):
    assert seconds == verdict(1, counted=counted, maxRestarts=10_000).delay_seconds


def ignored(times, *, after=0, progressed=False, **policy):
    rules = [{"name": "a", "onExitCodes": [1], "action": "Ignore"}]
    a_job = job(failurePolicy={"rules": rules, "maxRestarts": 0, **policy})
    restarts = Restarts(counted=after, total=after + times, without_progress=after, ignored_without_progress=times)
    a_job = with_status(a_job, TrainingJobStatus(restarts=restarts))
    members = gang((pod(a_job, 0), pod(a_job, 1, exit_code=1)), 0, 2)
    return judge(a_job, members, progressed=progressed, now=at(14))


@pytest.mark.parametrize("times, seconds", [(0, 0.0), (1, 5.0), (2, 10.0), (3, 20.0), (10, 300.0), (9_999, 300.0)])
def test_ignored_failure_waits_as_long_as_a_counted_one_and_spends_nothing(times, seconds):
    found = ignored(times)

    assert ("restart", False, True, seconds) == (found.action, found.counted, found.ignored, found.delay_seconds)


def test_counted_and_ignored_failures_in_a_row_lengthen_one_backoff():
    assert 20.0 == ignored(2, after=1).delay_seconds


def test_progress_ends_the_backoff_of_ignored_failures_and_a_base_of_zero_is_none():
    assert 0.0 == ignored(5, progressed=True).delay_seconds
    assert 0.0 == ignored(5, backoff={"baseSeconds": 0}).delay_seconds


def test_restarts_without_a_checkpoint_fail_the_job_and_say_where_it_died():
    found = verdict(1, counted=2, steps=(812, 812), step=813, noProgressRestarts=2)
    sentence = "2 restarts in a row made no new checkpoint (failurePolicy.noProgressRestarts); "

    assert ("fail", "NoProgress") == (found.action, found.reason)
    assert sentence + "it died at step 812, 812, 813" == found.note


def test_restarts_below_that_number_and_ignored_failures_do_not():
    ignore = [{"name": "a", "onExitCodes": [1], "action": "Ignore"}]

    assert "restart" == verdict(1, counted=1, noProgressRestarts=2).action
    assert "restart" == verdict(1, counted=2, noProgressRestarts=2, rules=ignore).action


def test_program_that_told_no_step_fails_without_one():
    note = "1 restart made no new checkpoint (failurePolicy.noProgressRestarts)"

    assert note == verdict(1, counted=1, noProgressRestarts=1).note


def test_where_all_stop_together_the_one_that_is_to_blame_for_it_is_waited_for():
    a_job = job()
    stopped = {"outcome": "Preempted", "reason": "Preempted"}
    first = pod(a_job, 0, exit_code=143, said=stopped, ended=10)
    evicted = [{"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}]

    def fate(*pods, now):
        found = judge(a_job, gang(pods, 0, 2), progressed=True, now=at(now))
        return found.action, found.counted, found.cause.reason, found.cause.pod

    assert "wait" == fate(first, pod(a_job, 1), now=11)[0]
    second = pod(a_job, 1, exit_code=143, said=stopped, ended=10, conditions=evicted)
    assert ("restart", False, "Evicted", "digits-0-1") == fate(first, second, now=11)
    # A worker of another program may stop alone.
    assert ("restart", False, "Preempted", "digits-0-0") == fate(first, pod(a_job, 1), now=14)
