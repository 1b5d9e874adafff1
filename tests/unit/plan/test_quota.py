"""What Kueue's answer means for a job: when it is held, with what it starts, and what its pods get."""

import msgspec
import pytest

from builders import at, job, pod, running_gang, with_spec, with_status
from ganger.plan import admission, quota
from ganger.plan.decide import decide
from ganger.plan.quota import Quota
from ganger.plan.seen import Seen
from unit.plan.queueing import LABEL, flavor, queued, served, workload

EVICTED = {"admitted": True, "evicted": "Preempted"}


def see(a_job, *pods, **answer):
    """What a pass sees: the Workload that `answer` describes."""
    return Seen(pods=pods, quota=served(workload(a_job, **answer)))


def held(a_job=None):
    """A job whose status says that it waits in its queue."""
    a_job = a_job or queued()
    return with_status(a_job, decide(a_job, Seen(quota=served()), at(1)).status)


def admitted(a_job=None, **answer):
    """A job that was admitted and has no pods yet."""
    a_job = held(a_job)
    return with_status(a_job, decide(a_job, see(a_job, admitted=True, **answer), at(2)).status)


def running(a_job=None):
    a_job = admitted(a_job)
    return with_status(a_job, decide(a_job, see(a_job, *running_gang(a_job), admitted=True), at(3)).status)


def test_a_job_in_a_queue_has_no_pods_and_says_what_it_waits_for():
    decision = decide(queued(), Seen(quota=served()), at(1))
    status = decision.status

    assert ((), ()) == (decision.pods, decision.shared)
    assert ("Suspended", "queue team: quota is asked for") == (status.phase, status.message)
    assert ("False", "WaitingForQuota") == (status.condition("Admitted").status, status.condition("Admitted").reason)
    assert "NotAdmitted" == status.condition("Suspended").reason
    assert ["Queued"] == [event.reason for event in decision.events]


def test_a_job_without_the_label_has_no_condition_of_a_queue():
    assert None is decide(job(), Seen(), at(1)).status.condition("Admitted")


@pytest.mark.parametrize(
    "answer, reason, sentence",
    [
        ({"conditions": {"QuotaReserved": ("False", "Pending", "no room")}}, "WaitingForQuota", "queue team: no room"),
        ({"true": ("QuotaReserved",), "checks": [{"name": "prov", "state": "Pending", "message": "a node comes"}]},
         "WaitingForAdmissionChecks", "queue team: prov is Pending: a node comes"),
        ({"admitted": True, "active": False}, "Deactivated", "set its spec.active to true"),
        ({"admitted": True, "evicted": "Preempted"}, "Evicted", "(Preempted): Preempted to accommodate"),
        ({"evicted": "Preempted", "conditions": {"QuotaReserved": ("False", "Pending", "no room")}},
         "WaitingForQuota", "queue team: no room"),
        ({"admitted": True, "true": ("Finished",)}, "WorkloadFinished", "delete it to queue the job anew"),
    ],
)  # fmt: skip
def test_what_holds_a_job_is_said_in_kueues_words(answer, reason, sentence):
    a_job = queued()
    found = quota.hold(a_job, served(workload(a_job, *answer.pop("true", ()), **answer)))

    assert reason == found.reason
    assert sentence in found.message


def test_where_kueue_is_not_served_the_label_is_answered_with_a_remedy():
    status = decide(queued(), Seen(quota=Quota(state="Absent")), at(1)).status

    assert "QueueNotServed" == status.condition("Admitted").reason
    assert "install Kueue 0.15 or later, or remove the label" in status.message


@pytest.mark.parametrize("silence", [None, Quota(), Quota(state="Absent")])
def test_a_running_gang_goes_on_while_kueue_is_not_heard(silence):
    a_job = running()
    decision = decide(a_job, Seen(pods=running_gang(a_job), quota=silence), at(30))

    assert ((), None) == (decision.deletions, decision.workload)
    assert decision.status is None


