"""Devices and racks of a worker: claims, slices, what counts as a GPU, and pods that are near each other."""

import pytest

from builders import job
from ganger.api.validate import check
from ganger.plan.environment import device_count, processes_per_worker, worker_environment
from ganger.plan.pods import pod, probe

RACK = "topology.kubernetes.io/rack"


def worker(number=0, attempt=0, **spec):
    """The spec of a worker's pod."""
    return pod(job(**spec), attempt, number)["spec"]


@pytest.mark.parametrize(
    "resources, processes",
    [
        ({}, 1),
        ({"limits": {"nvidia.com/gpu": 4}}, 4),
        ({"limits": {"amd.com/gpu": "2"}}, 2),
        ({"limits": {"nvidia.com/mig-1g.10gb": 1}}, 1),
        ({"claims": [{"name": "gpus", "templateName": "t"}]}, 1),
        ({"claims": [{"name": "gpus", "templateName": "t", "gpus": 8}]}, 8),
        ({"claims": [{"name": "a", "claimName": "c", "gpus": 2}, {"name": "nic", "templateName": "n", "gpus": 0}]}, 2),
        ({"claims": [{"name": "nic", "templateName": "n", "gpus": 0}], "limits": {"nvidia.com/gpu": 4}}, 4),
    ],
    ids=str,
)
def test_auto_is_a_process_for_each_gpu_that_the_worker_gets(resources, processes):
    assert processes == processes_per_worker(job(resources=resources).spec)


def test_a_slice_is_no_gpu():
    assert 0 == device_count(job(resources={"limits": {"nvidia.com/mig-1g.10gb": 1}}).spec)


def test_claims_reach_the_pod_and_its_container():
    claims = [
        {"name": "gpus", "templateName": "two-h100", "gpus": 2},
        {"name": "nic", "claimName": "shared", "request": "port", "gpus": 0},
    ]
    spec = worker(resources={"limits": {"memory": "1Gi"}, "claims": claims})

    assert [
        {"name": "gpus", "resourceClaimTemplateName": "two-h100"},
        {"name": "nic", "resourceClaimName": "shared"},
    ] == spec["resourceClaims"]
    assert {
        "limits": {"memory": "1Gi"},
        "claims": [{"name": "gpus"}, {"name": "nic", "request": "port"}],
    } == spec["containers"][0]["resources"]


def test_a_pod_without_claims_says_nothing_of_them():
    spec = worker(resources={"limits": {"memory": "1Gi"}})

    assert "resourceClaims" not in spec
    assert {"limits": {"memory": "1Gi"}} == spec["containers"][0]["resources"]


def test_a_probe_asks_for_the_devices_of_a_worker():
    elastic = {"minWorkers": 1, "maxWorkers": 4}
    claims = [{"name": "gpus", "templateName": "two-h100"}]
    spec = probe(job(elastic=elastic, resources={"claims": claims}), 0, 0)["spec"]

    assert [{"name": "gpus", "resourceClaimTemplateName": "two-h100"}] == spec["resourceClaims"]
    assert {"claims": [{"name": "gpus"}]} == spec["containers"][0]["resources"]


@pytest.mark.parametrize("program", [{"task": "m:t"}, {"task": None, "script": ["a.py"]}], ids=str)
@pytest.mark.parametrize(
    "limits", [{"nvidia.com/mig-1g.10gb": 2}, {"nvidia.com/mig-1g.10gb": 1, "nvidia.com/mig-2g.20gb": 1}], ids=str
)
def test_a_second_slice_of_a_worker_is_refused_with_the_way_out(program, limits):
    (error,) = check(job(**program, resources={"limits": limits}))

    assert "spec.resources.limits" == error.path
    assert "use more workers with one slice each" == error.remedy


def test_a_command_may_have_several_slices():
    assert [] == check(job(task=None, command=["x"], resources={"limits": {"nvidia.com/mig-1g.10gb": 2}}))


def test_the_workers_of_an_attempt_are_drawn_to_each_other():
    term = worker(requiredTopologyKey=RACK, attempt=3)["affinity"]["podAffinity"]

    assert {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {
                "labelSelector": {"matchLabels": {"ganger.dev/job-uid": "uid-1", "ganger.dev/attempt": "3"}},
                "topologyKey": RACK,
            }
        ]
    } == term


def test_the_labels_of_a_worker_match_its_own_term():
    """Else the scheduler would let the first one wait for itself."""
    made = pod(job(requiredTopologyKey=RACK), 2, 1)
    (term,) = made["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]

    assert term["labelSelector"]["matchLabels"].items() <= made["metadata"]["labels"].items()


def test_the_users_own_affinity_stays_beside_it():
    own = {"labelSelector": {"matchLabels": {"app": "cache"}}, "topologyKey": "kubernetes.io/hostname"}
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    affinity = {"podAffinity": {required: [own]}, "podAntiAffinity": {}}
    made = worker(requiredTopologyKey=RACK, affinity=affinity)["affinity"]

    assert own == made["podAffinity"][required][0]
    assert 2 == len(made["podAffinity"][required])
    assert {} == made["podAntiAffinity"]


@pytest.mark.parametrize(
    "wrong", [{"podAffinity": "x"}, {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": 1}}], ids=str
)
def test_what_is_no_affinity_is_left_to_the_api_server(wrong):
    assert wrong == worker(requiredTopologyKey=RACK, affinity=wrong)["affinity"]


def test_a_worker_alone_is_near_nobody():
    assert "affinity" not in worker(workers=1, requiredTopologyKey=RACK)


def test_nothing_of_nccl_is_set_by_default():
    """A default in the pod would beat the user's envFrom (docs/adr/0022-devices-and-racks.md)."""
    some = job(resources={"limits": {"nvidia.com/gpu": 8}})
    env = {entry["name"] for entry in pod(some, 0, 0)["spec"]["containers"][0]["env"]}

    assert set() == {name for name in env if "NCCL" in name}
    assert set() == {name for name in worker_environment(some, 0, 0, rendezvous_host="a") if "NCCL" in name}
