"""The node of a failure: when it is asked how it is, and what its answer changes."""

import msgspec
import pytest

from builders import at, job, pod, running_gang, with_spec, with_status
from ganger.api.observed import Condition, Node, NodeStatus
from ganger.plan import avoid
from ganger.plan.decide import decide
from ganger.plan.inquiry import HOLD_SECONDS, Answer, Question, noted, question
from ganger.plan.seen import Seen
from ganger.plan.suspicion import REPEATED

DEADLOCK = Node(status=NodeStatus(conditions=(Condition(type="KernelDeadlock", status="True", reason="DockerHung"),)))
WELL = Node(status=NodeStatus(conditions=(Condition(type="Ready", status="True"),)))
OF_FIRST = Question(node="node-1", restart=1)
EXCEPTION = {"outcome": "Failed", "reason": "Exception", "message": "OSError: read-only file system"}


def on(node, a_pod):
    return msgspec.structs.replace(a_pod, spec=msgspec.structs.replace(a_pod.spec, node_name=node))


def running(job_):
    return with_status(job_, decide(job_, Seen(pods=running_gang(job_)), at(2)).status)


def restarted(*, said=EXCEPTION, exit_code=1, seconds=12.0, **spec):
    """A job right after the write that opens its second attempt, and the pods of the first."""
    a_job = running(job(**spec))
    pods = (on("node-2", pod(a_job, 0)), pod(a_job, 1, exit_code=exit_code, said=said))
    return with_status(a_job, decide(a_job, Seen(pods=pods), at(seconds)).status), pods


def disrupted(reason):
    a_job = running(job())
    target = [{"type": "DisruptionTarget", "status": "True", "reason": reason}]
    pods = (pod(a_job, 0), pod(a_job, 1, conditions=target, leaving=True))
    return with_status(a_job, decide(a_job, Seen(pods=pods), at(12)).status)


def next_pods(a_job, seconds=13.0, answer=None):
    """What the pass does that finds all pods of the first attempt gone."""
    return decide(a_job, Seen(answer=answer), at(seconds))


def asked(a_job):
    return question(a_job, a_job.status)


def test_counted_failure_asks_for_its_node_with_the_very_write_that_restarts_the_gang():
    assert OF_FIRST == asked(restarted()[0])


@pytest.mark.parametrize("reason", ["DeletionByTaintManager", "TerminationByKubelet", "SomethingNew"])
def test_failure_of_the_infrastructure_asks(reason):
    assert OF_FIRST == asked(disrupted(reason))


def test_yielding_to_another_pod_says_nothing_of_the_node():
    a_job = disrupted("PreemptionByScheduler")

    assert "Preempted" == a_job.status.restarts.last.reason
    assert asked(a_job) is None


def test_pod_that_somebody_deleted_says_nothing_of_the_node():
    a_job = running(job())
    pods = (pod(a_job, 0), pod(a_job, 1, leaving=True))
    a_job = with_status(a_job, decide(a_job, Seen(pods=pods), at(12)).status)

    assert "PodDeleted" == a_job.status.restarts.last.reason
    assert asked(a_job) is None


def test_failure_that_a_rule_ignores_does_not_ask():
    rules = [{"name": "free", "onExitCodes": [1], "action": "Ignore"}]

    assert asked(restarted(failurePolicy={"rules": rules})[0]) is None


def test_job_that_never_failed_or_runs_again_or_is_suspended_or_over_does_not_ask():
    again, _ = restarted()
    runs = with_status(again, decide(again, Seen(pods=running_gang(again, attempt=1)), at(20)).status)
    suspended = with_spec(again, suspend=True)
    suspended = with_status(suspended, decide(suspended, Seen(), at(20)).status)
    ended, _ = restarted(exit_code=65, said={"outcome": "Failed", "reason": "DataInvalid"})

    assert (True, True, True) == (
        runs.status.is_true("Running"), suspended.status.is_true("Suspended"), ended.status.is_true("Failed"),
    )  # fmt: skip
    assert [None] * 4 == [asked(each) for each in (running(job()), runs, suspended, ended)]


def test_job_that_was_resumed_does_not_ask_for_the_node_of_a_failure_before():
    a_job = with_spec(restarted()[0], suspend=True)
    a_job = with_status(a_job, decide(a_job, Seen(), at(20)).status)
    a_job = with_spec(a_job, suspend=False)
    a_job = with_status(a_job, decide(a_job, Seen(), at(30)).status)

    assert not a_job.status.is_true("Suspended")
    assert asked(a_job) is None


