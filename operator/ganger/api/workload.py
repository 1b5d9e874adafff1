"""Parts of a job that shape its pods: environment, volumes, resources, code, placement.

There is deliberately no raw pod template: every field here is safe under the Pod Security level `restricted`, so host
paths, host namespaces, privileges and foreign namespaces are unknown fields, refused by the API server by name.
Bounds keep the CEL rules of `rules` within the API server's cost budget.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from ganger.api.quantity import QUANTITY_LENGTH_MAX, QUANTITY_PATTERN

# host[:port]/path[:tag][@digest], as container runtimes read it: what this refuses, no node could pull.
IMAGE = (
    r"^([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?(:[0-9]{1,5})?/)?[a-z0-9]+([._-]+[a-z0-9]+)*"
    r"(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[A-Za-z0-9_][-A-Za-z0-9_.]{0,127})?(@[a-z0-9]+:[a-f0-9]{32,128})?$"
)
DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
LABEL_KEY = (
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)
LABEL_VALUE = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
# What the kubelet can resolve in a pod; anything else would leave the container unstarted.
FIELD_PATH = (
    r"^(metadata\.(name|namespace|uid)|metadata\.(labels|annotations)\['"
    r"([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?'\]"
    r"|spec\.(nodeName|serviceAccountName)|status\.(hostIP|hostIPs|podIP|podIPs))$"
)

NO_NUL = r"^[^\x00]*$"  # the kernel ends an argument and a variable there
AMOUNT_MAX = 1 << 53  # beyond, JSON has no exact integer

Quantity = Annotated[
    Annotated[int, Meta(ge=0, le=AMOUNT_MAX)]
    | Annotated[str, Meta(pattern=QUANTITY_PATTERN, max_length=QUANTITY_LENGTH_MAX)],
    Meta(description="A Kubernetes quantity: 4, 500m, 16Gi.", examples=["16Gi"]),
]
# One string type, not a union with a literal: msgspec tries the pattern first and would refuse the word.
AutoOrQuantity = (
    Annotated[int, Meta(ge=0, le=AMOUNT_MAX)]
    | Annotated[str, Meta(pattern=f"^auto$|{QUANTITY_PATTERN}", max_length=QUANTITY_LENGTH_MAX)]
)
ObjectName = Annotated[str, Meta(pattern=DNS_SUBDOMAIN, min_length=1, max_length=253)]
FreeForm = Annotated[dict[str, Any], Meta(extra_json_schema={"x-kubernetes-preserve-unknown-fields": True})]


class Part(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", forbid_unknown_fields=True):
    """Base of every value that a user writes: unknown fields are errors, absent fields stay absent."""


class KeyRef(Part, frozen=True, kw_only=True):
    """One key of a Secret or ConfigMap in the job's own namespace."""

    name: Annotated[ObjectName, Meta(description="Name of the Secret or ConfigMap.", examples=["tokens"])]
    key: Annotated[
        str, Meta(description="Key within it.", pattern=r"^[-._A-Za-z0-9]+$", max_length=253, examples=["hf-token"])
    ]
    optional: Annotated[bool, Meta(description="Whether the pod starts without it.")] = False


class FieldRef(Part, frozen=True, kw_only=True):
    """A field of the pod itself."""

    field_path: Annotated[
        str, Meta(description="Path of the field.", pattern=FIELD_PATH, max_length=253, examples=["status.hostIP"])
    ]


class EnvSource(Part, frozen=True, kw_only=True):
    """Where the value of a variable comes from. Exactly one is set."""

    secret_key_ref: Annotated[KeyRef, Meta(description="A key of a Secret.")] | None = None
    config_map_key_ref: Annotated[KeyRef, Meta(description="A key of a ConfigMap.")] | None = None
    field_ref: Annotated[FieldRef, Meta(description="A field of the pod.")] | None = None


class EnvVar(Part, frozen=True, kw_only=True):
    """One environment variable of every worker."""

    name: Annotated[
        str,
        Meta(
            description="Name. RANK, WORLD_SIZE, MASTER_ADDR and the like, and GANGER_*, are set by Ganger.",
            pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
            min_length=1,
            max_length=128,
            examples=["NCCL_DEBUG"],
        ),
    ]
    value: (
        Annotated[
            str,
            Meta(description="Plain value, visible to every reader of the job.", pattern=NO_NUL, max_length=32768),
        ]
        | None
    ) = None
    value_from: Annotated[EnvSource, Meta(description="Where the value comes from instead.")] | None = None


