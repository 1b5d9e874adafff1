"""The group of a gang: which jobs have one, what it says, and when it goes."""

import msgspec
import pytest

from builders import at, job, pod, with_status
from ganger.api.observed import Metadata, OwnerReference, PodGroup, PodGroupStatus, SchedulingGroup
from ganger.api.status import Restarts
from ganger.plan import podgroup
from ganger.plan.decide import decide
from ganger.plan.gang import gang
from ganger.plan.seen import Seen
from ganger.plan.site import Site

SITE = Site(pod_groups="v1beta1")
ELASTIC = {"minWorkers": 2, "maxWorkers": 8}


def group(attempt=0, *, owner="uid-1", leaving=False, refused=""):
    """A group of the job `digits`; refused: the scheduler's words on why it is not placed."""
    conditions = [{"type": podgroup.SCHEDULED, "status": "False", "reason": "Unschedulable", "message": refused}]
    return PodGroup(
        metadata=Metadata(
            name=f"digits-{attempt}",
            namespace="team",
            uid=f"group-{attempt}",
            deletion_timestamp=at(1) if leaving else None,
            owner_references=(OwnerReference(uid=owner, controller=True),),
        ),
        status=msgspec.convert({"conditions": conditions if refused else []}, PodGroupStatus),
    )


def grouped(a_pod, attempt=0):
    """The pod as a member of its attempt's group."""
    spec = msgspec.structs.replace(a_pod.spec, scheduling_group=SchedulingGroup(pod_group_name=f"digits-{attempt}"))
    return msgspec.structs.replace(a_pod, spec=spec)


def made(decision):
    """Kinds of what the decision creates, and the groups that its pods name."""
    kinds = [manifest["kind"] for manifest in decision.shared]
    return kinds, [manifest["spec"].get("schedulingGroup", {}).get("podGroupName") for manifest in decision.pods]


def deleted(decision):
    return [(deletion.kind, deletion.metadata.name) for deletion in decision.deletions]


def test_the_group_of_a_fixed_gang_is_placed_and_disrupted_as_one():
    manifest = podgroup.pod_group(job(workers=4, priorityClassName="batch"), SITE)
    assert "scheduling.k8s.io/v1beta1" == manifest["apiVersion"]
    assert "digits-0" == manifest["metadata"]["name"]
    assert {
        "schedulingPolicy": {"gang": {"minCount": 4}},
        "disruptionMode": {"all": {}},
        "priorityClassName": "batch",
    } == manifest["spec"]


def test_the_group_of_an_elastic_gang_is_placed_from_its_least_size_on_and_loses_single_workers():
    spec = podgroup.pod_group(job(workers=4, elastic=ELASTIC), SITE)["spec"]
    assert {"schedulingPolicy": {"gang": {"minCount": 2}}, "disruptionMode": {"single": {}}} == spec


@pytest.mark.parametrize(("spec", "mode"), [({}, "PodGroup"), ({"elastic": ELASTIC}, "Pod")])
def test_the_alpha_names_the_disruption_by_a_word(spec, mode):
    manifest = podgroup.pod_group(job(workers=4, **spec), Site(pod_groups="v1alpha2"))
    assert "scheduling.k8s.io/v1alpha2" == manifest["apiVersion"]
    assert mode == manifest["spec"]["disruptionMode"]


@pytest.mark.parametrize(
    ("spec", "site", "expected"),
    [
        ({}, SITE, True),
        ({}, Site(), False),
        ({"workers": 1}, SITE, False),
        ({"schedulerName": "volcano"}, SITE, False),
        ({"schedulerName": "default-scheduler"}, SITE, True),
        ({"workers": 4, "elastic": ELASTIC}, SITE, True),
        ({"workers": 4, "elastic": {"minWorkers": 1, "maxWorkers": 8}}, SITE, False),
    ],
)
def test_only_a_gang_of_the_default_scheduler_has_a_group(spec, site, expected):
    decision = decide(with_status(job(**spec), decide(job(**spec), Seen(), at(0)).status), Seen(), at(0), site=site)
    kinds, named = made(decision)
    assert expected == ("PodGroup" in kinds)
    assert {"digits-0" if expected else None} == set(named)


