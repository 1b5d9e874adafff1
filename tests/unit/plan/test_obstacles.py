"""What stands in the way of a gang: objects of others under its names, and what the API server refuses."""

from builders import at, job, pod
from ganger.api.observed import Claim, Metadata, Service
from ganger.plan.decide import decide
from ganger.plan.seen import Refusal, Seen

CHECKPOINT = {"volume": {"size": "1Gi"}, "everySteps": 10}


def test_pods_of_a_predecessor_are_waited_for_and_never_touched():
    decision = decide(job(), Seen(squatters=("digits-0-0",)), at(0))

    assert ((), ()) == (decision.pods, decision.deletions)
    assert "WaitingForPreviousPods" == decision.status.condition("PodsReady").reason


def test_claim_of_somebody_else_is_never_used():
    stranger = Claim(metadata=Metadata(name="digits-checkpoints", labels={}))
    decision = decide(job(checkpoint=CHECKPOINT), Seen(claim=stranger), at(0))

    assert () == decision.pods
    assert "VolumeConflict" == decision.status.condition("PodsReady").reason


def test_retained_claim_of_the_same_name_is_gone_on_from():
    kept = Claim(
        metadata=Metadata(
            name="digits-checkpoints",
            labels={"app.kubernetes.io/managed-by": "ganger", "ganger.dev/job": "digits", "ganger.dev/job-uid": "old"},
        )
    )
    decision = decide(job(checkpoint=CHECKPOINT), Seen(claim=kept), at(0))

    assert () == decision.shared
    assert 2 == len(decision.pods)


def test_service_of_a_predecessor_is_waited_for():
    old = Service(metadata=Metadata(name="digits-gang"))

    assert () == decide(job(), Seen(service=old), at(0)).pods


def test_refused_half_of_a_gang_gives_its_resources_back():
    a_job = job()
    refusal = Refusal(reason="QuotaExceeded", message="exceeded quota: team")
    decision = decide(a_job, Seen(pods=(pod(a_job, 0),), refusal=refusal), at(3))

    assert ["digits-0-0"] == [deletion.metadata.name for deletion in decision.deletions]
    assert () == decision.pods
    assert "exceeded quota: team" == decision.status.condition("PodsReady").message


def test_a_whole_gang_whose_service_is_refused_says_so_and_keeps_its_pods():
    waiting = tuple(pod(job(), worker, phase="Pending") for worker in range(2))
    refusal = Refusal(reason="ServiceForbidden", message="exceeded quota: services")
    decision = decide(job(), Seen(pods=waiting, refusal=refusal), at(3))

    assert ("exceeded quota: services", (), ()) == (decision.status.message, decision.deletions, decision.shared)


def test_pod_that_can_never_be_created_fails_the_job_with_the_servers_sentence():
    refusal = Refusal(reason="Invalid", message="spec.x: bad", permanent=True)

    assert "spec.x: bad" == decide(job(), Seen(refusal=refusal), at(3)).status.message
