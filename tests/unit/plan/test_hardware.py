"""What the kubelet says of the devices of a worker."""

import msgspec
import pytest

from builders import job, pod
from ganger.api.observed import Pod
from ganger.plan.hardware import added, broken_devices, told


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
