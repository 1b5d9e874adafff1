"""`ganger doctor`: the page, the exit code, and what one may not read."""

import copy
import json

import pytest

from ganger.api.crd import definitions
from ganger.cli.problem import Code, Problem
from ganger.kube.errors import Forbidden, Unreachable

SYSTEM = {"namespace": "ganger-system"}


@pytest.fixture
def cluster(ganger):
    """A cluster as it should be; what a test takes away is missing."""
    found = ganger.cluster
    found.denied, found.groups = set(), {"scheduling.k8s.io": {"v1beta1": frozenset({"podgroups"})}}

    async def version():
        return 1, 37

    async def discover(group):
        return found.groups.get(group, {})

    async def review(resource, spec):
        asked = spec["resourceAttributes"]
        allowed = (asked["verb"], asked["resource"]) not in found.denied
        return json.dumps({"status": {"allowed": allowed}}).encode()

    found.version, found.discover, found.review = version, discover, review
    for one in definitions():
        status = {"conditions": [{"type": "Established", "status": "True"}]}
        found.put("customresourcedefinitions", copy.deepcopy(one) | {"status": status})
    labels = {"app.kubernetes.io/name": "ganger", "app.kubernetes.io/part-of": "ganger"}
    metadata = {"labels": labels} | SYSTEM
    deployment = {"spec": {"replicas": 1}, "status": {"readyReplicas": 1}}
    found.put("deployments", {"metadata": {"name": "ganger"} | metadata} | deployment)
    lease = {"holderIdentity": "ganger-1", "renewTime": "2026-01-01T12:00:59Z", "leaseDurationSeconds": 4}
    found.put("leases", {"metadata": {"name": "ganger-operator"} | SYSTEM, "spec": lease})
    component = labels | {"app.kubernetes.io/component": "metrics"}
    found.put("services", {"metadata": {"name": "ganger-metrics", "labels": component} | SYSTEM})
    service = labels | {"kubernetes.io/service-name": "ganger-metrics"}
    found.put(
        "endpointslices", {"metadata": {"name": "a", "labels": service}, "endpoints": [{"addresses": ["10.0.0.1"]}]}
    )
    ready = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {"nvidia.com/gpu": "8"}}
    found.put("nodes", {"metadata": {"name": "n"}, "status": ready})
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    found.put("storageclasses", {"metadata": {"name": "fast", "annotations": default}})
    for short in ("jobs", "pods", "deletions", "services", "secrets"):
        name = f"ganger-system.ganger.{short}"
        found.put("validatingadmissionpolicies", {"metadata": {"name": name, "labels": labels}, "spec": {}})
        binding = {"metadata": {"name": name, "labels": labels}, "spec": {"policyName": name}}
        found.put("validatingadmissionpolicybindings", binding)
    return found


def test_a_cluster_as_it_should_be_is_told_line_by_line(ganger, cluster):
    said = ganger("doctor")

    assert (0, "nothing to mend, 0 notes; 0 requests\n") == (said.code, said.err)
    assert [
        "ok API server Kubernetes 1.37 answers",
        "ok TrainingJob v1alpha1, as this CLI knows it",
        "ok TrainingProfile v1alpha1, as this CLI knows it",
        "ok DevSession v1alpha1, as this CLI knows it",
        "ok operator ganger in namespace ganger-system: 1 of 1 ready",
        "ok lease ganger-1 leads",
        "ok metrics Service ganger-metrics has 1 ready endpoint",
        "ok may create trainingjobs in namespace team",
        "ok may create pods in namespace team",
        "ok may patch trainingjobs in namespace team",
        "ok may delete trainingjobs in namespace team",
        "ok may watch trainingjobs in namespace team",
        "ok may get pods/log in namespace team",
        "ok nodes 1 of 1 take workers",
        "ok GPUs 8 nvidia.com/gpu on nodes that take workers",
        "ok PodGroups served (v1beta1): gangs are placed whole or not at all",
        "ok Kueue not installed: jobs start without a quota of a queue",
        "ok storage fast is the default class; several workers need ReadWriteMany of it",
        "ok admission policies in force: deletions, jobs, pods, secrets, services",
    ] == [" ".join(line.split()) for line in said.out.splitlines()]
    assert [] == cluster.writes


