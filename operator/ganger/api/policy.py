"""Parts of a job that say how it keeps its work and how it ends: checkpoints, failures, elasticity, export."""

from typing import Annotated, Literal

from msgspec import Meta, field

from ganger.api.workload import ObjectName, Part, Quantity
from ganger.contract import EXPORT_PATH, EXPORT_PATH_CHARACTERS_MAX, EXPORT_TOLERANCE, ROLLBACKS_MAX

SECONDS_MAX = 31_536_000  # one year: longer is a typing error


class CheckpointVolume(Part, frozen=True, kw_only=True):
    """Either a volume made for the job (size) or an existing claim (claimName)."""

    # Which of the two is asked of the spec as a whole (`rules`): a job may leave it to its profile.

    size: (
        Annotated[Quantity, Meta(description="Size of the volume that is made for the job.", examples=["20Gi"])] | None
    ) = None
    storage_class_name: (
        Annotated[
            ObjectName,
            Meta(description="Storage class of that volume; the default class if absent.", examples=["fast"]),
        ]
        | None
    ) = None
    access_mode: (
        Annotated[
            Literal["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"],
            Meta(
                description="Access mode of that volume. Default: ReadWriteMany for several workers, else "
                "ReadWriteOnce. "
                "ReadWriteOnce also serves several workers on one node."
            ),
        ]
        | None
    ) = None
    when_deleted: Annotated[
        Literal["Retain", "Delete"], Meta(description="What happens to that volume when the job is deleted.")
    ] = "Retain"
    claim_name: Annotated[ObjectName, Meta(description="An existing claim instead.", examples=["shared"])] | None = None
    path: (
        Annotated[
            str,
            Meta(
                description="Folder inside that claim, relative and without '..'.",
                pattern=r"^[A-Za-z0-9_][A-Za-z0-9_./-]*$",
                max_length=255,
                examples=["runs/digits"],
            ),
        ]
        | None
    ) = None


class Keep(Part, frozen=True, kw_only=True):
    """Which checkpoints stay. The newest valid one always does."""

    last: Annotated[int, Meta(description="The newest so many; fewer where the volume has no room.", ge=1, le=1000)] = 3
    best: Annotated[int, Meta(description="The so many with the lowest loss.", ge=0, le=1000)] = 0
    every: Annotated[int, Meta(description="All whose step is a multiple of this.", ge=1, le=2_147_483_647)] | None = (
        None
    )


class Checkpoint(Part, frozen=True, kw_only=True):
    """Where, when and how long checkpoints are kept, and how a job starts from them."""

    volume: Annotated[
        CheckpointVolume, Meta(description="Where they are kept. Required, unless the profile has it.")
    ] = CheckpointVolume()
    every_steps: (
        Annotated[int, Meta(description="Save after so many steps.", ge=1, le=2_147_483_647, examples=[500])] | None
    ) = None
    every_seconds: (
        Annotated[int, Meta(description="Save after so many seconds.", ge=1, le=SECONDS_MAX, examples=[600])] | None
    ) = None
    keep: Annotated[Keep, Meta(description="Which ones stay.")] = Keep()
    resume: Annotated[
        Literal["Auto", "Never", "Required"],
        Meta(description="Auto resumes at the newest valid checkpoint if there is one; Required fails without one."),
    ] = "Auto"
    on_no_valid_checkpoint: Annotated[
        Literal["Fail", "Restart"],
        Meta(description="What happens when checkpoints exist and every one is damaged: fail, or start at step 0."),
    ] = "Fail"


class Backoff(Part, frozen=True, kw_only=True):
    """Delay before an attempt: none after a first failure, then base x 2^n up to the cap, until there is progress."""

    base_seconds: Annotated[
        int, Meta(description="Delay after the second failure without progress.", ge=0, le=3600)
    ] = 5
    cap_seconds: Annotated[int, Meta(description="Longest delay.", ge=0, le=86_400)] = 300


class FailureRule(Part, frozen=True, kw_only=True):
    """What one kind of failure does. The first rule that matches wins; codes and reasons are alternatives."""

    name: Annotated[
        str,
        Meta(
            description="Name, unique in the list.",
            pattern=r"^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?$",
            min_length=1,
            max_length=63,
            examples=["oom"],
        ),
    ]
    on_exit_codes: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=255)], ...],
        Meta(description="Exit codes of the first failing worker.", max_length=64, examples=[[137]]),
    ] = ()
    on_reasons: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9]*$", max_length=64, examples=["OOMKilled"])], ...],
        Meta(description="Reasons of the first failing worker.", max_length=32, examples=[["OOMKilled"]]),
    ] = ()
    action: Annotated[
        Literal["Count", "Ignore", "FailJob", "ExcludeNode"],
        Meta(
            description="Count spends a restart, Ignore only waits as long as Count would, FailJob ends the job, "
            "ExcludeNode spends a restart and avoids the node for six hours."
        ),
    ]


