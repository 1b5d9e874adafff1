"""The last word of a worker, as the supervisor writes it into the termination message.

The text comes from a pod and is not trusted: whatever does not decode is kept as plain text, cut to size.
"""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from ganger.api.observed import Pod, Terminated
from ganger.api.status import Artifact, CheckpointStatus, NamedNumber, Progress, Rollbacks
from ganger.contract import CONTAINER, DATA_CONTAINER, EXPORTS_MAX, QUARANTINED_MAX

PEER_LOST = "PeerLost"
_TEXT_LENGTH_MAX = 1000
CheckpointName = Annotated[str, Meta(max_length=64)]


class ReportedCheckpoint(Struct, frozen=True, kw_only=True, rename="camel"):
    """The newest committed checkpoint that the worker knows."""

    step: int
    bytes: int | None = None
    kept: int | None = None
    verified: bool | None = None
    saved_at: datetime | None = None


class ReportedRollbacks(Struct, frozen=True, kw_only=True, rename="camel"):
    """How often the job went back after a NaN; where the newest was seen, and the step that it went back to."""

    count: Annotated[int, Meta(ge=0, le=2**53)]
    step: Annotated[int, Meta(ge=0, le=2**53)]
    to_step: Annotated[int, Meta(ge=0, le=2**53)]


class ReportedArtifact(Struct, frozen=True, kw_only=True, rename="camel"):
    """A model file that was made and compared. path: relative to the folder of the checkpoints."""

    format: Annotated[str, Meta(max_length=32)]
    path: Annotated[str, Meta(max_length=512)]
    sha256: Annotated[str, Meta(max_length=64)]
    bytes: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    max_abs_diff: Annotated[float, Meta(ge=0)]
    step: Annotated[int, Meta(ge=0, le=2**53)]


class Told(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a worker says of the training, on the way or at its end; keys as in `contract`."""

    step: int | None = None
    total_steps: int | None = None
    epoch: int | None = None
    loss: float | None = None
    samples_per_second: float | None = None
    metrics: dict[str, float] = {}
    checkpoint: ReportedCheckpoint | None = None
    resumed_from_step: int | None = None
    quarantined: Annotated[tuple[CheckpointName, ...], Meta(max_length=QUARANTINED_MAX)] | None = None
    rollbacks: ReportedRollbacks | None = None


class Report(Told, frozen=True, kw_only=True, rename="camel"):
    """What a worker said at its end."""

    outcome: str = ""
    reason: str = ""
    message: str = ""
    rank: int | None = None
    exit_code: int | None = None
    traceback: str = ""
    last_lines: tuple[str, ...] = ()
    artifacts: Annotated[tuple[ReportedArtifact, ...], Meta(max_length=EXPORTS_MAX)] = ()


_DECODER = msgspec.json.Decoder(Report)


def terminated(pod: Pod) -> Terminated | None:
    """Return how the trainer's container ended, or None while it has not; else how the one that fetches data failed."""
    for status in pod.status.container_statuses:
        if status.name == CONTAINER and status.state.terminated is not None:
            return status.state.terminated
    for status in pod.status.init_container_statuses:
        end = status.state.terminated
        if status.name == DATA_CONTAINER and end is not None and end.exit_code:
            return end
    return None


def report(pod: Pod) -> Report:
    """Return the worker's last word; an empty one when it left none."""
    end = terminated(pod)
    if end is None or not end.message:
        return Report(message=pod.status.message[:_TEXT_LENGTH_MAX])
    try:
        return _DECODER.decode(end.message)
    except msgspec.DecodeError:
        # The tail of a log, cut by the kubelet at the front: the end is what matters.
        return Report(message=end.message.strip()[-_TEXT_LENGTH_MAX:])


def progress(said: Told, at: datetime | None) -> Progress | None:
    """Return what the report says of the training, or None when it says nothing of it."""
    if said.step is None:
        return None
    percent = None
    if said.total_steps:
        percent = f"{min(100, max(0, 100 * said.step // said.total_steps))}%"
    return Progress(
        step=max(0, said.step),
        total_steps=said.total_steps,
        percent=percent,
        epoch=said.epoch,
        loss=None if said.loss is None else f"{said.loss:.4g}",
        metrics=tuple(NamedNumber(name=name[:64], value=value) for name, value in sorted(said.metrics.items())[:100]),
        samples_per_second=said.samples_per_second,
        updated_time=at,
    )


def checkpoint(said: Told) -> CheckpointStatus | None:
    """Return what the report says of the newest checkpoint, or None."""
    if said.checkpoint is None:
        return None
    return CheckpointStatus(
        latest_step=max(0, said.checkpoint.step),
        latest_time=said.checkpoint.saved_at,
        verified=said.checkpoint.verified,
        bytes=said.checkpoint.bytes,
        kept=said.checkpoint.kept,
    )


def quarantined(said: Told, known: CheckpointStatus | None) -> CheckpointStatus | None:
    """Return what is known of the checkpoints with the damaged ones that the report names.

    They are those that the newest look found: whoever removes one from the volume removes it here.
    """
    if said.quarantined is None or (known is None and not said.quarantined):
        return known
    return msgspec.structs.replace(known or CheckpointStatus(), quarantined=said.quarantined)


def rollbacks(said: Told, known: Rollbacks | None, at: datetime | None) -> Rollbacks | None:
    """Return how often the job went back, as known and as the report says; the count never falls."""
    if said.rollbacks is None or (known is not None and said.rollbacks.count <= known.count):
        return known
    found = said.rollbacks
    return Rollbacks(count=found.count, last_step=found.step, to_step=found.to_step, time=at)


def artifacts(said: Report) -> tuple[Artifact, ...]:
    """Return the model files that the report tells of."""
    return tuple(
        Artifact(
            format=one.format,
            path=one.path,
            sha256=one.sha256,
            bytes=one.bytes,
            max_abs_diff=one.max_abs_diff,
            step=one.step,
        )
        for one in said.artifacts
    )