def test_an_attempt_that_began_without_a_group_ends_without_one():
    kinds, named = made(decide(job(), Seen(pods=(pod(job(), 0, phase="Pending"),)), at(1), site=SITE))
    assert "PodGroup" not in kinds
    assert [None] == named


def test_an_attempt_that_began_with_a_group_keeps_to_it():
    seen = Seen(pods=(grouped(pod(job(), 0, phase="Pending")),), group=group(), groups=(group(),))
    kinds, named = made(decide(job(), seen, at(1), site=SITE))
    assert "PodGroup" not in kinds
    assert ["digits-0"] == named


def test_a_group_that_is_gone_while_workers_wait_for_it_is_made_anew():
    waiting = tuple(grouped(pod(job(), worker, phase="Pending")) for worker in range(2))
    assert ["PodGroup"] == made(decide(job(), Seen(pods=waiting), at(1), site=SITE))[0]


def test_a_gang_that_runs_needs_no_group_any_more():
    running = tuple(grouped(pod(job(), worker)) for worker in range(2))
    assert "PodGroup" not in made(decide(job(), Seen(pods=running), at(1), site=SITE))[0]


def test_a_foreign_group_of_that_name_is_waited_for():
    decision = decide(job(), Seen(group=group(owner="uid-0")), at(1), site=SITE)
    condition = decision.status.condition("PodsReady")
    assert ("WaitingForPreviousGroup", ()) == (condition.reason, decision.pods)


def test_the_groups_of_older_attempts_go_once():
    a_job = with_status(job(), msgspec.structs.replace(job().status, attempt=2, restarts=Restarts()))
    groups = (group(0, leaving=True), group(1), group(2))
    assert [("PodGroup", "digits-1")] == deleted(decide(a_job, Seen(group=group(2), groups=groups), at(1), site=SITE))


def suspended():
    """The job after the pass that says so."""
    a_job = job(suspend=True)
    return with_status(a_job, decide(a_job, Seen(), at(1)).status)


def test_a_suspended_gang_loses_its_group_with_its_pods():
    seen = Seen(pods=(grouped(pod(job(), 0)),), group=group(), groups=(group(),))
    assert [("Pod", "digits-0-0"), ("PodGroup", "digits-0")] == deleted(decide(suspended(), seen, at(2), site=SITE))


def test_it_is_resumed_only_when_the_used_group_is_gone():
    resumed = msgspec.structs.replace(suspended(), spec=job().spec)
    waits = decide(resumed, Seen(group=group(leaving=True), groups=(group(leaving=True),)), at(3), site=SITE)
    assert (None, ()) == (waits.status, waits.deletions)
    assert "Resumed" == decide(resumed, Seen(), at(3), site=SITE).events[0].reason


def test_a_group_that_cannot_be_reached_any_more_holds_up_nothing():
    resumed = msgspec.structs.replace(suspended(), spec=job().spec)
    assert decide(resumed, Seen(groups=(group(),)), at(3), site=Site()).status is not None


def test_the_job_repeats_what_the_scheduler_says_of_the_group():
    waiting = tuple(grouped(pod(job(), worker, phase="Pending")) for worker in range(2))
    seen = Seen(pods=waiting, group=group(refused="minCount (2) cannot be satisfied"), groups=(group(),))
    condition = decide(job(), seen, at(1), site=SITE).status.condition("PodsReady")
    whole = "the gang is placed whole or not at all: minCount (2) cannot be satisfied"
    assert ("Unschedulable", whole) == (condition.reason, condition.message)
    told = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available."}
    first = grouped(pod(job(), 0, phase="Pending", conditions=[told]))
    condition = decide(job(), msgspec.structs.replace(seen, pods=(first, waiting[1])), at(1), site=SITE).status
    assert f"0/3 nodes are available; {whole}" == condition.condition("PodsReady").message


def test_the_group_is_sorted_by_its_attempt():
    assert (group(0),) == podgroup.outdated(
        with_status(job(), msgspec.structs.replace(job().status, attempt=1)), (group(0), group(1))
    )
    assert 2 == podgroup.least(job())
    assert podgroup.is_grouped(job(), gang((grouped(pod(job(), 0)),), 0, 2), Site())
