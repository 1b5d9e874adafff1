"""Objects as a real API server sends them, with all the fields that nobody here reads."""

import json
import sys
from datetime import UTC, datetime

import msgspec
import pytest

from ganger.api.observed import Claim, Lease, Pod, Service

# As `kubectl get pod -o json` of a 1.37 cluster gives it, shortened in the middle of lists alone.
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "digits-0-1",
        "generateName": None,
        "namespace": "team",
        "uid": "7c1b8a52-3b5e-4d6e-9f3b-1c2d3e4f5a6b",
        "resourceVersion": "4711",
        "generation": 1,
        "creationTimestamp": "2026-01-01T12:00:00Z",
        "deletionTimestamp": "2026-01-01T12:05:00Z",
        "deletionGracePeriodSeconds": 60,
        "labels": {"ganger.dev/job-uid": "u"},
        "ownerReferences": [
            {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "not-it"},
            {
                "apiVersion": "ganger.dev/v1alpha1",
                "kind": "TrainingJob",
                "name": "digits",
                "uid": "job-uid",
                "controller": True,
                "blockOwnerDeletion": True,
            },
        ],
        "managedFields": [{"manager": "ganger", "operation": "Update", "fieldsV1": {"f:metadata": {}}}],
    },
    "spec": {
        "nodeName": "node-1",
        "containers": [{"name": "trainer", "image": "i", "resources": {}}],
        "hostNetwork": True,
    },
    "status": {
        "phase": "Failed",
        "observedGeneration": 1,
        "qosClass": "Burstable",
        "hostIP": "10.0.0.1",
        "conditions": [
            {
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "EvictionByEvictionAPI",
                "message": "Eviction API: evicting",
                "lastProbeTime": None,
                "lastTransitionTime": "2026-01-01T12:04:59Z",
                "observedGeneration": 1,
            }
        ],
        "initContainerStatuses": None,
        "containerStatuses": [
            {
                "name": "trainer",
                "image": "i",
                "imageID": "sha256:0",
                "containerID": "containerd://0",
                "ready": False,
                "started": False,
                "restartCount": 0,
                "lastState": {},
                "allocatedResources": {"cpu": "1"},
                "allocatedResourcesStatus": [
                    {"name": "nvidia.com/gpu", "resources": [{"resourceID": "GPU-0", "health": "Unhealthy"}]}
                ],
                "state": {
                    "terminated": {
                        "containerID": "containerd://0",
                        "exitCode": 137,
                        "reason": "OOMKilled",
                        "message": '{"outcome": "Failed"}',
                        "startedAt": "2026-01-01T12:00:01Z",
                        "finishedAt": "2026-01-01T12:04:58.123456Z",
                    }
                },
            }
        ],
    },
}


def test_a_pod_is_read_as_far_as_it_is_needed():
    without_nulls = json.loads(json.dumps(POD))
    del without_nulls["metadata"]["generateName"], without_nulls["status"]["initContainerStatuses"]
    pod = msgspec.json.decode(json.dumps(without_nulls), type=Pod)
    ended = pod.status.container_statuses[0].state.terminated

    assert ("digits-0-1", "team", "job-uid") == (pod.metadata.name, pod.metadata.namespace, pod.metadata.controller_uid)
    assert "node-1" == pod.spec.node_name
    assert ("Failed", "DisruptionTarget") == (pod.status.phase, pod.status.conditions[0].type)
    assert (137, "OOMKilled") == (ended.exit_code, ended.reason)
    assert datetime(2026, 1, 1, 12, 4, 58, 123456, tzinfo=UTC) == ended.finished_at
    assert pod.metadata.deletion_timestamp is not None


def test_health_of_devices_is_kept_as_it_came_and_holds_on_to_nothing_else():
    container = POD["status"]["containerStatuses"][0]
    body = json.dumps({"status": {"containerStatuses": [container]}, "spec": {"nodeName": "n" * 5000}}).encode()
    holders = sys.getrefcount(body)
    pod = msgspec.json.decode(body, type=Pod)

    assert holders == sys.getrefcount(body), "a view of it would keep the whole pod's JSON in the cache"
    held = pod.status.container_statuses[0].allocated_resources_status
    assert container["allocatedResourcesStatus"] == json.loads(bytes(held))


@pytest.mark.parametrize("state", ["waiting", "running", "terminated"])
def test_a_container_is_in_one_state(state):
    pod = msgspec.convert({"status": {"containerStatuses": [{"name": "c", "state": {state: {}}}]}}, Pod)
    held = pod.status.container_statuses[0].state

    assert {state} == {name for name in ("waiting", "running", "terminated") if getattr(held, name) is not None}


@pytest.mark.parametrize("kind", [Pod, Service, Claim, Lease])
def test_an_object_that_says_nothing_is_read(kind):
    assert kind() == msgspec.json.decode(b"{}", type=kind)
    assert "" == kind().metadata.controller_uid


def test_a_lease_keeps_what_it_does_not_know():
    """It is written back whole: what a newer client put there must not vanish."""
    spec = {"holderIdentity": "a", "leaseTransitions": 3, "strategy": "OldestEmulationVersion"}

    assert spec == msgspec.json.decode(json.dumps({"spec": spec}), type=Lease).spec
