"""What Hugging Face's Trainer posts to Kubeflow, understood as a report of ours.

The body of transformers' KubeflowCallback: {"trainerStatus": {progressPercentage, estimatedRemainingSeconds, metrics:
[{name, value}], lastUpdatedTime}}, values of metrics as text. Its names for the step are current_step and total_steps.
"""

import math
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from ganger.plan.live import LiveReport


class _Metric(Struct, frozen=True):
    name: Annotated[str, Meta(min_length=1, max_length=64)]
    value: Annotated[str, Meta(max_length=64)]


class _Status(Struct, frozen=True, rename="camel"):
    progress_percentage: Annotated[int, Meta(ge=0, le=100)] | None = None
    metrics: Annotated[tuple[_Metric, ...], Meta(max_length=256)] = ()


class _Body(Struct, frozen=True, rename="camel"):
    trainer_status: _Status


_decoder = msgspec.json.Decoder(_Body)
_OWN = ("current_step", "total_steps", "current_epoch", "loss", "learning_rate")


def decode(body: bytes, *, attempt: int, worker: int, known_total: int | None = None) -> LiveReport:
    """Return the body as a report of that worker. Raises msgspec.DecodeError that says what is wrong and where.

    The first and the last body tell no step but a percentage: it is taken of total_steps where the body or an earlier
    one (known_total) gave it, else of 100.
    """
    status = _decoder.decode(body).trainer_status
    numbers = {metric.name: value for metric in status.metrics if (value := _number(metric.value)) is not None}
    step, total = _count(numbers.get("current_step")), _count(numbers.get("total_steps"))
    percentage = status.progress_percentage
    if step is None and percentage is not None:
        total = total or known_total or 100
        step = percentage * total // 100
    return LiveReport(
        attempt=attempt,
        worker=worker,
        sequence=0,
        phase="Training",
        step=step,
        total_steps=total or None,
        epoch=_count(numbers.get("current_epoch")),
        loss=numbers.get("loss"),
        learning_rate=numbers.get("learning_rate"),
        metrics=dict([(name, value) for name, value in numbers.items() if name not in _OWN][:100]),
    )


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _count(value: float | None) -> int | None:
    return int(value) if value is not None and 0 <= value <= 2**53 else None