def test_answer_of_a_node_in_trouble_is_written_before_the_next_pods_are_made():
    a_job, _ = restarted()
    decision = next_pods(a_job, answer=Answer(question=OF_FIRST, node=DEADLOCK))
    last = decision.status.restarts.last
    (suspicion,) = decision.status.node_suspicions

    assert ((), ()) == (decision.pods, decision.deletions)
    assert ("KernelDeadlock=True (DockerHung)",) == last.node_conditions
    told = "OSError: read-only file system; node node-1 has KernelDeadlock=True (DockerHung)"
    assert ("Exception", told) == (last.reason, last.message)
    assert ("node-1", "NodeUnhealthy", round(REPEATED, 3)) == (suspicion.node, suspicion.reason, suspicion.score)
    assert [("NodesChanged", True)] == [(event.reason, event.warning) for event in decision.events]
    assert "is suspected: a worker failed there with Exception" in decision.events[0].message


def test_node_in_trouble_is_avoided_at_once_where_the_failure_may_be_its_own():
    a_job, _ = restarted(said=None, exit_code=139)
    answer = Answer(question=OF_FIRST, node=DEADLOCK)
    first = next_pods(a_job, answer=answer)
    second = next_pods(with_status(a_job, first.status), answer=answer)

    assert ((), ("node-1",)) == (a_job.status.excluded_nodes, first.status.excluded_nodes)
    assert "is avoided" in first.events[0].message
    assert ["digits-1-0", "digits-1-1"] == [manifest["metadata"]["name"] for manifest in second.pods]
    assert {"node-1"} == {m["metadata"]["annotations"]["ganger.dev/excluded-nodes"] for m in second.pods}


def test_pods_are_made_without_an_answer_as_with_one_of_a_node_that_is_well():
    a_job, _ = restarted()
    without, well = next_pods(a_job), next_pods(a_job, answer=Answer(question=OF_FIRST, node=WELL))

    assert 2 == len(without.pods)
    assert without == well


def test_new_pods_wait_a_moment_for_an_answer_and_old_ones_are_stopped_meanwhile():
    a_job, pods = restarted()
    asking = decide(a_job, Seen(pods=pods, asks=True), at(13))
    over = tuple(pod(a_job, worker, exit_code=1) for worker in (0, 1))
    held = decide(a_job, Seen(pods=over, asks=True), at(13))

    assert "digits-0-0" in {each.metadata.name for each in asking.deletions}
    assert ((), HOLD_SECONDS) == (held.pods, held.requeue_after_seconds)
    assert 2 == len(decide(a_job, Seen(pods=over), at(13)).pods)


def test_answer_is_counted_once():
    a_job, _ = restarted()
    answer = Answer(question=OF_FIRST, node=DEADLOCK)
    a_job = with_status(a_job, next_pods(a_job, answer=answer).status)

    assert asked(a_job) is None
    assert noted(a_job, answer, at(14)) is None


def test_question_stays_open_for_another_operator_until_the_answer_is_written():
    a_job, _ = restarted()
    waiting = with_status(a_job, next_pods(a_job).status)

    assert OF_FIRST == asked(waiting)


def test_late_answer_is_written_while_the_gang_runs():
    a_job, _ = restarted()
    pods = running_gang(a_job, attempt=1)
    a_job = with_status(a_job, decide(a_job, Seen(pods=pods), at(20)).status)
    decision = decide(a_job, Seen(pods=pods, answer=Answer(question=OF_FIRST, node=DEADLOCK)), at(21))

    assert a_job.status.is_true("Running")
    assert (("KernelDeadlock=True (DockerHung)",), True) == (
        decision.status.restarts.last.node_conditions, decision.status.is_true("Running"),
    )  # fmt: skip
    assert () == decision.deletions


@pytest.mark.parametrize(
    "old", [Question(node="node-1", restart=2), Question(node="node-9", restart=1), Question(node="node-1", restart=0)]
)
def test_answer_to_another_question_is_not_heard(old):
    a_job, _ = restarted()

    assert noted(a_job, Answer(question=old, node=DEADLOCK), at(13)) is None


def test_job_whose_only_nodes_are_in_trouble_finds_a_place_again():
    a_job, _ = restarted(said=None, exit_code=139)
    a_job = with_status(a_job, next_pods(a_job, answer=Answer(question=OF_FIRST, node=DEADLOCK)).status)
    refused = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "lastTransitionTime": at(20)}]
    waiting = tuple(pod(a_job, worker, attempt=1, phase="Pending", conditions=refused) for worker in (0, 1))
    for each in waiting:
        each.metadata.annotations["ganger.dev/excluded-nodes"] = "node-1"
    decision = decide(a_job, Seen(pods=waiting), at(20 + avoid.LIFT_SECONDS))

    assert () == decision.status.excluded_nodes
    assert "node node-1 (NodeUnhealthy) is avoided no longer" in decision.events[0].message
