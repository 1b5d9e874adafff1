"""What a worker says while it trains: the body of a report, as `contract` describes it.

It comes from a pod and is not trusted: bounds are part of the type, and what does not decode is refused as a whole.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from ganger.contract import LIVE_REFUSALS_MAX, LIVE_VALUE_CHARACTERS_MAX, LIVE_VALUES_MAX
from ganger.plan.report import ReportedCheckpoint, Told

if TYPE_CHECKING:
    from ganger.plan.eta import Estimate

Phase = Literal["Starting", "Restoring", "Training", "Checkpointing", "Evaluating", "Stopping", "Failed"]
Stage = Literal["starting", "log", "evaluate", "checkpoint", "agree", "data", "forward", "backward", "update", "script"]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Seconds = Annotated[float, Meta(ge=0, le=1e10)]


class AttemptSeconds(Struct, frozen=True, kw_only=True):
    """Seconds of one attempt on one worker's clock, since its process began; they only grow."""

    starting: Seconds = 0.0
    restoring: Seconds = 0.0
    productive: Seconds = 0.0
    checkpointing: Seconds = 0.0


class RankBeat(Struct, frozen=True, kw_only=True, rename="camel"):
    """Where one rank is.

    age_seconds: since step or stage changed. steps, busy_seconds: done and worked by itself since its loop began.
    state: the kernel's letter for its process, T for stopped.
    """

    rank: Count
    step: Count
    stage: Stage
    age_seconds: Seconds
    steps: Count = 0
    busy_seconds: Seconds = 0.0
    state: Annotated[str, Meta(max_length=1)] = ""


class Longest(Struct, frozen=True, kw_only=True):
    """Seconds of what took longest so far on the quickest rank of a worker, 0.0 for what has not been done."""

    first: Seconds = 0.0
    step: Seconds = 0.0
    evaluation: Seconds = 0.0
    checkpoint: Seconds = 0.0


class ReportedFailure(Struct, frozen=True, kw_only=True, rename="camel"):
    """Why the processes of a worker ended, told before its pod ends.

    exit_code: of the worker, if it is not started anew. seconds: since it failed.
    """

    reason: Annotated[str, Meta(min_length=1, max_length=64)]
    message: Annotated[str, Meta(max_length=1000)] = ""
    rank: Count | None = None
    exit_code: Annotated[int, Meta(ge=1, le=255)] = 1
    seconds: Seconds = 0.0
    last_lines: Annotated[tuple[Annotated[str, Meta(max_length=512)], ...], Meta(max_length=10)] = ()


class CheckpointTrouble(Struct, frozen=True, kw_only=True, rename="camel"):
    """Saves that failed one after the other, the newest among them. reason: what the volume says, as ENOSPC."""

    in_a_row: Annotated[int, Meta(ge=1, le=2**53)]
    reason: Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9]*$", max_length=64)]
    message: Annotated[str, Meta(max_length=1000)] = ""


class LiveValue(Struct, frozen=True, kw_only=True):
    """A live setting in force. value: as JSON text. step: the first that used it."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    value: Annotated[str, Meta(max_length=LIVE_VALUE_CHARACTERS_MAX)]
    step: Count


class LiveRefusal(Struct, frozen=True, kw_only=True):
    """A live setting that a task does not take. value: as JSON text, cut to 64 characters."""

    name: Annotated[str, Meta(max_length=64)]
    value: Annotated[str, Meta(max_length=64)]
    reason: Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9]*$", max_length=64)]
    message: Annotated[str, Meta(max_length=300)] = ""


class LiveSettings(Struct, frozen=True, kw_only=True):
    """What of spec.liveConfig all ranks of a worker train with. step: the first that used this set."""

    step: Count
    values: Annotated[tuple[LiveValue, ...], Meta(max_length=LIVE_VALUES_MAX)] = ()
    refused: Annotated[tuple[LiveRefusal, ...], Meta(max_length=LIVE_REFUSALS_MAX)] = ()


class LiveReport(Told, frozen=True, kw_only=True, rename="camel"):
    """One report of one worker. A script that says nothing of its training reports a phase alone."""

    attempt: Count
    worker: Count
    sequence: Count
    phase: Phase
    round: Count = 0
    failure: ReportedFailure | None = None
    step: Count | None = None
    total_steps: Count | None = None
    epoch: Count | None = None
    loss: float | None = None
    learning_rate: float | None = None
    samples_per_second: Annotated[float, Meta(ge=0)] | None = None
    metrics: Annotated[dict[Annotated[str, Meta(min_length=1, max_length=64)], float], Meta(max_length=100)] = {}  # noqa: RUF012 - msgspec copies it
    checkpoint: ReportedCheckpoint | None = None
    resumed_from_step: Count | None = None
    seconds: AttemptSeconds | None = None
    grace_seconds_needed: Seconds | None = None
    checkpoint_failures: Count = 0
    checkpoint_trouble: CheckpointTrouble | None = None
    ranks: Annotated[tuple[RankBeat, ...], Meta(max_length=64)] = ()
    longest: Longest = Longest()
    live: LiveSettings | None = None
    done: Annotated[tuple[Annotated[str, Meta(max_length=64)], ...], Meta(max_length=16)] = ()


class Live(Struct, frozen=True, kw_only=True):
    """The newest report that speaks for a gang, and when it came by the operator's clock.

    eta: when the last step is expected, where that can be said. step_at: when its step was first reported.
    """

    report: LiveReport
    at: datetime
    eta: "Estimate | None" = None
    step_at: datetime | None = None


class Heard(Struct, frozen=True, kw_only=True):
    """What one worker of the present attempt said last. at: when it came, by the operator's clock.

    step_at: when its present step was first reported, None for a worker that knows no step.
    """

    report: LiveReport
    at: datetime
    step_at: datetime | None = None


_DECODER = msgspec.json.Decoder(LiveReport)


def decode(body: bytes) -> LiveReport:
    """Return the report in a body. Raises msgspec.DecodeError that says what is wrong and where."""
    return _DECODER.decode(body)
