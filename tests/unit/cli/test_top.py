"""`ganger top`: what is held and used, by job and by node."""

import json

import pytest

from ganger.cli import shares
from ganger.kube.errors import NotFound


@pytest.fixture
def ganger(ganger):
    """The fake knows no metrics-server, and none of its selectors; a test gives it `measured`."""
    cluster, listed = ganger.cluster, ganger.cluster.list
    cluster.measured = {}

    async def list_(resource, namespace=None, **more):
        if resource.group == "metrics.k8s.io":
            if not cluster.measured:
                raise NotFound(404, "NotFound", "404 page not found")
            return json.dumps({"items": cluster.measured[resource.plural]}).encode()
        more.pop("label_selector", None)
        more.pop("field_selector", None)
        return await listed(resource, namespace, **more)

    cluster.list = list_
    return ganger


def pod(ganger, name, job=None, node="n1", phase="Running", containers=({},), namespace="team", **spec):
    labels = {"ganger.dev/job": job, "app.kubernetes.io/managed-by": "ganger"} if job else {}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    spec = {"nodeName": node, "containers": [{"resources": one} for one in containers]} | spec
    return ganger.cluster.put("pods", {"metadata": metadata, "spec": spec, "status": {"phase": phase}})


def node(ganger, name, **allocatable):
    ready = [{"type": "Ready", "status": "True"}]
    offers = {"cpu": "16", "memory": "64Gi"} | allocatable
    ganger.cluster.put("nodes", {"metadata": {"name": name}, "status": {"conditions": ready, "allocatable": offers}})


GPU_WORKER = {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "2Gi", "nvidia.com/gpu": 4}}


def rows(said):
    return [" ".join(line.split()) for line in said.out.splitlines()]


def test_jobs_are_told_with_what_their_living_pods_hold(ganger):
    for worker in range(2):
        pod(ganger, f"big-0-{worker}", "big", containers=(GPU_WORKER,))
    pod(ganger, "big-0-2", "big", phase="Failed", containers=(GPU_WORKER,))
    pod(ganger, "small-0-0", "small")

    said = ganger("top")

    assert (0, "") == (said.code, said.err)
    assert [
        "JOB PODS GPUS CPU MEMORY CPU USED MEMORY USED",
        "big 2 8 1 2.0 GiB",
        "small 1",
    ] == rows(said)


def test_what_is_measured_is_told_beside(ganger):
    pod(ganger, "big-0-0", "big", containers=(GPU_WORKER,))
    usage = {
        "metadata": {"name": "big-0-0", "namespace": "team"},
        "containers": [{"usage": {"cpu": "250m", "memory": "512Mi"}}],
    }
    ganger.cluster.measured["pods"] = [usage]

    assert "big 1 4 500m 1.0 GiB 250m 512 MiB" == rows(ganger("top", "jobs"))[1]
    (one,) = json.loads(ganger("top", "-o", "json").out)
    assert {"namespace": "team", "job": "big", "pods": 1, "gpu": 4, "cpu": 0.5, "memory": 1 << 30} | {
        "cpuUsed": 0.25,
        "memoryUsed": 512 << 20,
    } == one


def test_nodes_are_told_with_what_pods_of_any_kind_hold(ganger):
    node(ganger, "n1", **{"nvidia.com/gpu": "8"})
    node(ganger, "n2")
    ganger.cluster.objects["nodes", "n2"]["spec"] = {"unschedulable": True}
    pod(ganger, "big-0-0", "big", containers=(GPU_WORKER,))
    pod(ganger, "other", containers=({"requests": {"cpu": 2}},), namespace="kube-system")
    pod(ganger, "waiting", "big", node="", phase="Pending", containers=(GPU_WORKER,))
    ganger.cluster.measured["nodes"] = [{"metadata": {"name": "n1"}, "usage": {"cpu": "1500000000n", "memory": "3Gi"}}]

    assert [
        "NODE GPUS CPU MEMORY CPU USED MEMORY USED JOBS",
        "n1 4/8 2.5/16 1.0 GiB of 64.0 GiB 1.5 3.0 GiB big",
        "n2 (takes none) 0/16 0 of 64.0 GiB",
    ] == rows(ganger("top", "nodes"))


def test_every_namespace_has_its_column(ganger):
    pod(ganger, "a-0-0", "a", namespace="vision")

    assert ["NAMESPACE JOB PODS GPUS CPU MEMORY CPU USED MEMORY USED", "vision a 1"] == rows(ganger("top", "-A"))


def test_where_nothing_runs_that_is_said(ganger):
    assert ("", "no job has pods here\n") == (ganger("top").out, ganger("top").err)


@pytest.mark.parametrize(
    "spec, cpu",
    [
        ({"containers": [{"resources": {"requests": {"cpu": 1}}}, {"resources": {"limits": {"cpu": 2}}}]}, 3000),
        ({"containers": [{"resources": {"requests": {"cpu": 1}}}], "overhead": {"cpu": "250m"}}, 1250),
        (
            {
                "initContainers": [{"resources": {"requests": {"cpu": 4}}}],
                "containers": [{"resources": {"requests": {"cpu": 1}}}],
            },
            4000,
        ),
        (
            {
                "initContainers": [
                    {"restartPolicy": "Always", "resources": {"requests": {"cpu": 1}}},
                    {"resources": {"requests": {"cpu": 2}}},
                ],
                "containers": [{"resources": {"requests": {"cpu": 1}}}],
            },
            3000,
        ),
        ({}, 0),
    ],
)
def test_a_pod_holds_what_the_scheduler_counts(spec, cpu):
    assert cpu == shares.requests({"spec": spec})["cpu"]


def test_gpus_of_every_vendor_and_slices_count():
    resources = {"nvidia.com/gpu": "2", "amd.com/gpu": 1, "nvidia.com/mig-1g.10gb": "3", "rdma/hca": "8"}

    assert 6 == shares.amounts(resources)["gpu"]
