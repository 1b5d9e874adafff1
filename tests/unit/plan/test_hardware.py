"""What is said of the hardware below a worker."""

import json

import msgspec
import pytest

from builders import job, pod
from ganger.api.observed import Node, Pod
from ganger.plan.hardware import TROUBLE_LENGTH_MAX, TROUBLES_MAX, added, broken_devices, told, troubles


def with_resources(*bodies):
    """A pod with a container for each JSON, decoded as a watch line is."""
    containers = [{"name": f"c{n}", "allocatedResourcesStatus": msgspec.Raw(body)} for n, body in enumerate(bodies)]
    return msgspec.json.decode(msgspec.json.encode({"status": {"containerStatuses": containers}}), type=Pod)


# As the kubelet writes it for a device plugin and for dynamic resource allocation (KEP-4680).
PLUGIN = b"""[{"name": "nvidia.com/gpu", "resources": [
    {"resourceID": "GPU-4d2c", "health": "Unhealthy"}, {"resourceID": "GPU-77aa", "health": "Healthy"}]}]"""
CLAIM = b"""[{"name": "claim:gpus/one", "resources": [
    {"resourceID": "gpu.nvidia.com/node-7/gpu-3", "health": "Unhealthy", "message": "XID 79"}]}]"""


def test_unhealthy_devices_of_all_containers_are_named_with_their_resource():
    found = broken_devices(with_resources(PLUGIN, CLAIM))

    assert ("nvidia.com/gpu GPU-4d2c", "claim:gpus/one gpu.nvidia.com/node-7/gpu-3") == found


@pytest.mark.parametrize("health", ["Healthy", "Unknown", ""])
def test_device_that_is_not_called_unhealthy_is_none(health):
    assert () == broken_devices(pod(job(), 0, devices={"GPU-4d2c": health}))


@pytest.mark.parametrize("body", [b"null", b"[]", b"[{}]", b'{"of": "another shape"}', b'[{"resources": [7]}]'])
def test_what_says_nothing_or_has_another_shape_is_no_device(body):
    assert () == broken_devices(with_resources(body))


def test_pod_without_devices_has_none():
    assert () == broken_devices(pod(job(), 0))


def test_many_broken_devices_are_counted():
    devices = {f"GPU-{number}": "Unhealthy" for number in range(6)}
    text = told(broken_devices(pod(job(), 0, devices=devices)))

    assert (
        text == "the kubelet calls unhealthy: " + ", ".join(f"nvidia.com/gpu GPU-{n}" for n in range(4)) + " and 2 more"
    )


@pytest.mark.parametrize(
    ("message", "clause", "expected"),
    [
        ("", "", ""),
        ("said", "", "said"),
        ("", "more", "more"),
        ("said", "more", "said; more"),
        ("said so", "more", "said; more"),
    ],
)
def test_clause_is_added_at_the_end_and_kept_whole(message, clause, expected):
    assert expected == added(message, clause, length_max=10)


def condition(type_, status, reason="", message=""):
    """A condition of a node, with all the fields that the kubelet and node-problem-detector write."""
    times = {"lastHeartbeatTime": "2026-01-01T12:00:00Z", "lastTransitionTime": "2026-01-01T11:00:00Z"}
    return {"type": type_, "status": status, "reason": reason, "message": message} | times


# As a node with a kubelet, flannel and node-problem-detector gives it.
WELL = [
    condition("KernelDeadlock", "False", "KernelHasNoDeadlock", "kernel has no deadlock"),
    condition("ReadonlyFilesystem", "False", "FilesystemIsNotReadOnly", "Filesystem is not read-only"),
    condition("FrequentKubeletRestart", "False", "NoFrequentKubeletRestart", "kubelet is functioning properly"),
    condition("NetworkUnavailable", "False", "FlannelIsUp", "Flannel is running on this node"),
    condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
]


