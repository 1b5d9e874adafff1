"""What the controller says of a job. Users read it; only the controller writes it, by server-side apply."""

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from ganger.api.observed import Condition

Rung = Literal["Process", "Container", "Pods"]
Phase = Literal["Pending", "Starting", "Running", "Restarting", "Exporting", "Suspended", "Complete", "Failed"]


class Said(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Base of every status value: unknown fields of a newer controller are ignored, absent ones stay absent."""


class NamedNumber(Said, frozen=True, kw_only=True):
    """One metric of the task."""

    name: Annotated[str, Meta(description="Name of the metric.", max_length=64)]
    value: Annotated[float, Meta(description="Its newest value.")]


class Progress(Said, frozen=True, kw_only=True):
    """How far the training is."""

    step: Annotated[int, Meta(description="Optimizer steps done.", ge=0)] | None = None
    total_steps: Annotated[int, Meta(description="Steps in all.", ge=0)] | None = None
    percent: (
        Annotated[
            str,
            Meta(description="Steps done in per cent, as people read it: 45%.", pattern=r"^[0-9]{1,3}%$", max_length=4),
        ]
        | None
    ) = None
    epoch: Annotated[int, Meta(description="Epoch, from 0.", ge=0)] | None = None
    loss: (
        Annotated[str, Meta(description="Newest loss, as text: CRDs of many clusters refuse floats.", max_length=32)]
        | None
    ) = None
    metrics: Annotated[tuple[NamedNumber, ...], Meta(description="Metrics of the task.", max_length=100)] = ()
    samples_per_second: Annotated[float, Meta(description="Samples a second over all workers.")] | None = None
    eta_time: Annotated[datetime, Meta(description="When the last step is expected.")] | None = None
    eta_earliest_time: (
        Annotated[datetime, Meta(description="Early end of the interval that holds 80% of ends.")] | None
    ) = None
    eta_latest_time: Annotated[datetime, Meta(description="Late end of that interval.")] | None = None
    updated_time: Annotated[datetime, Meta(description="When this was reported.")] | None = None


class CheckpointStatus(Said, frozen=True, kw_only=True):
    """The newest committed checkpoint."""

    latest_step: Annotated[int, Meta(description="Its step.", ge=0)] | None = None
    latest_time: Annotated[datetime, Meta(description="When it was committed.")] | None = None
    verified: Annotated[bool, Meta(description="Whether its hashes were read back.")] | None = None
    bytes: Annotated[int, Meta(description="Its size in bytes.", ge=0)] | None = None
    kept: Annotated[int, Meta(description="How many are kept.", ge=0)] | None = None
    grace_seconds_needed: (
        Annotated[
            int,
            Meta(description="What a stop with a checkpoint takes at most, by what was measured, rounded up.", ge=0),
        ]
        | None
    ) = None
    quarantined: Annotated[
        tuple[Annotated[str, Meta(max_length=253)], ...],
        Meta(description="Names of damaged ones in the volume, never loaded; the first 20.", max_length=20),
    ] = ()


class Failure(Said, frozen=True, kw_only=True):
    """The cause of the newest restart: the earliest failure of the attempt, not its victims."""

    attempt: Annotated[int, Meta(description="Attempt that failed.", ge=0)] = 0
    reason: Annotated[str, Meta(description="Class of the failure.", max_length=64)] = ""
    rank: Annotated[int, Meta(description="Global rank that failed first.", ge=0)] | None = None
    pod: Annotated[str, Meta(description="Its pod.", max_length=253)] = ""
    node: Annotated[str, Meta(description="Its node.", max_length=253)] = ""
    exit_code: Annotated[int, Meta(description="Its exit code.")] | None = None
    message: Annotated[str, Meta(description="What it said.", max_length=1024)] = ""
    time: Annotated[datetime, Meta(description="When it failed.")] | None = None
    last_lines: Annotated[
        tuple[Annotated[str, Meta(max_length=512)], ...],
        Meta(description="Last lines of its traceback or of its standard error.", max_length=10),
    ] = ()
    node_conditions: Annotated[
        tuple[Annotated[str, Meta(max_length=160)], ...],
        Meta(description="Troubles of its node, as read after it: KernelDeadlock=True (DockerHung).", max_length=8),
    ] = ()
    rung: (
        Annotated[
            Rung,
            Meta(description="What was started anew: the processes, the containers in their pods, or all pods."),
        ]
        | None
    ) = None


class Restarts(Said, frozen=True, kw_only=True):
    """How often the gang was started anew."""

    counted: Annotated[int, Meta(description="Restarts that spend failurePolicy.maxRestarts.", ge=0)] = 0
    total: Annotated[int, Meta(description="All restarts, disruptions too.", ge=0)] = 0
    without_progress: Annotated[int, Meta(description="Counted restarts since the last checkpoint progress.", ge=0)] = 0
    ignored_without_progress: Annotated[
        int,
        Meta(
            description="Failures since the last checkpoint progress that a rule ignored; only for the backoff.",
            ge=0,
        ),
    ] = 0
    steps_without_progress: Annotated[
        tuple[Annotated[int, Meta(ge=0)], ...],
        Meta(description="Steps at which their attempts ended, the newest 16, where they were told.", max_length=16),
    ] = ()
    in_place: Annotated[
        int,
        Meta(
            description="Restarts inside the pods of the present attempt since its last checkpoint: after none the "
            "processes are started anew, after 1 the containers, after 2 the pods.",
            ge=0,
        ),
    ] = 0
    checkpoint_step: (
        Annotated[int, Meta(description="Step of the newest checkpoint when the attempt began.", ge=0)] | None
    ) = None
    next_attempt_time: Annotated[datetime, Meta(description="The next attempt does not start before.")] | None = None
    last: Annotated[Failure, Meta(description="Cause of the newest restart.")] | None = None


class Rollbacks(Said, frozen=True, kw_only=True):
    """How often the gang went back to a checkpoint because of a NaN or an infinity; no restart, no pod is touched."""

    count: Annotated[int, Meta(description="How often in the life of the job.", ge=0)] = 0
    last_step: Annotated[int, Meta(description="Step at which the newest was seen.", ge=0)] | None = None
    to_step: Annotated[int, Meta(description="Step of the checkpoint that it went back to.", ge=0)] | None = None
    time: Annotated[datetime, Meta(description="When it was heard of.")] | None = None


class Resize(Said, frozen=True, kw_only=True):
    """One change of the size of an elastic gang."""

    attempt: Annotated[int, Meta(description="Attempt that began with it.", ge=0)]
    from_workers: Annotated[int, Meta(description="Workers before.", ge=1)]
    to_workers: Annotated[int, Meta(description="Workers since.", ge=1)]
    reason: Annotated[Literal["Scaled", "Shrunk", "Grown"], Meta(description="Why.")]
    message: Annotated[str, Meta(description="Why, in one sentence.", max_length=1024)] = ""
    time: Annotated[datetime, Meta(description="When it was decided.")] | None = None


class Resizes(Said, frozen=True, kw_only=True):
    """How often an elastic gang changed its size. A resize is no restart: `restarts` does not count it."""

    total: Annotated[int, Meta(description="All resizes.", ge=0)] = 0
    shrinks: Annotated[int, Meta(description="Shrinks for want of room, one soon after the other.", ge=0)] = 0
    grow_time: Annotated[datetime, Meta(description="The gang does not look for more room before.")] | None = None
    last: Annotated[Resize, Meta(description="The newest one.")] | None = None


class GoodputSeconds(Said, frozen=True, kw_only=True):
    """Where the time went, in seconds."""

    queued: Annotated[float, Meta(description="Waiting for admission to a queue, or for a quota.", ge=0)] = 0.0
    scheduling: Annotated[float, Meta(description="Waiting for nodes.", ge=0)] = 0.0
    image: Annotated[float, Meta(description="Pulling images and mounting volumes.", ge=0)] = 0.0
    starting: Annotated[float, Meta(description="Starting processes and meeting the gang.", ge=0)] = 0.0
    restoring: Annotated[float, Meta(description="Loading a checkpoint.", ge=0)] = 0.0
    productive: Annotated[float, Meta(description="Training steps that count.", ge=0)] = 0.0
    checkpointing: Annotated[float, Meta(description="Steps held up by saving.", ge=0)] = 0.0
    lost: Annotated[
        float, Meta(description="Steps that were repeated after a failure, or left behind by a rollback.", ge=0)
    ] = 0.0
    restarting: Annotated[float, Meta(description="Between two attempts.", ge=0)] = 0.0
    exporting: Annotated[float, Meta(description="Making model files, after the training.", ge=0)] = 0.0
    suspended: Annotated[float, Meta(description="Suspended by spec.suspend.", ge=0)] = 0.0


class Goodput(Said, frozen=True, kw_only=True):
    """Where the time of the job went. The parts sum to the time from its creation to `accountedTime`."""

    ratio: Annotated[float, Meta(description="Productive time over all time.", ge=0, le=1)] | None = None
    seconds: Annotated[GoodputSeconds, Meta(description="Its parts.")] | None = None
    lost_steps: Annotated[int, Meta(description="Steps that were done and lost to failures and rollbacks.", ge=0)] = 0
    accounted_time: Annotated[datetime, Meta(description="Up to when the time is accounted for.")] | None = None


class Suspicion(Said, frozen=True, kw_only=True):
    """Why a node is suspected of making the job fail. It decays with a half-life of 6 hours."""

    node: Annotated[str, Meta(description="The node.", max_length=253)]
    score: Annotated[
        float, Meta(description="How much, at that time: excluded from 1 on, until it is below 0.5.", ge=0, le=4)
    ]
    reason: Annotated[str, Meta(description="Class of the newest failure there.", max_length=64)] = ""
    time: Annotated[datetime, Meta(description="When it was last changed.")] | None = None


class LiveValue(Said, frozen=True, kw_only=True):
    """A live setting and the step from which it holds."""

    name: Annotated[str, Meta(description="Name of the setting.", max_length=64)]
    value: Annotated[str, Meta(description="Its value as JSON.", max_length=256)]
    applied_at_step: Annotated[int, Meta(description="First step that used it.", ge=0)]


class Artifact(Said, frozen=True, kw_only=True):
    """A model file that was exported."""

    format: Annotated[str, Meta(description="Its format.", max_length=32)]
    path: Annotated[str, Meta(description="Its path, relative to the folder of the checkpoints.", max_length=512)]
    sha256: Annotated[str, Meta(description="Its digest.", max_length=64)] = ""
    bytes: Annotated[int, Meta(description="Its size in bytes.", ge=0)] | None = None
    max_abs_diff: (
        Annotated[float, Meta(description="Largest absolute difference from the model in eager mode.", ge=0)] | None
    ) = None
    step: Annotated[int, Meta(description="Step of the checkpoint that it was made from.", ge=0)] | None = None


class ExportStatus(Said, frozen=True, kw_only=True):
    """The pod that makes the model files. Once there is one, the training is done for good."""

    number: Annotated[int, Meta(description="Number of the present try, from 0; its pod is JOB-export-NUMBER.", ge=0)]
    counted: Annotated[int, Meta(description="Tries that spent failurePolicy.maxRestarts.", ge=0)] = 0
    next_try_time: Annotated[datetime, Meta(description="The pod is not made before.")] | None = None
    last: Annotated[Failure, Meta(description="What the try before died of.")] | None = None


class ProfileStatus(Said, frozen=True, kw_only=True):
    """The profile as the job has read it: what became of it since does not matter to this job."""

    name: Annotated[str, Meta(description="Its name.", max_length=253)]
    namespace: Annotated[str, Meta(description="Its namespace.", max_length=63)]
    generation: Annotated[int, Meta(description="Its metadata.generation.", ge=0)] = 0
    values: Annotated[
        dict[str, Any],
        Meta(
            description="Its spec. The job's own values win over these.",
            extra_json_schema={"x-kubernetes-preserve-unknown-fields": True, "x-kubernetes-map-type": "atomic"},
        ),
    ] = {}


class TrainingJobStatus(Said, frozen=True, kw_only=True):
    """The state of a job as the controller last saw it."""

    phase: Annotated[Phase, Meta(description="One word for people, derived from the conditions.")] | None = None
    observed_generation: Annotated[int, Meta(description="metadata.generation that was acted on.", ge=0)] | None = None
    attempt: Annotated[int, Meta(description="Number of the present attempt, from 0.", ge=0)] = 0
    round: Annotated[
        int, Meta(description="Which start of the processes in the pods of this attempt, from 0.", ge=0)
    ] = 0
    start_time: (
        Annotated[datetime, Meta(description="When the first pod was made since creation or resume.")] | None
    ) = None
    completion_time: Annotated[datetime, Meta(description="When the job reached Complete or Failed.")] | None = None
    gang_size: (
        Annotated[int, Meta(description="Workers of the present attempt, where spec.elastic lets them differ.", ge=1)]
        | None
    ) = None
    workers: Annotated[str, Meta(description="Workers ready and wanted: 2/2.", max_length=16)] | None = None
    ready_workers: Annotated[int, Meta(description="Workers that run; read by the scale subresource.", ge=0)] | None = (
        None
    )
    selector: Annotated[str, Meta(description="Label selector of the workers.", max_length=512)] | None = None
    message: (
        Annotated[str, Meta(description="What the job waits for or ended with, in one sentence.", max_length=1024)]
        | None
    ) = None
    conditions: Annotated[tuple[Condition, ...], Meta(description="Conditions, one of each type.", max_length=32)] = ()
    profile: Annotated[ProfileStatus, Meta(description="The profile that the job runs with.")] | None = None
    progress: Annotated[Progress, Meta(description="How far the training is.")] | None = None
    checkpoint: Annotated[CheckpointStatus, Meta(description="The newest checkpoint.")] | None = None
    restarts: Annotated[Restarts, Meta(description="How often the gang was started anew.")] | None = None
    rollbacks: Annotated[Rollbacks, Meta(description="How often a NaN or an infinity was left behind.")] | None = None
    resizes: Annotated[Resizes, Meta(description="How often an elastic gang changed its size.")] | None = None
    goodput: Annotated[Goodput, Meta(description="Where the time went.")] | None = None
    export: Annotated[ExportStatus, Meta(description="How far the model files are.")] | None = None
    live_config: Annotated[tuple[LiveValue, ...], Meta(description="Live settings in force.", max_length=64)] = ()
    artifacts: Annotated[tuple[Artifact, ...], Meta(description="Exported model files.", max_length=32)] = ()
    excluded_nodes: Annotated[
        tuple[Annotated[str, Meta(max_length=253)], ...],
        Meta(description="Nodes that pods made from now on avoid.", max_length=8),
    ] = ()
    node_suspicions: Annotated[
        tuple[Suspicion, ...], Meta(description="Nodes on which the job failed.", max_length=16)
    ] = ()

    def condition(self, type_: str) -> Condition | None:
        """Return the condition of that type, or None."""
        return next((condition for condition in self.conditions if condition.type == type_), None)

    def is_true(self, type_: str) -> bool:
        """Whether the condition of that type is True."""
        condition = self.condition(type_)
        return condition is not None and condition.status == "True"

    @property
    def finished(self) -> bool:
        """Whether the job is Complete or Failed. Both are absorbing."""
        return self.is_true("Complete") or self.is_true("Failed")
