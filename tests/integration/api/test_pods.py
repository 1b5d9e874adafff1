"""What the operator would make of a job is accepted by a real API server, field by field.

Names of objects that must exist are left out: a service account, a priority class and a runtime class are looked up
when a pod is created. So are the free-form fields, which the API server judges in the pod alone, and huge pages, whose
amount must be a multiple of their size.
"""

import os

import pytest

from apiclient import wait_for
from fuzz import sound
from fuzz.cases import KINDS, case
from fuzz.lives import stored
from ganger.api.validate import check_manifest
from ganger.plan import pods, service, volumes
from ganger.plan.site import Site

CASES = int(os.environ.get("GANGER_FUZZ_CASES", "60"))
LEFT_OUT = ("serviceAccountName", "priorityClassName", "runtimeClassName", "affinity", "topologySpreadConstraints")
PLURALS = {"Pod": "pods", "Service": "services", "PersistentVolumeClaim": "persistentvolumeclaims"}
SITE = Site(control_url="https://ganger:9443", authority="-----BEGIN CERTIFICATE-----", restarts_containers=True)
RACK = "topology.kubernetes.io/rack"


@pytest.fixture(scope="session")
def place(server):
    """The path of the namespace, once pods may be made there."""
    path = f"/api/v1/namespaces/{server.jobs.split('/')[-2]}"
    wait_for(lambda: server.ask("GET", f"{path}/serviceaccounts/default", None).accepted, 30, "the service account")
    return path


def refusals(server, place, manifest):
    """What the server says against the objects of the job's first and last worker."""
    job = stored(manifest)
    workers = [pods.pod(job, 0, 0, SITE), pods.pod(job, 3, job.spec.workers - 1, SITE)]
    made = [service.service(job), volumes.claim(job), *workers]
    if job.spec.elastic is not None:
        made.append(pods.probe(job, 0, 0))
    found = []
    for each in (one for one in made if one is not None):
        namespace = place.rpartition("/")[2]
        body = each | {"metadata": each["metadata"] | {"namespace": namespace}}
        answer = server.ask("POST", f"{place}/{PLURALS[each['kind']]}?dryRun=All", body)
        if not answer.accepted:
            found.append(answer.message)
    return found


def manifest(**spec):
    """A small gang."""
    return {
        "apiVersion": "ganger.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "digits"},
        "spec": {"task": "m:t", "workers": 2} | spec,
    }


@pytest.mark.parametrize(
    "spec",
    [
        {"resources": {"limits": {"nvidia.com/gpu": 8}}},
        {"resources": {"limits": {"nvidia.com/mig-1g.10gb": 1}}},
        {"resources": {"claims": [{"name": "gpus", "templateName": "two-h100", "gpus": 2}]}},
        {"resources": {"limits": {"memory": "1Gi"}, "claims": [{"name": "a", "claimName": "b", "request": "gpu"}]}},
        {
            "elastic": {"minWorkers": 1, "maxWorkers": 4},
            "resources": {"claims": [{"name": "gpus", "templateName": "two-h100"}]},
            "requiredTopologyKey": RACK,
        },
        {"requiredTopologyKey": RACK, "affinity": {"nodeAffinity": {}}},
        {
            "topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": RACK, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}
            ]
        },
        {"code": {"image": {"reference": "registry.local/code:v1"}}},
        {"code": {"configMap": {"name": "code"}}},
        {
            "volumes": [{"name": "data", "image": {"reference": "registry.local/data:v1", "pullPolicy": "Always"}}],
            "volumeMounts": [{"name": "data", "mountPath": "/data", "readOnly": True}],
        },
        {"sharedMemory": "8Gi"},
    ],
    ids=str,
)
def test_devices_racks_and_images_are_accepted(server, place, spec):
    assert server.try_(manifest(**spec)).accepted
    assert [] == refusals(server, place, manifest(**spec))


@pytest.mark.parametrize("number", [number for number in range(CASES) if KINDS[number % len(KINDS)] == "sound"])
def test_what_is_made_of_a_valid_job_is_accepted(server, place, number):
    drawn = case(2, number).manifest
    assert drawn is not None
    kept = {key: value for key, value in drawn["spec"].items() if key not in LEFT_OUT}
    for amounts in kept.get("resources", {}).values():
        if isinstance(amounts, dict):
            amounts.pop("hugepages-2Mi", None)
    plain = sound.settled(drawn | {"spec": kept})

    assert [] == check_manifest(plain)[1]
    assert [] == refusals(server, place, plain), f"python -m fuzz --seed 2 --case {number}"