def test_an_admitted_job_starts_and_says_by_whom_it_was_admitted():
    a_job = held()
    decision = decide(a_job, see(a_job, admitted=True), at(2))
    condition = decision.status.condition("Admitted")

    assert ("False", "Pending") == (decision.status.condition("Suspended").status, decision.status.phase)
    assert ("True", "Admitted") == (condition.status, condition.reason)
    assert "queue team: admitted by cluster queue gpus, flavor spot" == condition.message
    assert ["Admitted"] == [event.reason for event in decision.events]


def test_the_pods_of_an_admission_carry_its_flavor_and_the_names_of_its_queues():
    a_job = admitted(queued(nodeSelector={"disk": "fast"}))
    toleration = {"key": "spot", "operator": "Exists"}
    answer = served(workload(a_job, admitted=True), flavors={"spot": flavor(tolerations=[toleration])})
    made = decide(a_job, Seen(quota=answer), at(3)).pods

    assert 2 == len(made)
    for each in made:
        assert {"disk": "fast", "pool": "spot"} == each["spec"]["nodeSelector"]
        assert toleration in each["spec"]["tolerations"]
        labels = each["metadata"]["labels"]
        assert ("workers", "team", "gpus") == tuple(
            labels[f"kueue.x-k8s.io/{key}"] for key in ("podset", "local-queue-name", "cluster-queue-name")
        )
        assert LABEL not in labels


def test_what_an_admission_check_wants_is_added_too():
    a_job = admitted()
    update = {"name": "workers", "nodeSelector": {"reservation": "r-1"}, "annotations": {"a/b": "c"}}
    check = {"name": "prov", "state": "Ready", "podSetUpdates": [update]}
    made = decide(a_job, see(a_job, admitted=True, checks=[check]), at(3)).pods[0]

    assert {"pool": "spot", "reservation": "r-1"} == made["spec"]["nodeSelector"]
    assert "c" == made["metadata"]["annotations"]["a/b"]


def test_a_flavor_for_other_nodes_than_the_jobs_own_selector_names_fails_the_job():
    a_job = admitted(queued(nodeSelector={"pool": "on-demand"}))
    status = decide(a_job, see(a_job, admitted=True), at(3)).status

    assert "AdmissionConflict" == status.condition("Failed").reason
    assert "nodeSelector pool: the pods have on-demand, the admission wants spot" == status.message


def test_pods_wait_for_a_flavor_that_could_not_be_read():
    a_job = admitted()
    trouble = ("ResourceFlavorNotFound", "there is no ResourceFlavor spot")
    answer = served(workload(a_job, admitted=True), flavors={}, trouble=trouble)
    decision = decide(a_job, Seen(quota=answer), at(3))

    assert ((), quota.RETRY_SECONDS) == (decision.pods, decision.requeue_after_seconds)
    assert trouble == (decision.status.condition("PodsReady").reason, decision.status.message)


@pytest.mark.parametrize("silence", [None, Quota(), Quota(state="Absent")])
def test_no_pod_is_made_without_the_labels_of_its_flavor_while_kueue_is_not_heard(silence):
    a_job = running()
    again = decide(a_job, Seen(pods=running_gang(a_job)[:1], quota=silence), at(30)).status
    a_job = with_status(a_job, again)
    decision = decide(a_job, Seen(pods=(), quota=silence), at(60))

    assert (1, ()) == (again.attempt, decision.pods)
    assert "WaitingForQueue" == decision.status.condition("PodsReady").reason


def test_pods_that_kueue_places_itself_wait_at_its_gate():
    a_job = queued()
    found = workload(a_job, admitted=True)
    got = msgspec.structs.replace(found.status.admission.pod_set_assignments[0], topology={"levels": ["rack"]})
    whole = msgspec.structs.replace(found.status.admission, pod_set_assignments=(got,))
    found = msgspec.structs.replace(found, status=msgspec.structs.replace(found.status, admission=whole))
    made = admission.placed({"metadata": {}, "spec": {}}, served(found))

    assert [{"name": "kueue.x-k8s.io/topology"}] == made["spec"]["schedulingGates"]
    assert found.metadata.name == made["metadata"]["annotations"]["kueue.x-k8s.io/workload"]


