"""Why a gang does not run yet, in one reason and one sentence."""

from msgspec import Struct

from ganger.api.observed import Pod, PodGroup
from ganger.contract import DATA_CONTAINER
from ganger.plan import podgroup
from ganger.plan.gang import Gang

# A container that waits for one of these waits for ever without help; ContainerCreating is normal.
_TROUBLE = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)


# Those of them that say the image is not there; the kubelet takes turns between the first two.
IMAGE_PULL = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull"})


class Waiting(Struct, frozen=True, kw_only=True):
    """What the gang waits for. `hopeless`: no waiting will help."""

    reason: str
    message: str
    hopeless: bool = False


def _trouble(pod: Pod) -> Waiting | None:
    for status in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        waiting = status.state.waiting
        if waiting is not None and waiting.reason in _TROUBLE:
            text = waiting.message or waiting.reason
            if waiting.reason in IMAGE_PULL and status.image not in text:
                text = f"image {status.image}: {text}"
            return Waiting(
                reason=waiting.reason,
                message=f"{pod.metadata.name}: {text}",
                hopeless=waiting.reason == "InvalidImageName",
            )
    return None


def _unscheduled(pod: Pod) -> Waiting | None:
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False":
            return Waiting(reason=condition.reason or "Unschedulable", message=condition.message)
    return None


def of_pod(pod: Pod) -> Waiting | None:
    """Return the obstacle of one pod, None where none is known."""
    return _trouble(pod) or _unscheduled(pod)


def _fetches(pod: Pod) -> bool:
    found = pod.status.init_container_statuses
    return any(status.name == DATA_CONTAINER and status.state.running is not None for status in found)


def waiting(gang: Gang, group: PodGroup | None = None) -> Waiting:
    """Return the first obstacle of the lowest worker; where there is none, how many workers run.

    group: that of the attempt; the scheduler says of a pod where it does not fit, of its group why that stops all.
    """
    workers = gang.present.values()
    found = next(filter(None, map(_trouble, workers)), None)
    if found is not None:
        return found
    found = next(filter(None, map(_unscheduled, workers)), None)
    words = podgroup.obstacle(group)
    if words:
        # Often the scheduler says the same of both.
        of_pod = f"{found.message.rstrip('.')}; " if found is not None and found.message not in words else ""
        return Waiting(reason="Unschedulable", message=f"{of_pod}the gang is placed whole or not at all: {words}")
    if found is not None:
        return found
    fetching = next((pod.metadata.name for pod in workers if _fetches(pod)), None)
    if fetching is not None:
        told = f"fetches the data of spec.data: kubectl logs {fetching} -c {DATA_CONTAINER} tells how far it came"
        return Waiting(reason="FetchingData", message=f"{fetching} {told}")
    return Waiting(reason="Starting", message=f"{gang.num_running} of {gang.num_workers} workers run")
