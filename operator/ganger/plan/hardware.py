"""What is said of the hardware below a worker: of its devices by the kubelet, of its node by whoever watches it. Pure.

Devices: ResourceHealthStatus, KEP-4680. Node conditions: those of the kubelet and of node problem detectors.
"""

import msgspec

from ganger.api.observed import Condition, Node, Pod, ResourceStatus

NAMED_MAX = 4  # of broken devices or troubles, in a message
TROUBLES_MAX, TROUBLE_LENGTH_MAX = 8, 160
# A condition that is True means trouble (the API conventions, and node-problem-detector's), but for these. False means
# trouble for those of the EKS node monitoring agent; whether a node votes in the etcd of k3s and RKE2 says nothing.
_GOOD = frozenset(
    {"KernelReady", "NetworkingReady", "StorageReady", "ContainerRuntimeReady", "AcceleratedHardwareReady"}
)
_BENIGN = frozenset({"EtcdIsVoter"})
# Taints that say what no condition does; those of the node controller repeat conditions, others are anybody's wish.
_DOWN = frozenset({"node.kubernetes.io/out-of-service", "node.cloudprovider.kubernetes.io/shutdown"})
_decoder = msgspec.json.Decoder(tuple[ResourceStatus, ...] | None)


def broken_devices(pod: Pod) -> tuple[str, ...]:
    """Return resource and ID of each device of the pod that the kubelet calls Unhealthy.

    Unknown is no complaint: a device plugin that is installed anew says that for a while.
    """
    return tuple(
        f"{resource.name} {device.resource_id}"
        for container in pod.status.container_statuses
        for resource in _resources(container.allocated_resources_status)
        for device in resource.resources
        if device.health == "Unhealthy"
    )


def troubles(node: Node) -> tuple[str, ...]:
    """Return each trouble that is known of the node, as `KernelDeadlock=True (DockerHung)`; none where it is well.

    Ready counts unless it is True: Unknown is what the node controller says of a kubelet that fell silent. A node
    without the condition has not said anything yet. Cordoned is no trouble.
    """
    found = [f"{each.type}={each.status}" + _because(each) for each in node.status.conditions if _is_trouble(each)]
    found += [f"taint {taint.key}" for taint in node.spec.taints if taint.key in _DOWN]
    return tuple(text[:TROUBLE_LENGTH_MAX] for text in found[:TROUBLES_MAX])


def told(devices: tuple[str, ...]) -> str:
    """Return a clause that names the broken devices, "" where there are none."""
    return f"the kubelet calls unhealthy: {some(devices)}" if devices else ""


def some(names: tuple[str, ...]) -> str:
    """Return the first few names, and how many more there are."""
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return f"{', '.join(names[:NAMED_MAX])}{more}"


def added(message: str, clause: str, *, length_max: int) -> str:
    """Return the message with the clause at its end, which is kept whole where both are too long."""
    if not clause or not message:
        return (message or clause)[:length_max]
    return f"{message[: max(0, length_max - len(clause) - 2)]}; {clause}"[:length_max]


def _is_trouble(condition: Condition) -> bool:
    if condition.type == "Ready":
        return condition.status != "True"
    if condition.type in _GOOD:
        return condition.status == "False"
    return condition.status == "True" and condition.type not in _BENIGN


def _because(condition: Condition) -> str:
    return f" ({condition.reason})" if condition.reason else ""


def _resources(body: msgspec.Raw) -> tuple[ResourceStatus, ...]:
    if not memoryview(body):
        return ()
    try:
        return _decoder.decode(body) or ()
    except msgspec.DecodeError:
        return ()  # of another shape than today's: no reason to leave the whole job alone
