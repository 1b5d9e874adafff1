"""The fate of a gang, by exit code and rule."""

import pytest

from builders import at, job, pod
from ganger.api.status import Restarts
from ganger.plan.failure import judge
from ganger.plan.gang import gang


def verdict(exit_code, *, rules=(), counted=0, reason="", said=None, conditions=None, **policy):
    a_job = job(failurePolicy={"rules": list(rules), **policy})
    failed = pod(a_job, 1, exit_code=exit_code, reason=reason, said=said, conditions=conditions)
    restarts = Restarts(counted=counted, total=counted, without_progress=counted)
    members = gang((pod(a_job, 0), failed), 0, 2)
    return judge(members, a_job.spec.failure_policy, restarts, progressed=False, now=at(12))


@pytest.mark.parametrize(
    "exit_code, action, counted",
    [
        (1, "restart", True),
        (2, "restart", True),
        (137, "restart", True),
        (139, "restart", True),
        (65, "fail", False),
        (66, "fail", False),
        (78, "fail", False),
        (143, "restart", False),
        (75, "restart", False),
    ],
)
def test_exit_code_decides_where_no_rule_does(exit_code, action, counted):
    found = verdict(exit_code)

    assert (action, counted) == (found.action, found.counted)


def test_first_matching_rule_wins():
    rules = [
        {"name": "a", "onExitCodes": [42], "action": "Ignore"},
        {"name": "b", "onExitCodes": [42], "action": "FailJob"},
    ]

    assert ("restart", False) == (verdict(42, rules=rules).action, verdict(42, rules=rules).counted)


def test_rule_beats_the_meaning_of_a_user_error():
    assert "restart" == verdict(78, rules=[{"name": "a", "onExitCodes": [78], "action": "Count"}]).action


def test_rule_matches_the_reason_of_the_kubelet():
    rules = [{"name": "oom", "onReasons": ["OOMKilled"], "action": "FailJob"}]

    found = verdict(137, reason="OOMKilled", rules=rules)

    assert ("fail", "OOMKilled") == (found.action, found.reason)


def test_disruption_beats_the_exit_code_it_caused():
    target = [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]
    found = verdict(1, conditions=target)

    assert ("restart", False, "PreemptionByScheduler") == (found.action, found.counted, found.cause.reason)


def test_restarts_are_spent_exactly_at_the_limit():
    assert "restart" == verdict(1, counted=2, maxRestarts=3).action
    assert "fail" == verdict(1, counted=3, maxRestarts=3).action


@pytest.mark.parametrize("counted, seconds", [(0, 0.0), (1, 5.0), (2, 10.0), (3, 20.0), (10, 300.0), (9_999, 300.0)])
def test_backoff_doubles_up_to_its_cap(counted, seconds):
    assert seconds == verdict(1, counted=counted, maxRestarts=10_000).delay_seconds


def test_supervisors_word_names_rank_and_message():
    cause = verdict(1, said={"outcome": "Failed", "reason": "Exception", "rank": 3, "message": "boom"}).cause

    assert ("Exception", 3, "boom", "node-1") == (cause.reason, cause.rank, cause.message, cause.node)


def test_termination_message_that_is_no_json_is_kept_as_text():
    assert "Killed by hand" == verdict(1, said="Killed by hand").cause.message
