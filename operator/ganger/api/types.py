"""TrainingJob v1alpha1 as typed values.

The CRD, the reference and the CLI's validation are all generated from these Structs: change a field here, run
`make generate`, and every other form follows. Semantic rules that a type cannot say live in `rules`.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from ganger.api.data import DataCache, DataSource
from ganger.api.merge import merge
from ganger.api.observed import Metadata
from ganger.api.policy import SECONDS_MAX, Checkpoint, Elastic, Export, FailurePolicy
from ganger.api.status import ProfileStatus, TrainingJobStatus
from ganger.api.workload import (
    LABEL_KEY,
    NO_NUL,
    EnvFroms,
    EnvVars,
    FreeForm,
    Image,
    NodeSelector,
    ObjectName,
    Part,
    PullSecrets,
    Resources,
    SharedMemory,
    Tolerations,
    UserCode,
    VolumeMounts,
    Volumes,
)
from ganger.contract import API_GROUP, API_VERSION, EXPORTS_MAX, GRACE_SECONDS, KIND

TASK_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$"


class TrainingJobSpec(Part, frozen=True, kw_only=True):
    """What to train, on what, and what to do when something happens."""

    image: (
        Annotated[
            Image,
            Meta(
                description="Image of the workers. Default: the operator's configuration.",
                examples=["pytorch-cuda:v2.15"],
            ),
        ]
        | None
    ) = None
    task: (
        Annotated[
            str,
            Meta(
                description="A task of the trainer library, as module:name. One of task, script and command is set.",
                pattern=TASK_PATTERN,
                max_length=256,
                examples=["ganger_trainer.examples.digits:task"],
            ),
        ]
        | None
    ) = None
    script: (
        Annotated[
            tuple[Annotated[str, Meta(pattern=NO_NUL, max_length=4096)], ...],
            Meta(
                description="A script and its arguments, run under torchrun's agent.",
                min_length=1,
                max_length=256,
                examples=[["train.py", "--epochs", "3"]],
            ),
        ]
        | None
    ) = None
    command: (
        Annotated[
            tuple[Annotated[str, Meta(pattern=NO_NUL, max_length=4096)], ...],
            Meta(
                description="Any command, run as it is, with the environment of torchrun. Works in any image.",
                min_length=1,
                max_length=256,
                examples=[["bash", "-c", "nvidia-smi"]],
            ),
        ]
        | None
    ) = None
    config: Annotated[
        FreeForm,
        Meta(
            description="Settings of the task, checked against its config class. Changes hold from the next attempt.",
            examples=[{"epochs": 20, "lr": 1.0e-3, "batchSize": 256}],
        ),
    ] = {}  # noqa: RUF012 -- msgspec makes a new one for each value
    code: UserCode | None = None
    data: Annotated[
        tuple[DataSource, ...],
        Meta(
            description="Data sets and models, read-only at /data/NAME; what has a url is fetched first.", max_length=8
        ),
    ] = ()
    data_cache: (
        Annotated[
            DataCache,
            Meta(
                description="Where what is fetched is kept, so that it is fetched once. Absent: each pod fetches for "
                "itself, into a folder that ends with it."
            ),
        ]
        | None
    ) = None
    workers: Annotated[int, Meta(description="Pods in the gang.", ge=1, le=4096, examples=[2])] = 1
    elastic: Annotated[Elastic, Meta(description="Bounds within which the gang may be resized.")] | None = None
    processes_per_worker: Annotated[
        Annotated[int, Meta(ge=1, le=64)] | Literal["auto"],
        Meta(
            description="Training processes in each pod. auto: one for each GPU, else one, for a MIG slice too.",
            examples=["auto"],
        ),
    ] = "auto"
    resources: Annotated[Resources, Meta(description="CPU, memory and devices of one worker.")] = Resources()
    shared_memory: SharedMemory = "auto"
    env: Annotated[EnvVars, Meta(description="Environment of every worker.")] = ()
    env_from: EnvFroms = ()
    volumes: Annotated[Volumes, Meta(description="Volumes of every worker.")] = ()
    volume_mounts: VolumeMounts = ()
    node_selector: Annotated[NodeSelector, Meta(description="Labels that a node must carry.")] = {}  # noqa: RUF012
    affinity: Annotated[
        FreeForm, Meta(description="Pod affinity as in a pod. Changes hold from the next attempt.")
    ] = {}  # noqa: RUF012 -- msgspec makes a new one for each value
    tolerations: Annotated[Tolerations, Meta(description="Taints that the workers bear.")] = ()
    topology_spread_constraints: Annotated[
        tuple[FreeForm, ...], Meta(description="Spread as in a pod. Changes hold from the next attempt.", max_length=8)
    ] = ()
    required_topology_key: (
        Annotated[
            str,
            Meta(
                description="Label of nodes: all workers run where it has one and the same value, as in one rack.",
                pattern=LABEL_KEY,
                min_length=1,
                max_length=253,
                examples=["topology.kubernetes.io/rack"],
            ),
        ]
        | None
    ) = None
    priority_class_name: (
        Annotated[ObjectName, Meta(description="Priority class of the pods.", examples=["batch"])] | None
    ) = None
    scheduler_name: Annotated[ObjectName, Meta(description="Scheduler of the pods.", examples=["volcano"])] | None = (
        None
    )
    service_account_name: (
        Annotated[ObjectName, Meta(description="Service account of the pods.", examples=["trainer"])] | None
    ) = None
    image_pull_secrets: PullSecrets = ()
    runtime_class_name: (
        Annotated[ObjectName, Meta(description="Runtime class of the pods.", examples=["nvidia"])] | None
    ) = None
    checkpoint: Annotated[Checkpoint, Meta(description="Checkpoints. Absent: none are kept.")] | None = None
    failure_policy: Annotated[FailurePolicy, Meta(description="What failures do.")] = FailurePolicy()
    live_config: Annotated[
        FreeForm,
        Meta(
            description="Settings of the task that change while it trains, without a restart: lr, clipNorm, and what "
            "its Config declares as live. What is not here is as in config. status.liveConfig tells since which step "
            "each holds.",
            examples=[{"lr": 5.0e-4}],
        ),
    ] = {}  # noqa: RUF012 -- msgspec makes a new one for each value
    export: Annotated[
        tuple[Export, ...],
        Meta(
            description="Model files made when the training is done, before the job is complete.",
            max_length=EXPORTS_MAX,
        ),
    ] = ()
    suspend: Annotated[bool, Meta(description="true stops the gang after a checkpoint; false lets it go on.")] = False
    termination_grace_period_seconds: Annotated[
        int,
        Meta(
            description="Seconds that a worker has between SIGTERM and SIGKILL, for a last checkpoint. "
            "status.checkpoint.graceSecondsNeeded says how many it needs. Changes hold from the next attempt.",
            ge=1,
            le=3600,
            examples=[120],
        ),
    ] = GRACE_SECONDS
    active_deadline_seconds: (
        Annotated[
            int,
            Meta(
                description="The job fails when it is not complete so many seconds after startTime.",
                ge=1,
                le=SECONDS_MAX,
            ),
        ]
        | None
    ) = None
    start_deadline_seconds: (
        Annotated[
            int,
            Meta(
                description="The job fails when not all workers run so many seconds after creation or resume.",
                ge=1,
                le=SECONDS_MAX,
            ),
        ]
        | None
    ) = None
    ttl_seconds_after_finished: (
        Annotated[int, Meta(description="The job is deleted so many seconds after it finished.", ge=0, le=SECONDS_MAX)]
        | None
    ) = None
    clean_pod_policy: Annotated[
        Literal["None", "Running", "All"],
        Meta(description="Which pods are removed when the job finished: none, those that still run, or all."),
    ] = "Running"
    profile: (
        Annotated[
            ObjectName,
            Meta(
                description="TrainingProfile whose values hold where the job has none: of the job's namespace, else of "
                "the operator's. Read when the job starts or is resumed.",
                examples=["gpu-large"],
            ),
        ]
        | None
    ) = None
    managed_by: (
        Annotated[
            str,
            Meta(
                description="Controller of the job, as domain/path. Any other than ganger.dev/ganger is left alone.",
                pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9][-A-Za-z0-9_./]*$",
                max_length=63,
                examples=["ganger.dev/ganger"],
            ),
        ]
        | None
    ) = None

    @property
    def most_workers(self) -> int:
        """Most workers that the gang may ever have without a new spec."""
        return self.elastic.max_workers if self.elastic is not None else self.workers


class TrainingJob(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A gang of training pods, its checkpoints and its fate.

    written: the spec as its user wrote it, of a job that names a profile; `spec` is then what is made of both. It is no
    field of the API: `decode` alone sets it.
    """

    api_version: str = f"{API_GROUP}/{API_VERSION}"
    kind: Literal["TrainingJob"] = KIND
    metadata: Metadata = Metadata()
    spec: TrainingJobSpec
    status: TrainingJobStatus = TrainingJobStatus()
    written: dict[str, Any] = {}

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.metadata.namespace, self.metadata.name


