"""How pods avoid nodes, and how a gang gets nodes back when there are no others."""

import msgspec
import pytest

from builders import at, job, pod, running_gang, with_status
from ganger.api.status import Suspicion, TrainingJobStatus
from ganger.api.types import encode
from ganger.plan import avoid, pods
from ganger.plan.decide import decide
from ganger.plan.facts import state
from ganger.plan.seen import Seen

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
AWAY = {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["a", "b"]}
ZONE = {"key": "zone", "operator": "In", "values": ["z"]}
UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"}


def terms_of(user):
    return avoid.affinity(user, ("a", "b"))["nodeAffinity"][REQUIRED]["nodeSelectorTerms"]


def with_terms(*terms):
    return {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": list(terms)}}}


def test_job_that_avoids_nothing_keeps_its_affinity():
    assert {} == avoid.affinity({}, ())
    assert with_terms({"matchExpressions": [ZONE]}) == avoid.affinity(with_terms({"matchExpressions": [ZONE]}), ())


def test_job_without_affinity_gets_one_term():
    assert [{"matchExpressions": [AWAY]}] == terms_of({})


def test_every_alternative_of_the_user_gets_the_requirement():
    field = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["c"]}]}

    assert [{"matchExpressions": [ZONE, AWAY]}, field | {"matchExpressions": [AWAY]}] == terms_of(
        with_terms({"matchExpressions": [ZONE]}, field)
    )


def test_empty_alternative_matches_no_node_and_stays_so():
    assert [{}, {"matchExpressions": [ZONE, AWAY]}] == terms_of(with_terms({}, {"matchExpressions": [ZONE]}))