def test_what_is_to_mend_ends_with_1_and_has_its_remedy_below(ganger, cluster):
    cluster.take("deployments", "ganger")
    cluster.denied.add(("create", "pods"))

    said = ganger("doctor", "-n", "team")

    assert (1, "2 to mend, 0 notes; 0 requests\n") == (said.code, said.err)
    lines = [line.strip() for line in said.out.splitlines()]
    place = next(number for number, line in enumerate(lines) if line.startswith("mend   operator"))
    assert "-> helm install ganger charts/ganger -n ganger-system --create-namespace" == lines[place + 1]
    assert "lease" not in said.out, "without an operator there is no lease to ask for"


def test_the_right_to_create_pods_is_missed_only_where_a_policy_asks_for_it(ganger, cluster):
    cluster.denied.add(("create", "pods"))
    for short in ("jobs", "pods", "deletions", "services", "secrets"):
        cluster.take("validatingadmissionpolicies", f"ganger-system.ganger.{short}")

    said = ganger("doctor", "-o", "json")

    assert (0, "nothing to mend, 1 note; 0 requests\n") == (said.code, said.err)
    assert "may create pods" not in {one["about"] for one in json.loads(said.out)}


def test_what_one_may_not_read_is_said_and_is_nothing_to_mend(ganger, cluster):
    listed, read = cluster.list, cluster.get

    async def refuses_lists(resource, namespace=None, **more):
        if not resource.namespaced or namespace is None:
            raise Forbidden(403, "Forbidden", "nodes is forbidden")
        return await listed(resource, namespace, **more)

    async def refuses(resource, namespace, name):
        if not resource.namespaced:
            raise Forbidden(403, "Forbidden", "is forbidden")
        return await read(resource, namespace, name)

    cluster.list, cluster.get = refuses_lists, refuses

    said = ganger("doctor", "-o", "json")

    levels = {one["about"]: one["level"] for one in json.loads(said.out)}
    assert 0 == said.code
    assert {"TrainingJob", "TrainingProfile", "DevSession", "operator", "nodes", "storage", "admission"} == {
        about for about, level in levels.items() if level == "unknown"
    }

    # Who knows where the operator is may often read there.
    said = ganger("doctor", "-o", "json", "--operator-namespace", "ganger-system")
    levels = {one["about"]: one["level"] for one in json.loads(said.out)}
    assert ("ok", "ok") == (levels["operator"], levels["lease"])


def test_a_cluster_that_does_not_answer_is_one_line(ganger, cluster):
    async def silent():
        raise Unreachable("ClientConnectorError (Connection refused)")

    cluster.version = silent

    said = ganger("doctor")

    assert 1 == said.code
    assert 2 == len(said.out.splitlines())
    assert "mend   API server   did not answer (ClientConnectorError (Connection refused))" == said.out.splitlines()[0]


def test_no_way_to_a_cluster_is_a_finding_too(ganger, monkeypatch):
    def none(target):
        raise Problem("there is no way to a cluster", "there is no kubeconfig", "name one", code=Code.REFUSED)

    monkeypatch.setattr(ganger, "_connect", none)

    said = ganger("doctor")

    assert (1, "mend   kubeconfig   there is no kubeconfig\n       -> name one\n") == (said.code, said.out)


def test_a_queue_of_the_namespace_is_found_and_its_absence_is_a_note(ganger, cluster):
    cluster.groups["kueue.x-k8s.io"] = {"v1beta2": frozenset({"localqueues"})}

    assert "note   Kueue" in ganger("doctor").out

    cluster.put("localqueues", {"metadata": {"name": "vision", "namespace": "team"}})
    assert "queues of namespace team: vision" in ganger("doctor").out