def node(*conditions, taints=()):
    """A node that is well but for these conditions, decoded as the API server sends it."""
    different = {each["type"] for each in conditions}
    body = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "node-7", "labels": {"kubernetes.io/hostname": "node-7"}},
        "spec": {"podCIDR": "10.0.7.0/24", "unschedulable": True, "taints": list(taints)},
        "status": {
            "capacity": {"nvidia.com/gpu": "8"},
            "conditions": [*(each for each in WELL if each["type"] not in different), *conditions],
            "images": [{"names": ["registry/trainer:v1"], "sizeBytes": 9_000_000_000}],
            "nodeInfo": {"kubeletVersion": "v1.37.2"},
        },
    }
    return msgspec.json.decode(json.dumps(body), type=Node)


def test_node_that_is_well_and_cordoned_has_no_trouble():
    assert () == troubles(node(taints=[{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]))


@pytest.mark.parametrize(
    ("type_", "status", "reason", "expected"),
    [
        ("Ready", "False", "KubeletNotReady", "Ready=False (KubeletNotReady)"),
        ("Ready", "Unknown", "NodeStatusUnknown", "Ready=Unknown (NodeStatusUnknown)"),
        (
            "MemoryPressure",
            "True",
            "KubeletHasInsufficientMemory",
            "MemoryPressure=True (KubeletHasInsufficientMemory)",
        ),
        ("DiskPressure", "True", "", "DiskPressure=True"),
        ("NetworkUnavailable", "True", "NoRouteCreated", "NetworkUnavailable=True (NoRouteCreated)"),
        ("KernelDeadlock", "True", "DockerHung", "KernelDeadlock=True (DockerHung)"),
        ("ReadonlyFilesystem", "True", "FilesystemIsReadOnly", "ReadonlyFilesystem=True (FilesystemIsReadOnly)"),
        ("XIDErrors", "True", "XIDErrorsDetected", "XIDErrors=True (XIDErrorsDetected)"),
        ("GpuNotReady", "True", "XID79", "GpuNotReady=True (XID79)"),
        ("AcceleratedHardwareReady", "False", "NvidiaXID79Error", "AcceleratedHardwareReady=False (NvidiaXID79Error)"),
    ],
)
def test_trouble_of_a_node_is_named_with_its_reason(type_, status, reason, expected):
    assert (expected,) == troubles(node(condition(type_, status, reason)))


@pytest.mark.parametrize(
    ("type_", "status"),
    [
        ("EtcdIsVoter", "True"),
        ("EtcdIsVoter", "False"),
        ("AcceleratedHardwareReady", "True"),
        ("KernelReady", "Unknown"),
        ("MemoryPressure", "Unknown"),
        ("XIDErrors", "Unknown"),
        ("GpuNotReady", "False"),
    ],
)
def test_what_is_well_or_not_known_is_no_trouble(type_, status):
    assert () == troubles(node(condition(type_, status)))


def test_node_of_a_silent_kubelet_is_told_by_its_readiness_alone():
    silent = [condition(each, "Unknown", "NodeStatusUnknown") for each in ("Ready", "MemoryPressure", "DiskPressure")]
    taints = [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]

    assert ("Ready=Unknown (NodeStatusUnknown)",) == troubles(node(*silent, taints=taints))


@pytest.mark.parametrize("key", ["node.kubernetes.io/out-of-service", "node.cloudprovider.kubernetes.io/shutdown"])
def test_taint_that_says_that_the_machine_is_off_is_a_trouble(key):
    assert (f"taint {key}",) == troubles(node(taints=[{"key": key, "value": "nodeshutdown", "effect": "NoExecute"}]))


def test_node_that_has_not_said_anything_has_no_trouble():
    assert () == troubles(msgspec.json.decode(b'{"metadata": {"name": "new"}}', type=Node))


def test_troubles_fit_the_status():
    found = troubles(node(*(condition(f"Custom{n}", "True", "R" * 500) for n in range(20))))

    assert [TROUBLE_LENGTH_MAX] * TROUBLES_MAX == [len(each) for each in found]