class _Written(Struct, frozen=True):
    spec: dict[str, Any]


def decode(manifest: dict[str, Any] | bytes | msgspec.Raw) -> TrainingJob:
    """Return the typed job of a manifest, with the values of the profile that it has begun with, if it has.

    Raises msgspec.ValidationError with the path of the first misfit.
    """
    if isinstance(manifest, dict):
        job = msgspec.convert(manifest, TrainingJob)
    else:
        job = msgspec.json.decode(manifest, type=TrainingJob)
    if job.spec.profile is None:
        return job
    spec = manifest["spec"] if isinstance(manifest, dict) else msgspec.json.decode(manifest, type=_Written).spec
    job, taken = msgspec.structs.replace(job, written=spec), job.status.profile
    return job if taken is None or taken.name != job.spec.profile else profiled(job, taken)


def profiled(job: TrainingJob, taken: ProfileStatus) -> TrainingJob:
    """Return the job with a profile's values where it has none of its own, and with them in its status. Pure.

    Raises msgspec.ValidationError for values that no job may have.
    """
    spec = msgspec.convert(merge(taken.values, job.written), TrainingJobSpec)
    return msgspec.structs.replace(job, spec=spec, status=msgspec.structs.replace(job.status, profile=taken))


def encode(value: Struct) -> dict[str, Any]:
    """Return any of our values as plain JSON types; absent and default fields are left out."""
    encoded: dict[str, Any] = msgspec.to_builtins(value)
    return encoded
