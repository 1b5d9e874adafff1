"""What each answer of a cluster is worth, one table for each question."""

import copy
from datetime import timedelta

import pytest

from builders import T0
from ganger.api.crd import crd, session_crd
from ganger.cli import checkup
from ganger.cli.examination import RIGHTS


def named(name, labels=None, annotations=None, **more):
    return {
        "metadata": {
            "name": name,
            "namespace": "ganger-system",
            "labels": labels or {},
            "annotations": annotations or {},
        }
    } | more


def test_the_age_of_the_server_counts():
    assert [
        ("mend", "is Kubernetes 1.30"),
        ("ok", "Kubernetes 1.31 answers"),
        ("note", "answers, and does not say its version"),
    ] == [(one.level, one.text) for one in map(checkup.server, [(1, 30), (1, 31), (0, 0)])]


def established(**changes):
    stored = copy.deepcopy(crd()) | {"status": {"conditions": [{"type": "Established", "status": "True"}]}}
    return stored | changes


def test_a_definition_is_absent_not_established_of_another_version_or_sound():
    other = established()
    other["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"].pop("image")
    older = established()
    older["spec"]["versions"][0]["name"] = "v1alpha0"
    found = [checkup.definition(crd(), one) for one in (None, established(status={}), other, older, established())]

    assert ["mend", "mend", "note", "note", "ok"] == [one.level for one in found]
    assert checkup.INSTALL == found[0].fix
    assert "TrainingJob" == found[4].about


def test_a_cluster_without_sessions_is_told_and_is_none_to_mend():
    found = checkup.definition(session_crd(), None)

    assert ("DevSession", "note") == (found.about, found.level)
    assert "jobs run without it" in found.fix


def deployment(ready, replicas=1, version="0.1.0", name="ganger"):
    labels = {"app.kubernetes.io/version": version}
    return named(name, labels, spec={"replicas": replicas}, status={"readyReplicas": ready} if ready else {})


@pytest.mark.parametrize(
    "found, level, text",
    [
        ([], "mend", "no Deployment with the label app.kubernetes.io/name=ganger"),
        ([deployment(0)], "mend", "ganger in namespace ganger-system: 0 of 1 ready"),
        ([deployment(1, 2)], "note", "ganger in namespace ganger-system: 1 of 2 ready"),
        ([deployment(2, 2)], "ok", "ganger in namespace ganger-system: 2 of 2 ready"),
        (
            [deployment(1, version="0.2.0")],
            "note",
            "ganger in namespace ganger-system: 1 of 1 ready; it is 0.2.0, and this CLI 0.1.0",
        ),
        (
            [deployment(1), deployment(1, name="second")],
            "note",
            "ganger in namespace ganger-system: 1 of 1 ready; and there are others: ganger-system/second",
        ),
    ],
)
def test_an_operator_is_there_ready_alone_and_of_this_version(found, level, text):
    one = checkup.operator(found, "0.1.0")

    assert (level, text, level == "ok") == (one.level, one.text, not one.fix)


@pytest.mark.parametrize(
    "spec, level, text",
    [
        (None, "mend", "nobody leads: jobs are not looked at"),
        ({"holderIdentity": "", "renewTime": T0.isoformat()}, "mend", "nobody leads: jobs are not looked at"),
        ({"holderIdentity": "a"}, "mend", "nobody leads: jobs are not looked at"),
        (
            {"holderIdentity": "a", "renewTime": T0.isoformat(), "leaseDurationSeconds": 4},
            "mend",
            "a renewed it 60 s ago and no more: jobs are not looked at",
        ),
        ({"holderIdentity": "a", "renewTime": (T0 + timedelta(seconds=31)).isoformat()}, "ok", "a leads"),
    ],
)
def test_a_lease_is_held_while_it_is_renewed(spec, level, text):
    one = checkup.lease(spec, "ganger-system", T0 + timedelta(seconds=60))

    assert (level, text) == (one.level, one.text)


