"""DevSession v1alpha1: a pod to think in, with a job's image and volumes (docs/adr/0028-dev-sessions.md)."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from ganger.api.observed import Condition, Metadata
from ganger.api.status import Said
from ganger.api.workload import (
    EnvFroms,
    EnvVars,
    FreeForm,
    Image,
    NodeSelector,
    ObjectName,
    Part,
    PullSecrets,
    Quantity,
    Resources,
    SharedMemory,
    Tolerations,
    UserCode,
    VolumeMounts,
    Volumes,
)
from ganger.contract import API_GROUP, API_VERSION, GRACE_SECONDS, SESSION_KIND

LIFE_SECONDS_MAX = 604_800
IDLE_SECONDS_MIN = 60
# Type, then base64 of a blob that begins with the type again. Options before it would run commands and open ports.
AUTHORIZED_KEY = (
    r"^(ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI[A-Za-z0-9+/]{43}"
    r"|ecdsa-sha2-nistp(256|384|521) AAAAE2VjZHNhLXNoYTItbmlzdH[A-Za-z0-9+/]{100,}={0,2}"
    r"|ssh-rsa AAAAB3NzaC1yc2EAAAA[A-Za-z0-9+/]{100,}={0,2})( [^\x00-\x1f\x7f]*)?$"
)

SessionPhase = Literal["Pending", "Starting", "Running", "Stopping", "Stopped", "Culled", "Expired", "Failed"]


class Ssh(Part, frozen=True, kw_only=True):
    """A door for SSH: by key alone, never by password, never as root."""

    authorized_keys: Annotated[
        tuple[
            Annotated[
                str,
                Meta(
                    pattern=AUTHORIZED_KEY,
                    max_length=4096,
                    examples=[
                        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGqYyZ7DZCkEpcvzJXWLzmJxIJmX9vXKD3LQ4Xq1cA2u ann@laptop"
                    ],
                ),
            ],
            ...,
        ],
        Meta(
            description="Public keys that may log in, one line each without options: ed25519, ecdsa, RSA from 3072 "
            "bits. Changes hold from the next login on, a minute or two later, and end none.",
            min_length=1,
            max_length=16,
        ),
    ]


class SessionStorage(Part, frozen=True, kw_only=True):
    """Either a claim made for the session (size) or an existing one (claimName). It outlives the session."""

    size: (
        Annotated[Quantity, Meta(description="Size of the claim that is made for the session.", examples=["20Gi"])]
        | None
    ) = None
    storage_class_name: (
        Annotated[
            ObjectName,
            Meta(description="Storage class of that claim; the default class if absent.", examples=["fast"]),
        ]
        | None
    ) = None
    access_mode: (
        Annotated[
            Literal["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"],
            Meta(description="Access mode of that claim. Default: ReadWriteOnce."),
        ]
        | None
    ) = None
    claim_name: Annotated[ObjectName, Meta(description="An existing claim instead.", examples=["home-ann"])] | None = (
        None
    )
    path: (
        Annotated[
            str,
            Meta(
                description="Folder inside that claim, relative and without '..'; its root if absent.",
                pattern=r"^[A-Za-z0-9_][A-Za-z0-9_./-]*$",
                max_length=255,
                examples=["ann/notes"],
            ),
        ]
        | None
    ) = None


class DevSessionSpec(Part, frozen=True, kw_only=True):
    """A pod with JupyterLab and SSH, and when it ends."""

    from_job: (
        Annotated[
            ObjectName,
            Meta(
                description="TrainingJob of this namespace whose image, resources, environment, volumes, code and "
                "placement the session takes over as they are when it starts, its profile, its queue of Kueue and its "
                "priority class included. What the session says itself wins. The job's checkpoints are mounted where "
                "its workers have them.",
                examples=["digits"],
            ),
        ]
        | None
    ) = None
    checkpoint_access: Annotated[
        Literal["ReadOnly", "ReadWrite"],
        Meta(description="How the checkpoints of fromJob are mounted."),
    ] = "ReadOnly"
    image: (
        Annotated[
            Image,
            Meta(
                description="Image, which must be made FROM pytorch-cuda-dev. Default: the image that fromJob names, "
                "else the operator's configuration.",
                examples=["pytorch-cuda-dev:v2.15"],
            ),
        ]
        | None
    ) = None
    jupyter: Annotated[bool, Meta(description="Whether JupyterLab is served.")] = True
    ssh: Annotated[Ssh, Meta(description="Who may log in by SSH. Absent: nobody.")] | None = None
    idle_seconds: Annotated[
        int,
        Meta(
            description="The session ends after so many seconds in which no kernel, terminal or SSH connection did "
            "anything; an open tab is nothing. 0: never, else at least 60.",
            ge=0,
            le=LIFE_SECONDS_MAX,
            examples=[3600],
        ),
    ] = 3600
    max_seconds: Annotated[
        int,
        Meta(
            description="The session ends so many seconds after its start, whatever it does.",
            ge=60,
            le=LIFE_SECONDS_MAX,
            examples=[28800],
        ),
    ] = 86_400
    storage: (
        Annotated[
            SessionStorage,
            Meta(description="The claim at /workspace, which is HOME too. Absent: what is there goes with the pod."),
        ]
        | None
    ) = None
    suspend: Annotated[bool, Meta(description="true stops the session; false starts it again.")] = False
    code: UserCode | None = None
    resources: Annotated[
        Resources, Meta(description="CPU, memory and devices. Default: those of one worker of fromJob.")
    ] = Resources()
    shared_memory: SharedMemory = "auto"
    env: Annotated[EnvVars, Meta(description="Environment.")] = ()
    env_from: EnvFroms = ()
    volumes: Annotated[Volumes, Meta(description="Volumes.")] = ()
    volume_mounts: VolumeMounts = ()
    node_selector: Annotated[NodeSelector, Meta(description="Labels that the node must carry.")] = {}  # noqa: RUF012
    affinity: Annotated[FreeForm, Meta(description="Affinity as in a pod.")] = {}  # noqa: RUF012
    tolerations: Annotated[Tolerations, Meta(description="Taints that the session bears.")] = ()
    priority_class_name: (
        Annotated[ObjectName, Meta(description="Priority class of the pod.", examples=["interactive"])] | None
    ) = None
    scheduler_name: Annotated[ObjectName, Meta(description="Scheduler of the pod.", examples=["volcano"])] | None = None
    service_account_name: (
        Annotated[ObjectName, Meta(description="Service account of the pod.", examples=["notebook"])] | None
    ) = None
    image_pull_secrets: PullSecrets = ()
    runtime_class_name: (
        Annotated[ObjectName, Meta(description="Runtime class of the pod.", examples=["nvidia"])] | None
    ) = None
    termination_grace_period_seconds: Annotated[
        int,
        Meta(
            description="Seconds that the session has between SIGTERM and SIGKILL.",
            ge=1,
            le=3600,
            examples=[60],
        ),
    ] = GRACE_SECONDS


class DevSessionStatus(Said, frozen=True, kw_only=True):
    """The state of a session as the controller last saw it."""

    phase: Annotated[SessionPhase, Meta(description="One word for people, derived from the conditions.")] | None = None
    observed_generation: Annotated[int, Meta(description="metadata.generation that was acted on.", ge=0)] | None = None
    start: Annotated[int, Meta(description="Number of the present start, from 0: the pod is NAME-dev-N.", ge=0)] = 0
    pod: Annotated[str, Meta(description="The pod of the present start, once it is there.", max_length=253)] = ""
    secret_name: Annotated[str, Meta(description="The Secret with Jupyter's token.", max_length=253)] = ""
    start_time: (
        Annotated[datetime, Meta(description="When the session was started; an eviction does not change it.")] | None
    ) = None
    end_time: Annotated[datetime, Meta(description="When it ended; absent while it has not.")] | None = None
    last_activity_time: (
        Annotated[
            datetime,
            Meta(
                description="When a kernel, a terminal or SSH last did something, as the session told it; while "
                "something is done it may be 10 minutes behind."
            ),
        ]
        | None
    ) = None
    cull_time: (
        Annotated[
            datetime,
            Meta(
                description="When the session ends for being idle if nothing more is done in it. Absent while it is "
                "in use: until nothing was done for a tenth of idleSeconds."
            ),
        ]
        | None
    ) = None
    short_runs: Annotated[
        tuple[datetime, ...],
        Meta(
            description="When pods were lost that had not run for 60 s, in the last hour. The third fails the session.",
            max_length=3,
        ),
    ] = ()
    message: (
        Annotated[str, Meta(description="What the session waits for or ended with, in one sentence.", max_length=1024)]
        | None
    ) = None
    conditions: Annotated[tuple[Condition, ...], Meta(description="Conditions, one of each type.", max_length=32)] = ()

    def condition(self, type_: str) -> Condition | None:
        """Return the condition of that type, or None."""
        return next((condition for condition in self.conditions if condition.type == type_), None)

    @property
    def ended(self) -> bool:
        """Whether the session has ended, by itself or by its user. It may be started again."""
        condition = self.condition("Ended")
        return condition is not None and condition.status == "True"


class DevSession(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One pod with JupyterLab and SSH, of a job's image and with its volumes."""

    api_version: str = f"{API_GROUP}/{API_VERSION}"
    kind: Literal["DevSession"] = SESSION_KIND
    metadata: Metadata = Metadata()
    spec: DevSessionSpec = DevSessionSpec()
    status: DevSessionStatus = DevSessionStatus()

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.metadata.namespace, self.metadata.name
