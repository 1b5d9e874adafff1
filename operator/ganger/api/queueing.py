"""The few fields of Kueue's objects that Ganger reads, and Kueue's names (kueue.x-k8s.io/v1beta2)."""

from typing import Any

from msgspec import Struct, field

from ganger.api.observed import Condition, Metadata

GROUP = "kueue.x-k8s.io"
VERSIONS = ("v1beta2",)  # that Ganger speaks, the best first; served since Kueue 0.15
LABEL_CLASS = f"{GROUP}/priority-class"  # on the job: a WorkloadPriorityClass
LABEL_MAX_SECONDS = f"{GROUP}/max-exec-time-seconds"  # on the job
# On the Workload: what Kueue adds to its priority, since 0.17 and behind its feature gate PriorityBoost.
ANNOTATION_BOOST = f"{GROUP}/priority-boost"
LABEL_JOB_UID = f"{GROUP}/job-uid"  # on the Workload: whose quota is freed when that job is gone
PODS_PRIORITY = "scheduling.k8s.io"  # group of the class that a workload without LABEL_CLASS has


class ClassRef(Struct, frozen=True, kw_only=True):
    """The priority class of a Workload: of Kueue's own kind, or the one of the pods."""

    group: str = ""
    kind: str = ""
    name: str = ""


class PodSet(Struct, frozen=True, rename="camel"):
    """What a Workload asks for: so many pods of one template; min_count: so many would do."""

    name: str = ""
    count: int = 1
    min_count: int | None = None


class WorkloadSpec(Struct, frozen=True, rename="camel"):
    """A Workload as its job wants it. active False: somebody took it out of all queues."""

    queue_name: str = ""
    active: bool = True
    priority_class_ref: ClassRef | None = None
    pod_sets: tuple[PodSet, ...] = ()


class Assignment(Struct, frozen=True, rename="camel"):
    """What one pod set got: a flavor for each resource; topology: Kueue places the pods itself."""

    name: str = ""
    flavors: dict[str, str] = {}
    count: int | None = None
    topology: dict[str, Any] | None = field(name="topologyAssignment", default=None)


class Admission(Struct, frozen=True, rename="camel"):
    """The quota that a Workload holds."""

    cluster_queue: str = ""
    pod_set_assignments: tuple[Assignment, ...] = ()


class PodSetUpdate(Struct, frozen=True, rename="camel"):
    """What an admission check wants of the pods."""

    name: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    node_selector: dict[str, str] = {}
    tolerations: tuple[dict[str, Any], ...] = ()


class CheckState(Struct, frozen=True, rename="camel"):
    """One admission check: Pending, Ready, Retry or Rejected."""

    name: str = ""
    state: str = ""
    message: str = ""
    pod_set_updates: tuple[PodSetUpdate, ...] = ()


class Reclaimable(Struct, frozen=True):
    """So many pods of a pod set need their quota no more."""

    name: str = ""
    count: int = 0


class WorkloadStatus(Struct, frozen=True, rename="camel"):
    """What Kueue says, and what it is told."""

    conditions: tuple[Condition, ...] = ()
    admission: Admission | None = None
    admission_checks: tuple[CheckState, ...] = ()
    reclaimable_pods: tuple[Reclaimable, ...] = ()
    accumulated_past_execution_time_seconds: int = 0


class Workload(Struct, frozen=True):
    """A Workload as far as Ganger reads it."""

    metadata: Metadata = Metadata()
    spec: WorkloadSpec = WorkloadSpec()
    status: WorkloadStatus = WorkloadStatus()

    def condition(self, type_: str) -> Condition | None:
        """Return the condition of that type, None where there is none."""
        return next((condition for condition in self.status.conditions if condition.type == type_), None)

    def is_true(self, type_: str) -> bool:
        """Whether that condition is True."""
        found = self.condition(type_)
        return found is not None and found.status == "True"


class FlavorSpec(Struct, frozen=True, rename="camel"):
    """What the pods of a flavor need to get onto its nodes."""

    node_labels: dict[str, str] = {}
    tolerations: tuple[dict[str, Any], ...] = ()


class Flavor(Struct, frozen=True):
    """A ResourceFlavor."""

    metadata: Metadata = Metadata()
    spec: FlavorSpec = FlavorSpec()


class PriorityClass(Struct, frozen=True, rename="camel"):
    """A PriorityClass or a WorkloadPriorityClass."""

    metadata: Metadata = Metadata()
    value: int = 0
    global_default: bool = False