def test_a_right_that_lacks_is_told_with_what_it_is_needed_for_and_who_gives_it():
    found = [checkup.right(one.verb, one.what, "team", False, one.needed_for) for one in RIGHTS]

    assert ["mend", "mend", "note", "note", "note", "note"] == [one.level for one in found]
    assert "no: ganger submit is refused" == found[0].text
    assert "--clusterrole ganger-edit " in found[0].fix
    assert "--clusterrole edit " in found[1].fix
    assert "may get pods/log" == found[5].about
    assert "ok" == checkup.right("create", "pods", "team", True, "x").level


def node(name, ready="True", **allocatable):
    conditions = [{"type": "Ready", "status": ready}]
    return named(name, spec={}, status={"conditions": conditions, "allocatable": {"cpu": "8"} | allocatable})


def test_nodes_count_with_their_devices_where_they_take_workers():
    cordoned = node("c", **{"nvidia.com/gpu": "8"}) | {"spec": {"unschedulable": True}}
    slices = node("b", **{"nvidia.com/mig-1g.10gb": "7", "rdma/hca": "1"})
    found = checkup.nodes([node("a", **{"nvidia.com/gpu": "4"}), slices, cordoned, node("d", "Unknown")])

    assert [
        ("nodes", "note", "2 of 4 take workers"),
        ("GPUs", "ok", "4 nvidia.com/gpu, 7 nvidia.com/mig-1g.10gb on nodes that take workers"),
    ] == [(one.about, one.level, one.text) for one in found]


def test_a_cluster_without_gpus_is_worth_a_note_and_one_without_nodes_must_be_mended():
    assert ["ok", "note"] == [one.level for one in checkup.nodes([node("a")])]
    assert ["mend"] == [one.level for one in checkup.nodes([])]
    assert ["mend"] == [one.level for one in checkup.nodes([node("a", "False")])]


@pytest.mark.parametrize(
    "served, local, level",
    [
        ({}, None, "ok"),
        ({"v1beta1": frozenset({"localqueues"})}, None, "note"),
        ({"v1beta2": frozenset()}, None, "unknown"),
        ({"v1beta2": frozenset()}, [], "note"),
        ({"v1beta2": frozenset()}, [named("team")], "ok"),
    ],
)
def test_a_queue_is_missed_only_where_kueue_is(served, local, level):
    assert level == checkup.queues(served, local, "team").level


def test_pod_groups_are_a_gain_and_no_need():
    assert "ok" == checkup.pod_groups({"v1": frozenset(), "v1beta1": frozenset({"podgroups"})}).level
    assert "note" == checkup.pod_groups({"v1": frozenset({"priorityclasses"})}).level


@pytest.mark.parametrize("defaults, level", [(0, "note"), (1, "ok"), (2, "note")])
def test_one_storage_class_is_the_default(defaults, level):
    mark = {checkup.DEFAULT_CLASS: "true"}
    classes = [named(f"s{number}", annotations=mark) for number in range(defaults)] + [named("other")]

    assert level == checkup.storage(classes).level


def test_admission_policies_are_there_bound_and_sound():
    names = [f"ganger-system.ganger.{short}" for short in checkup.POLICIES]
    sound = [named(name, spec={}) for name in names]
    bindings = [named(name, spec={"policyName": name}) for name in names]
    doubtful = [*sound[1:], sound[0] | {"status": {"typeChecking": {"expressionWarnings": [{"warning": "x"}]}}}]
    cases = [([], []), (sound, bindings[1:]), (doubtful, bindings), (sound, bindings)]
    found = [checkup.policies(*case, "ganger-system") for case in cases]

    assert [
        ("note", "none: a right on TrainingJobs alone is enough to make pods with them"),
        ("mend", "policies without a binding: jobs"),
        ("note", "the API server has doubts about: jobs"),
        ("ok", "policies in force: deletions, jobs, pods, secrets, services"),
    ] == [(one.level, one.text) for one in found]


def test_metrics_are_reachable_where_an_endpoint_is_ready():
    service = named("ganger-metrics")
    ready = named(
        "x",
        {"kubernetes.io/service-name": "ganger-metrics"},
        endpoints=[{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}],
    )
    foreign = ready | named("y", {"kubernetes.io/service-name": "ganger-control"})
    silent = ready | {"endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": False}}]}

    assert ["note", "note", "note", "ok"] == [
        checkup.metrics(*case).level
        for case in (([], []), ([service], [foreign]), ([service], [silent]), ([service], [foreign, ready]))
    ]