def test_an_evicted_gang_is_stopped_after_the_status_says_so():
    a_job = running()
    gang = running_gang(a_job)
    first = decide(a_job, see(a_job, *gang, **EVICTED), at(30))
    a_job = with_status(a_job, first.status)
    second = decide(a_job, see(a_job, *gang, **EVICTED), at(31))

    assert ((), "Suspended") == (first.deletions, first.status.phase)
    assert ["Stopped"] == [event.reason for event in first.events]
    assert [None, None] == [each.grace_seconds for each in second.deletions]
    assert (None, None) == (first.workload, second.workload)


def test_time_in_a_queue_is_queued_and_not_suspended():
    a_job = held()
    later = decide(a_job, see(a_job, conditions={"QuotaReserved": ("False", "Pending", "no room")}), at(61))

    assert (60.0, 0.0) == (later.status.goodput.seconds.queued - 1, later.status.goodput.seconds.suspended)


def test_an_elastic_job_starts_with_the_workers_that_were_admitted():
    elastic = {"minWorkers": 1, "maxWorkers": 4}
    a_job = admitted(queued(workers=4, elastic=elastic), count=2)
    made = decide(a_job, see(a_job, admitted=True, count=2), at(3)).pods

    assert 2 == a_job.status.gang_size
    assert ["digits-0-0", "digits-0-1"] == [each["metadata"]["name"] for each in made]
    assert "with 2 of 4 workers" in a_job.status.condition("Admitted").message


def test_a_gang_with_quota_for_some_of_its_workers_makes_no_probes_for_the_others():
    elastic = {"minWorkers": 1, "maxWorkers": 4}
    a_job = admitted(queued(workers=4, elastic=elastic), count=2)
    gang = (pod(a_job, 0), pod(a_job, 1))
    a_job = with_status(a_job, decide(a_job, see(a_job, *gang, admitted=True, count=2), at(3)).status)

    assert "Running" == a_job.status.phase
    assert () == decide(a_job, see(a_job, *gang, admitted=True, count=2), at(999)).pods


def test_a_probe_looks_for_room_where_the_admission_has_quota():
    a_job = admitted(queued(workers=3, elastic={"minWorkers": 1, "maxWorkers": 4}))
    a_job = with_status(a_job, msgspec.structs.replace(a_job.status, gang_size=2))
    gang = (pod(a_job, 0), pod(a_job, 1))
    a_job = with_status(a_job, decide(a_job, see(a_job, *gang, admitted=True), at(3)).status)
    (probe,) = decide(a_job, see(a_job, *gang, admitted=True), at(999)).pods

    assert ("digits-0-probe-0", {"pool": "spot"}) == (probe["metadata"]["name"], probe["spec"]["nodeSelector"])


@pytest.mark.parametrize("silence", [None, Quota()])
def test_a_gang_of_some_workers_does_not_grow_while_kueue_is_not_heard(silence):
    elastic = {"minWorkers": 1, "maxWorkers": 4}
    a_job = admitted(queued(workers=4, elastic=elastic), count=2)
    gang = (pod(a_job, 0), pod(a_job, 1))
    a_job = with_status(a_job, decide(a_job, see(a_job, *gang, admitted=True, count=2), at(3)).status)

    assert () == decide(a_job, Seen(pods=gang, quota=silence), at(999)).pods


def test_a_suspended_job_says_that_it_asks_for_no_quota():
    a_job = with_spec(running(), suspend=True)
    status = decide(a_job, see(a_job, *running_gang(a_job), admitted=True), at(30)).status

    assert ("Suspended", "SuspendRequested") == (
        status.condition("Admitted").reason,
        status.condition("Suspended").reason,
    )
