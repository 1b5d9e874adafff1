"""What the kubelet says of the devices of a worker (ResourceHealthStatus, KEP-4680). Pure."""

import msgspec

from ganger.api.observed import Pod, ResourceStatus

NAMED_MAX = 4  # of the broken devices of a pod, in a message
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


def told(devices: tuple[str, ...]) -> str:
    """Return a clause that names the broken devices, "" where there are none."""
    if not devices:
        return ""
    more = f" and {len(devices) - NAMED_MAX} more" if len(devices) > NAMED_MAX else ""
    return f"the kubelet calls unhealthy: {', '.join(devices[:NAMED_MAX])}{more}"


def added(message: str, clause: str, *, length_max: int) -> str:
    """Return the message with the clause at its end, which is kept whole where both are too long."""
    if not clause or not message:
        return (message or clause)[:length_max]
    return f"{message[: max(0, length_max - len(clause) - 2)]}; {clause}"[:length_max]


def _resources(body: msgspec.Raw) -> tuple[ResourceStatus, ...]:
    if not memoryview(body):
        return ()
    try:
        return _decoder.decode(body) or ()
    except msgspec.DecodeError:
        return ()  # of another shape than today's: no reason to leave the whole job alone