class EnvFromRef(Part, frozen=True, kw_only=True):
    """A whole Secret or ConfigMap."""

    name: Annotated[ObjectName, Meta(description="Name of the object.", examples=["training-env"])]
    optional: Annotated[bool, Meta(description="Whether the pod starts without it.")] = False


class EnvFrom(Part, frozen=True, kw_only=True):
    """All keys of one Secret or ConfigMap as variables. Exactly one is set."""

    prefix: (
        Annotated[
            str,
            Meta(
                description="Put before every name.",
                pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
                max_length=64,
                examples=["TEAM_"],
            ),
        ]
        | None
    ) = None
    secret_ref: Annotated[EnvFromRef, Meta(description="A Secret.")] | None = None
    config_map_ref: Annotated[EnvFromRef, Meta(description="A ConfigMap.")] | None = None


class DeviceClaim(Part, frozen=True, kw_only=True):
    """Devices by dynamic resource allocation (resource.k8s.io). Either an existing claim or a template of claims."""

    name: Annotated[
        str,
        Meta(
            description="Name, unique in the list.",
            pattern=DNS_LABEL,
            min_length=1,
            max_length=63,
            examples=["gpus"],
        ),
    ]
    claim_name: (
        Annotated[ObjectName, Meta(description="A ResourceClaim that all workers share.", examples=["shared-gpu"])]
        | None
    ) = None
    template_name: (
        Annotated[
            ObjectName,
            Meta(description="A ResourceClaimTemplate; each worker gets a claim of its own.", examples=["two-h100"]),
        ]
        | None
    ) = None
    request: (
        Annotated[
            str,
            Meta(
                description="Only the devices of this request of the claim.",
                pattern=DNS_LABEL,
                min_length=1,
                max_length=63,
                examples=["gpu"],
            ),
        ]
        | None
    ) = None
    gpus: Annotated[
        int,
        Meta(
            description="GPUs that a worker gets by it, for processesPerWorker auto. 0 for other devices.",
            ge=0,
            le=64,
            examples=[2],
        ),
    ] = 1


class Resources(Part, frozen=True, kw_only=True):
    """CPU, memory and devices of one worker."""

    requests: Annotated[
        dict[str, Quantity],
        Meta(description="What the scheduler reserves.", max_length=16, examples=[{"cpu": "4", "memory": "16Gi"}]),
    ] = {}
    limits: Annotated[
        dict[str, Quantity],
        Meta(
            description="What the worker may use. Devices such as nvidia.com/gpu are whole numbers and belong here.",
            max_length=16,
            examples=[{"memory": "16Gi", "nvidia.com/gpu": 1}],
        ),
    ] = {}
    claims: Annotated[
        tuple[DeviceClaim, ...], Meta(description="Devices by dynamic resource allocation.", max_length=8)
    ] = ()


class ClaimVolume(Part, frozen=True, kw_only=True):
    """An existing PersistentVolumeClaim of the job's namespace."""

    claim_name: Annotated[ObjectName, Meta(description="Name of the claim.", examples=["datasets"])]
    read_only: Annotated[bool, Meta(description="Mount it read-only.")] = False


class ObjectVolume(Part, frozen=True, kw_only=True):
    """A ConfigMap or Secret as files, read-only."""

    name: Annotated[ObjectName, Meta(description="Name of the object.", examples=["settings"])]
    optional: Annotated[bool, Meta(description="Whether the pod starts without it.")] = False


class EmptyDir(Part, frozen=True, kw_only=True):
    """Scratch space that lives as long as the pod."""

    medium: Annotated[Literal["", "Memory"], Meta(description="Memory for a tmpfs, empty for the node's disk.")] = ""
    size_limit: Annotated[Quantity, Meta(description="Most bytes it may hold.")] | None = None


class ImageVolume(Part, frozen=True, kw_only=True):
    """The files of an OCI image, read-only."""

    reference: Annotated[
        str,
        Meta(description="Image reference.", pattern=IMAGE, max_length=512, examples=["registry.local/data:v1"]),
    ]
    pull_policy: Annotated[Literal["Always", "IfNotPresent", "Never"], Meta(description="When it is pulled.")] = (
        "IfNotPresent"
    )


class EphemeralVolume(Part, frozen=True, kw_only=True):
    """A claim of its own for each pod, deleted with the pod."""

    size: Annotated[Quantity, Meta(description="Size of the claim.", examples=["100Gi"])]
    storage_class_name: (
        Annotated[ObjectName, Meta(description="Storage class; the default class if absent.", examples=["fast"])] | None
    ) = None


