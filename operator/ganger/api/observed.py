"""The few fields of other objects that Ganger reads.

msgspec decodes only what a Struct names, so a pod costs 3 to 5 KiB here against 83 KiB as the official client's model.
Add a field only together with the code that reads it. Times stay RFC 3339 text until `plan` needs them as values.
"""

from datetime import datetime
from typing import Any

from msgspec import Raw, Struct, field
from msgspec.structs import force_setattr


class OwnerReference(Struct, frozen=True, rename="camel"):
    """Who owns an object; only the controller reference counts."""

    uid: str = ""
    kind: str = ""
    name: str = ""
    controller: bool = False


class Metadata(Struct, frozen=True, rename="camel"):
    """Identity of any object."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None

    @property
    def controller_uid(self) -> str:
        """UID of the controlling owner, or "" where there is none."""
        return next((owner.uid for owner in self.owner_references if owner.controller), "")


class Condition(Struct, frozen=True, rename="camel"):
    """A condition as Kubernetes writes it on pods and on our jobs (KEP-1623)."""

    type: str = ""
    status: str = "Unknown"
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None
    observed_generation: int = 0


class Terminated(Struct, frozen=True, rename="camel"):
    """How a container ended."""

    exit_code: int = 0
    reason: str = ""
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None


class Waiting(Struct, frozen=True):
    """Why a container does not run yet."""

    reason: str = ""
    message: str = ""


class Running(Struct, frozen=True, rename="camel"):
    """Since when a container runs."""

    started_at: datetime | None = None


class ContainerState(Struct, frozen=True):
    """Exactly one of the three is set by the kubelet."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class DeviceHealth(Struct, frozen=True, rename="camel"):
    """What the kubelet says of one device of a container (KEP-4680): Healthy, Unhealthy or Unknown."""

    resource_id: str = field(name="resourceID", default="")
    health: str = ""


class ResourceStatus(Struct, frozen=True, rename="camel"):
    """The devices of one resource: nvidia.com/gpu, or claim:NAME/REQUEST of dynamic allocation."""

    name: str = ""
    resources: tuple[DeviceHealth, ...] = ()


class ContainerStatus(Struct, frozen=True, rename="camel"):
    """State of one container. allocated_resources_status: JSON, a list of ResourceStatus or nothing.

    It is decoded only where somebody asks (`plan.hardware`): a pod has eight devices, and a failure is rare.
    """

    name: str = ""
    image: str = ""
    image_id: str = field(default="", name="imageID")
    state: ContainerState = ContainerState()
    restart_count: int = 0
    allocated_resources_status: Raw = Raw()

    def __post_init__(self) -> None:
        """Keep those bytes alone: as it is decoded, a Raw holds on to the whole message that it came in."""
        if memoryview(self.allocated_resources_status):
            force_setattr(self, "allocated_resources_status", self.allocated_resources_status.copy())


class PodStatus(Struct, frozen=True, rename="camel"):
    """What the scheduler and the kubelet say of a pod."""

    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    pod_ip: str = field(name="podIP", default="")
    conditions: tuple[Condition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()


class SchedulingGroup(Struct, frozen=True, rename="camel"):
    """The group with which a pod is scheduled (KEP-4671)."""

    pod_group_name: str = ""


class PodSpec(Struct, frozen=True, rename="camel"):
    """Where a pod was placed, and what counted for it. priority: the number of its class."""

    node_name: str = ""
    priority: int = 0
    scheduling_group: SchedulingGroup | None = None


class Pod(Struct, frozen=True):
    """A pod as far as Ganger reads it."""

    metadata: Metadata = Metadata()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class Service(Struct, frozen=True):
    """A Service: only its existence and owner matter."""

    metadata: Metadata = Metadata()


class ClaimStatus(Struct, frozen=True):
    """Phase of a claim: Pending, Bound or Lost."""

    phase: str = "Pending"


class Claim(Struct, frozen=True):
    """A PersistentVolumeClaim."""

    metadata: Metadata = Metadata()
    status: ClaimStatus = ClaimStatus()


class NetworkPolicy(Struct, frozen=True):
    """Whether it is there, and whose it is: what it says was said when it was made."""

    metadata: Metadata = Metadata()


class PodGroupStatus(Struct, frozen=True):
    """What the scheduler says of a group."""

    conditions: tuple[Condition, ...] = ()


class PodGroup(Struct, frozen=True):
    """A scheduling.k8s.io PodGroup: the fields read are the same in v1alpha2 and v1beta1."""

    metadata: Metadata = Metadata()
    status: PodGroupStatus = PodGroupStatus()


class Taint(Struct, frozen=True):
    """What keeps pods off a node."""

    key: str = ""


class NodeSpec(Struct, frozen=True):
    """What others say of a node."""

    taints: tuple[Taint, ...] = ()


class NodeStatus(Struct, frozen=True):
    """What a node, and who watches it, says of its health."""

    conditions: tuple[Condition, ...] = ()


class Node(Struct, frozen=True):
    """A node as far as it tells of its health."""

    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class Lease(Struct, frozen=True):
    """A coordination.k8s.io/v1 Lease; `spec` is kept as it came, for `runtime.lease` reads and writes it whole."""

    metadata: Metadata = Metadata()
    spec: dict[str, Any] = field(default_factory=dict)
