"""How a job comes to avoid a node, and how it forgets."""

import msgspec
import pytest

from builders import at, job, pod
from ganger.api.status import Failure, Suspicion, TrainingJobStatus
from ganger.plan.gang import gang
from ganger.plan.suspicion import (
    EXCLUDED_MAX,
    HALF_LIFE_SECONDS,
    KEPT_MAX,
    REPEATED,
    Evidence,
    lifted,
    of_attempt,
    remember,
    score,
)


def on(node, a_pod):
    return msgspec.structs.replace(a_pod, spec=msgspec.structs.replace(a_pod.spec, node_name=node))


def members(*nodes):
    pods = tuple(on(node, pod(job(workers=len(nodes)), worker)) for worker, node in enumerate(nodes))
    return gang(pods, 0, len(nodes))


def learn(*pieces):
    """A status after those pieces of evidence, each (time, node, weight)."""
    status = TrainingJobStatus()
    for time, node, weight in pieces:
        status = remember(status, (Evidence(node=node, reason="ProcessKilled", weight=weight),), at(time))
    return status


def test_one_failure_does_not_exclude_its_node():
    assert () == learn((0, "a", REPEATED)).excluded_nodes


@pytest.mark.parametrize("apart, excluded", [(0, ("a",)), (0.99, ("a",)), (1.01, ())])
def test_second_failure_within_the_half_life_does(apart, excluded):
    assert excluded == learn((0, "a", REPEATED), (apart * HALF_LIFE_SECONDS, "a", REPEATED)).excluded_nodes


def test_failures_on_different_nodes_do_not():
    assert () == learn((0, "a", REPEATED), (1, "b", REPEATED)).excluded_nodes


@pytest.mark.parametrize("half_lives, excluded", [(0.5, ("a",)), (0.99, ("a",)), (1.01, ())])
def test_strong_evidence_excludes_at_once_and_for_one_half_life(half_lives, excluded):
    status = learn((0, "a", 1.0))
    assert ("a",) == status.excluded_nodes

    assert excluded == remember(status, (), at(half_lives * HALF_LIFE_SECONDS)).excluded_nodes


def test_suspicion_has_an_upper_end_so_that_no_node_is_avoided_for_ever():
    status = learn(*((0, "a", 1.0) for _ in range(100)))

    assert ("a",) == remember(status, (), at(2.9 * HALF_LIFE_SECONDS)).excluded_nodes
    assert () == remember(status, (), at(3.1 * HALF_LIFE_SECONDS)).excluded_nodes


def test_old_suspicions_are_forgotten():
    assert () == remember(learn((0, "a", 1.0)), (), at(6 * HALF_LIFE_SECONDS)).node_suspicions


def test_lists_are_bounded_and_keep_the_strongest():
    status = learn(*((time, f"n{time:02}", 1.0) for time in range(40)))

    assert (KEPT_MAX, EXCLUDED_MAX) == (len(status.node_suspicions), len(status.excluded_nodes))
    assert tuple(f"n{number}" for number in range(32, 40)) == status.excluded_nodes


def test_news_of_none_change_nothing():
    status = learn((0, "a", 1.0))

    assert status == remember(status, (), at(60))


def test_clock_that_was_set_back_does_not_make_a_suspicion_grow():
    assert 1.0 == score(Suspicion(node="a", score=1.0, time=at(100)), at(0))


def test_exclusion_with_the_least_reason_is_lifted_first_and_not_taken_back_by_one_failure():
    status = learn((0, "old", 1.0), (900, "new", 1.0))
    status, least = lifted(status, at(1000))
    again = remember(status, (Evidence(node="old", reason="ProcessKilled", weight=REPEATED),), at(1000))

    assert ("old", ("new",), ("new",)) == (least.node, status.excluded_nodes, again.excluded_nodes)


def evidence(gang_, reason="ProcessKilled", node="a", *, counted=True, exclude=False):
    found = of_attempt(gang_, Failure(reason=reason, node=node), counted=counted, exclude=exclude)
    return [(each.node, each.reason, each.weight) for each in found]


def test_failure_that_may_be_the_nodes_own_is_a_piece_of_evidence():
    assert [("a", "ProcessKilled", REPEATED)] == evidence(members("a", "b"))


def test_failure_on_the_only_node_of_the_gang_says_nothing():
    assert [] == evidence(members("a", "a"))


@pytest.mark.parametrize("reason", ["Exception", "OOMKilled", "PodDeleted", "PeerLost", "BadShard"])
def test_failure_of_the_program_or_of_nobody_says_nothing(reason):
    assert [] == evidence(members("a", "b"), reason)


def test_failure_that_a_rule_ignores_says_nothing():
    assert [] == evidence(members("a", "b"), counted=False)


def test_rule_and_lost_node_exclude_even_the_only_node():
    assert [("a", "Exception", 1.0)] == evidence(members("a"), "Exception", exclude=True)
    assert [("a", "NodeLost", 1.0)] == evidence(members("a"), "NodeLost", counted=False)


def test_failure_without_a_node_says_nothing():
    assert [] == evidence(members("a", "b"), "NodeLost", node="", counted=False)


def test_broken_device_of_any_worker_excludes_its_node():
    def with_health(health):
        return gang(
            (on("a", pod(job(), 0)), on("b", pod(job(), 1, devices={"GPU-0": "Healthy", "GPU-1": health}))), 0, 2
        )

    assert [("b", "DeviceUnhealthy", 1.0)] == evidence(with_health("Unhealthy"), "Exception")
    assert [] == evidence(with_health("Unknown"), "Exception")