class Volume(Part, frozen=True, kw_only=True):
    """A volume of every worker. Exactly one source is set."""

    name: Annotated[
        str,
        Meta(
            description="Name that volumeMounts use.", pattern=DNS_LABEL, min_length=1, max_length=63, examples=["data"]
        ),
    ]
    claim: Annotated[ClaimVolume, Meta(description="An existing claim.")] | None = None
    config_map: Annotated[ObjectVolume, Meta(description="A ConfigMap as files.")] | None = None
    secret: Annotated[ObjectVolume, Meta(description="A Secret as files.")] | None = None
    empty_dir: Annotated[EmptyDir, Meta(description="Scratch space.")] | None = None
    image: Annotated[ImageVolume, Meta(description="An OCI image as files.")] | None = None
    ephemeral: Annotated[EphemeralVolume, Meta(description="A claim for each pod.")] | None = None


class VolumeMount(Part, frozen=True, kw_only=True):
    """Where a volume appears in the worker."""

    name: Annotated[
        str, Meta(description="Name of the volume.", pattern=DNS_LABEL, min_length=1, max_length=63, examples=["data"])
    ]
    mount_path: Annotated[
        str,
        Meta(description="Absolute path.", pattern=r"^(/[^/:\x00-\x1f\x7f]+)+$", max_length=512, examples=["/data"]),
    ]
    sub_path: (
        Annotated[
            str,
            Meta(
                description="Path inside the volume, relative.",
                pattern=r"^[^/\x00-\x1f\x7f][^\x00-\x1f\x7f]*$",
                max_length=512,
                examples=["train"],
            ),
        ]
        | None
    ) = None
    read_only: Annotated[bool, Meta(description="Mount it read-only.")] = False


class Code(Part, frozen=True, kw_only=True):
    """Where the user's code comes from when it is not in the image. Mounted at /code, on PYTHONPATH; one is set."""

    config_map: Annotated[ObjectVolume, Meta(description="A ConfigMap: one file for each key.")] | None = None
    image: Annotated[ImageVolume, Meta(description="An OCI image.")] | None = None
    claim: Annotated[ClaimVolume, Meta(description="An existing claim.")] | None = None


class Toleration(Part, frozen=True, kw_only=True):
    """A taint that the workers bear."""

    key: (
        Annotated[str, Meta(description="Taint key.", pattern=LABEL_KEY, max_length=253, examples=["nvidia.com/gpu"])]
        | None
    ) = None
    operator: Annotated[Literal["Equal", "Exists"], Meta(description="How value is compared.")] = "Equal"
    value: (
        Annotated[str, Meta(description="Taint value.", pattern=LABEL_VALUE, max_length=63, examples=["present"])]
        | None
    ) = None
    effect: (
        Annotated[
            Literal["NoSchedule", "PreferNoSchedule", "NoExecute"], Meta(description="Taint effect; all if absent.")
        ]
        | None
    ) = None
    toleration_seconds: (
        Annotated[int, Meta(description="Seconds that a NoExecute taint is borne.", ge=0, le=2_592_000)] | None
    ) = None


class LocalName(Part, frozen=True, kw_only=True):
    """The name of an object in the job's namespace."""

    name: Annotated[ObjectName, Meta(description="Name.", examples=["registry-credentials"])]


# What a worker and a session have in the same bounds. Where no description stands here, each says what it is for.
Image = Annotated[str, Meta(pattern=IMAGE, min_length=1, max_length=512)]
EnvVars = Annotated[tuple[EnvVar, ...], Meta(max_length=128)]
EnvFroms = Annotated[
    tuple[EnvFrom, ...], Meta(description="Whole Secrets and ConfigMaps as environment.", max_length=32)
]
Volumes = Annotated[tuple[Volume, ...], Meta(max_length=32)]
VolumeMounts = Annotated[tuple[VolumeMount, ...], Meta(description="Where the volumes appear.", max_length=64)]
SharedMemory = Annotated[
    AutoOrQuantity,
    Meta(description="Size of /dev/shm. auto: half of the memory limit, unlimited without one.", examples=["8Gi"]),
]
UserCode = Annotated[Code, Meta(description="The user's code, mounted at /code, when it is not in the image.")]
NodeSelector = Annotated[
    dict[str, Annotated[str, Meta(pattern=LABEL_VALUE, max_length=63)]],
    Meta(max_length=32, examples=[{"gpu": "h100"}]),
]
Tolerations = Annotated[tuple[Toleration, ...], Meta(max_length=32)]
PullSecrets = Annotated[tuple[LocalName, ...], Meta(description="Secrets for pulling images.", max_length=8)]
