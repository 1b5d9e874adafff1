"""Which resource types Ganger talks about, and where they live under the API server's root."""

from dataclasses import dataclass
from urllib.parse import quote

from ganger import contract


@dataclass(frozen=True, kw_only=True, slots=True)
class Resource:
    """One resource type of the API. group "" is the core group."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """The `apiVersion` of its manifests."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """Return the URL path of a collection (no name), an object or its subresource; namespace None is all."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if namespace and self.namespaced:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/" + "/".join(quote(part, safe="") for part in parts)


PODS = Resource(group="", version="v1", plural="pods", kind="Pod")
SERVICES = Resource(group="", version="v1", plural="services", kind="Service")
CLAIMS = Resource(group="", version="v1", plural="persistentvolumeclaims", kind="PersistentVolumeClaim")
# The newer of the two event APIs: a repetition is one small patch of `series`; the server keeps the core view of it.
EVENTS = Resource(group="events.k8s.io", version="v1", plural="events", kind="Event")
LEASES = Resource(group="coordination.k8s.io", version="v1", plural="leases", kind="Lease")
SECRETS = Resource(group="", version="v1", plural="secrets", kind="Secret")
CONFIG_MAPS = Resource(group="", version="v1", plural="configmaps", kind="ConfigMap")
ENDPOINT_SLICES = Resource(group="discovery.k8s.io", version="v1", plural="endpointslices", kind="EndpointSlice")
NODES = Resource(group="", version="v1", plural="nodes", kind="Node", namespaced=False)
NETWORK_POLICIES = Resource(group="networking.k8s.io", version="v1", plural="networkpolicies", kind="NetworkPolicy")
# Native gang scheduling (KEP-4671), the newest first: 1.37 serves the beta, 1.36 the alpha, neither by default.
POD_GROUPS = tuple(
    Resource(group="scheduling.k8s.io", version=version, plural="podgroups", kind="PodGroup")
    for version in ("v1beta1", "v1alpha2")
)
# Questions in the form of objects: nothing is stored.
TOKEN_REVIEWS = Resource(
    group="authentication.k8s.io", version="v1", plural="tokenreviews", kind="TokenReview", namespaced=False
)
ACCESS_REVIEWS = Resource(
    group="authorization.k8s.io",
    version="v1",
    plural="subjectaccessreviews",
    kind="SubjectAccessReview",
    namespaced=False,
)
TRAINING_JOBS = Resource(
    group=contract.API_GROUP, version=contract.API_VERSION, plural=contract.PLURAL, kind=contract.KIND
)
TRAINING_PROFILES = Resource(
    group=contract.API_GROUP,
    version=contract.API_VERSION,
    plural=contract.PROFILE_PLURAL,
    kind=contract.PROFILE_KIND,
)
DEV_SESSIONS = Resource(
    group=contract.API_GROUP,
    version=contract.API_VERSION,
    plural=contract.SESSION_PLURAL,
    kind=contract.SESSION_KIND,
)
# Kueue's, and the priority classes that a Workload names.
WORKLOADS = Resource(group="kueue.x-k8s.io", version="v1beta2", plural="workloads", kind="Workload")
FLAVORS = Resource(
    group="kueue.x-k8s.io", version="v1beta2", plural="resourceflavors", kind="ResourceFlavor", namespaced=False
)
WORKLOAD_CLASSES = Resource(
    group="kueue.x-k8s.io",
    version="v1beta2",
    plural="workloadpriorityclasses",
    kind="WorkloadPriorityClass",
    namespaced=False,
)
PRIORITY_CLASSES = Resource(
    group="scheduling.k8s.io", version="v1", plural="priorityclasses", kind="PriorityClass", namespaced=False
)
# What `ganger doctor` looks at; the operator has no right to any of it.
DEFINITIONS = Resource(
    group="apiextensions.k8s.io",
    version="v1",
    plural="customresourcedefinitions",
    kind="CustomResourceDefinition",
    namespaced=False,
)
DEPLOYMENTS = Resource(group="apps", version="v1", plural="deployments", kind="Deployment")
STORAGE_CLASSES = Resource(
    group="storage.k8s.io", version="v1", plural="storageclasses", kind="StorageClass", namespaced=False
)
_ADMISSION = "admissionregistration.k8s.io"
POLICIES = Resource(
    group=_ADMISSION,
    version="v1",
    plural="validatingadmissionpolicies",
    kind="ValidatingAdmissionPolicy",
    namespaced=False,
)
BINDINGS = Resource(
    group=_ADMISSION,
    version="v1",
    plural="validatingadmissionpolicybindings",
    kind="ValidatingAdmissionPolicyBinding",
    namespaced=False,
)
LOCAL_QUEUES = Resource(group="kueue.x-k8s.io", version="v1beta2", plural="localqueues", kind="LocalQueue")
OWN_RIGHTS = Resource(
    group="authorization.k8s.io",
    version="v1",
    plural="selfsubjectaccessreviews",
    kind="SelfSubjectAccessReview",
    namespaced=False,
)