def test_what_the_user_prefers_and_pod_affinity_stay():
    user = {"podAntiAffinity": {"x": 1}, "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [1]}}
    found = avoid.affinity(user, ("a",))

    assert {"x": 1} == found["podAntiAffinity"]
    assert [1] == found["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert REQUIRED in found["nodeAffinity"]


@pytest.mark.parametrize("wrong", ["no", {REQUIRED: "no"}, {REQUIRED: {"nodeSelectorTerms": "no"}}])
def test_what_is_no_affinity_is_left_to_the_api_server(wrong):
    assert {"nodeAffinity": wrong} == avoid.affinity({"nodeAffinity": wrong}, ("a",))


def excluding(*nodes, **spec):
    """A job that avoids the nodes, the first with the least reason."""
    known = tuple(Suspicion(node=node, score=1 + n / 9, reason="NodeLost", time=at(0)) for n, node in enumerate(nodes))
    return with_status(job(**spec), TrainingJobStatus(attempt=1, excluded_nodes=nodes, node_suspicions=known))


def waiting(a_job, worker, since=10.0):
    """A pod as it was made for the job, which the scheduler refuses since then."""
    plain = pod(
        a_job, worker, attempt=1, phase="Pending", conditions=[UNSCHEDULABLE | {"lastTransitionTime": at(since)}]
    )
    annotations = pods.pod(a_job, 1, worker)["metadata"]["annotations"]
    return msgspec.structs.replace(plain, metadata=msgspec.structs.replace(plain.metadata, annotations=annotations))


def test_pods_say_what_they_avoid():
    manifest = pods.pod(excluding("a", "b"), 1, 0)

    assert "a,b" == manifest["metadata"]["annotations"]["ganger.dev/excluded-nodes"]
    assert [AWAY] == manifest["spec"]["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"][0]["matchExpressions"]
    assert "affinity" not in pods.pod(job(), 0, 0)["spec"]


def test_exclusion_is_lifted_when_the_gang_finds_no_place_and_its_pods_are_made_anew():
    a_job = excluding("a", "b")
    gang = tuple(waiting(a_job, worker) for worker in range(2))
    early = decide(a_job, Seen(pods=gang), at(100))
    assert (30.0, ("a", "b")) == (early.requeue_after_seconds, early.status.excluded_nodes)

    late = decide(a_job, Seen(pods=gang), at(130))
    assert (("b",), (), ()) == (late.status.excluded_nodes, late.pods, late.deletions)
    assert "node a (NodeLost) is avoided no longer" in late.events[0].message

    lifted = with_status(a_job, late.status)
    assert ["digits-1-0", "digits-1-1"] == [
        deletion.metadata.name for deletion in decide(lifted, Seen(pods=gang), at(130)).deletions
    ]
    assert 2 == len(decide(lifted, Seen(), at(131)).pods)


HOURS = 3600.0


def test_gang_without_a_place_no_longer_avoids_what_has_decayed_and_that_is_no_failure():
    a_job = excluding("a", "b")  # scores 1.0 and 1.11: after six and a quarter hours 0.49 and 0.54
    now = 6.25 * HOURS
    gang = tuple(waiting(a_job, worker, since=now - 1) for worker in range(2))
    decision = decide(a_job, Seen(pods=gang), at(now))
    assert (("b",), (), ()) == (decision.status.excluded_nodes, decision.pods, decision.deletions)
    assert "avoided no longer, for the suspicion has decayed: a" == decision.events[0].message

    released = with_status(a_job, decision.status)
    doomed = decide(released, Seen(pods=gang), at(now)).deletions
    assert ["digits-1-0", "digits-1-1"] == [deletion.metadata.name for deletion in doomed]
    anew = decide(released, Seen(), at(now + 1))
    assert ["digits-1-0", "digits-1-1"] == [made["metadata"]["name"] for made in anew.pods]
    assert ["b", "b"] == [made["metadata"]["annotations"]["ganger.dev/excluded-nodes"] for made in anew.pods]


def test_pod_that_leaves_to_be_made_anew_is_no_failure():
    a_job = excluding("a")
    released = with_status(
        a_job, decide(a_job, Seen(pods=(waiting(a_job, 0), waiting(a_job, 1))), at(7 * HOURS)).status
    )
    gone = waiting(a_job, 0)
    told = msgspec.structs.replace(gone.metadata, deletion_timestamp=at(7 * HOURS))
    leaving = msgspec.structs.replace(gone, metadata=told)
    for seen in ((leaving, waiting(a_job, 1)), (leaving,), ()):
        status = decide(released, Seen(pods=seen), at(7 * HOURS + 1)).status or released.status
        assert (1, None) == (status.attempt, status.restarts)


def test_job_that_was_suspended_for_long_comes_back_without_its_exclusions():
    resumed = excluding("a")
    resumed = with_status(resumed, state(resumed.status, resumed, at(1), ("Suspended", True, "SuspendRequested", "")))
    status = decide(resumed, Seen(), at(7 * HOURS)).status

    assert (False, ()) == (status.is_true("Suspended"), status.excluded_nodes)


def test_decay_costs_a_gang_that_has_its_places_no_write():
    a_job = excluding("a")
    gang = running_gang(a_job, attempt=1)
    a_job = with_status(a_job, decide(a_job, Seen(pods=gang), at(2)).status)

    assert ("a",) == a_job.status.excluded_nodes
    assert decide(a_job, Seen(pods=gang), at(7 * HOURS)).status is None


def test_worker_that_found_a_place_keeps_it_when_an_exclusion_is_lifted():
    a_job = excluding("a")
    gang = (pod(a_job, 0, attempt=1), waiting(a_job, 1))
    lifted = with_status(a_job, decide(a_job, Seen(pods=gang), at(130)).status)

    assert ["digits-1-1"] == [deletion.metadata.name for deletion in decide(lifted, Seen(pods=gang), at(130)).deletions]


def test_gang_that_finds_no_place_and_avoids_nothing_is_left_to_wait():
    a_job = with_status(job(), TrainingJobStatus(attempt=1))
    decision = decide(a_job, Seen(pods=tuple(waiting(a_job, worker) for worker in range(2))), at(1000))

    assert ((), (), None) == (decision.deletions, decision.pods, decision.requeue_after_seconds)


def keys(a_job):
    return [
        (each.get("key"), each.get("tolerationSeconds")) for each in pods.pod(a_job, 0, 0)["spec"].get("tolerations")
    ]


NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"


def test_worker_leaves_a_node_that_does_not_answer_after_thirty_seconds():
    assert [(NOT_READY, 30), (UNREACHABLE, 30)] == keys(job())


def test_users_own_word_on_such_a_node_stands():
    mine = {"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 7}
    other = {"key": UNREACHABLE, "operator": "Exists", "effect": "NoSchedule"}

    assert [(UNREACHABLE, 7), (NOT_READY, 30)] == keys(job(tolerations=[mine]))
    assert [(None, None)] == keys(job(tolerations=[{"operator": "Exists"}]))
    assert [(UNREACHABLE, None), (NOT_READY, 30), (UNREACHABLE, 30)] == keys(job(tolerations=[other]))


def test_rule_that_excludes_the_node_does_so_in_the_write_that_opens_the_attempt():
    rules = [{"name": "gpu", "onExitCodes": [79], "action": "ExcludeNode"}]
    a_job = job(failurePolicy={"rules": rules})
    a_job = with_status(a_job, decide(a_job, Seen(pods=(pod(a_job, 0), pod(a_job, 1))), at(2)).status)
    status = decide(a_job, Seen(pods=(pod(a_job, 0), pod(a_job, 1, exit_code=79))), at(12)).status

    assert (1, 1, ("node-1",)) == (status.attempt, status.restarts.counted, status.excluded_nodes)
    assert {"node": "node-1", "score": 1.0, "reason": "ProcessExited", "time": "2026-01-01T12:00:12Z"} == encode(
        status.node_suspicions[0]
    )