class Hang(Part, frozen=True, kw_only=True):
    """When a gang whose workers report, but whose ranks do not move, is taken for hung."""

    timeout_seconds: Annotated[
        Annotated[int, Meta(ge=1, le=SECONDS_MAX)] | Literal["auto"],
        Meta(
            description="Seconds of a step without progress of any rank. auto: five times the longest step so far, two "
            "minutes at least; of a script none. A first step, an evaluation and a checkpoint may take half an hour or "
            "five times their longest so far, if that is more.",
            examples=[600],
        ),
    ] = "auto"
    action: Annotated[
        Literal["Restart", "Report"],
        Meta(description="Restart counts it as a failure of class Hang; Report tells of it and shows the stacks."),
    ] = "Restart"


class FailurePolicy(Part, frozen=True, kw_only=True):
    """What failures do. Disruptions (eviction, preemption, deletion, lost nodes) are never counted."""

    max_restarts: Annotated[int, Meta(description="Counted failures that are forgiven.", ge=0, le=10_000)] = 3
    backoff: Annotated[Backoff, Meta(description="Delay between attempts.")] = Backoff()
    rules: Annotated[
        tuple[FailureRule, ...], Meta(description="Rules by exit code and reason, in order.", max_length=32)
    ] = ()
    hang: Annotated[Hang, Meta(description="Hang detection.")] = Hang()
    non_finite: Annotated[
        Literal["Fail", "Rollback"],
        Meta(
            description="What a NaN or an infinity in loss, gradient or parameter does: fail the job, or go back to "
            "the newest checkpoint in the running processes and skip the data since. A task, not a script."
        ),
    ] = "Fail"
    max_rollbacks: Annotated[
        int,
        Meta(
            description="How often a job may go back before it fails with NonFiniteLoss.",
            ge=0,
            le=10_000,
            examples=[3],
        ),
    ] = ROLLBACKS_MAX
    node_lost_grace_period_seconds: Annotated[
        int,
        Meta(
            description="A worker that has not ended so many seconds after its own grace period is given up: its node "
            "is taken for lost and the gang goes on elsewhere. The checkpoints are fenced against it.",
            ge=0,
            le=86_400,
            examples=[60],
        ),
    ] = 60
    no_progress_restarts: (
        Annotated[
            int,
            Meta(
                description="Counted restarts in a row without a new checkpoint that are forgiven: when the attempt "
                "after so many fails without one too, the job fails with reason NoProgress.",
                ge=1,
                le=10_000,
                examples=[3],
            ),
        ]
        | None
    ) = None


class Elastic(Part, frozen=True, kw_only=True):
    """Between how many workers the gang may breathe. The global batch and the order of samples stay the same."""

    min_workers: Annotated[int, Meta(description="Fewest workers.", ge=1, le=4096)]
    max_workers: Annotated[int, Meta(description="Most workers.", ge=1, le=4096)]
    shrink_after_seconds: Annotated[
        int,
        Meta(
            description="How long a gang waits for workers that find no node before it goes on without them.",
            ge=1,
            le=86_400,
            examples=[60],
        ),
    ] = 60
    grow_after_seconds: Annotated[
        int,
        Meta(
            description="How long a gang that shrank for want of room does not look for more; doubles while it flaps.",
            ge=1,
            le=86_400,
            examples=[300],
        ),
    ] = 300


class Export(Part, frozen=True, kw_only=True):
    """A model file made when the training is done, from a checkpoint, and compared with the model before it counts."""

    format: Annotated[
        Literal["onnx", "torch-export", "torchscript", "safetensors"],
        Meta(description="Format: model.onnx, model.pt2, model.pt, or model.safetensors with its config.json."),
    ]
    path: Annotated[
        str,
        Meta(
            description="Folder, relative to that of the checkpoints. The file lies in a folder of its format in it.",
            pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_.-]+)*$",
            max_length=EXPORT_PATH_CHARACTERS_MAX,
            examples=["exports"],
        ),
    ] = EXPORT_PATH
    from_: Annotated[
        Literal["Latest", "Best"],
        Meta(description="Which checkpoint: the newest, or of those that are kept the one with the lowest loss."),
    ] = field(default="Latest", name="from")
    tolerance: Annotated[
        float,
        Meta(
            description="Largest absolute difference from the model in eager mode: fp32, CPU, real batches.",
            gt=0,
            le=1,
            examples=[1e-4],
        ),
    ] = EXPORT_TOLERANCE
    opset: (
        Annotated[int, Meta(description="Version of the operators, of onnx alone.", ge=7, le=64, examples=[18])] | None
    ) = None
