"""The metrics of one pod, served at /metrics by its supervisor.

`FAMILIES` is the whole list; docs/reference/metrics.md is made of it. Only local ranks appear; series of the whole job
(checkpoints, evaluations) come from the pod of rank 0. What nobody measured has no series: a rank that has not
reported, a GPU that is not there, tokens of a task that does not count them.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from typing import Final, Literal

from msgspec import Struct

from ganger import __version__
from ganger_trainer.board import Board
from ganger_trainer.nvml import Reading
from ganger_trainer.pace import STEP_BUCKETS

PREFIX: Final = "ganger_train_"
COMMON_LABELS: Final = ("training_job",)  # of every series; `job` is Prometheus' own


class Family(Struct, frozen=True):
    """One metric: its full name, `labels` besides `COMMON_LABELS`, and one line of help."""

    name: str
    type: Literal["gauge", "counter", "histogram"]
    labels: tuple[str, ...]
    help: str


def _family(name: str, kind: Literal["gauge", "counter", "histogram"], labels: str, text: str) -> Family:
    return Family(PREFIX + name, kind, tuple(labels.split()), text)


FAMILIES: Final = (
    _family("info", "gauge", "version torch device", "1; versions of Ganger and torch, name of the device."),
    _family("loss", "gauge", "rank", "Loss of this rank's share of the last logged batch."),
    _family("learning_rate", "gauge", "rank", "Learning rate of the first parameter group."),
    _family("gradient_norm", "gauge", "rank", "L2 norm of all gradients before clipping."),
    _family("step", "gauge", "rank", "Optimizer steps done, earlier attempts included."),
    _family("steps_planned", "gauge", "rank", "Steps of the whole job."),
    _family("epoch", "gauge", "rank", "Epoch, from 0."),
    _family("samples_per_second", "gauge", "rank", "Samples of all ranks per second over the last interval."),
    _family("samples_total", "counter", "rank", "Samples of this rank in this attempt."),
    _family("tokens_total", "counter", "rank", "Tokens of this rank in this attempt, if the task counts them."),
    _family("step_seconds", "histogram", "rank", "Wall time from step to step."),
    _family("data_wait_seconds_total", "counter", "rank", "Time the loop waited for its next batch."),
    _family("seconds_total", "counter", "cause", "Time of this worker in this attempt by what it was spent on."),
    _family("mfu_ratio", "gauge", "rank", "Model flops per second over the peak of the device, last interval."),
    _family("evaluation_metric", "gauge", "name", "Newest value of each metric of the task, evaluations first."),
    _family("checkpoint_seconds", "gauge", "", "Copy to commit of the newest checkpoint."),
    _family("checkpoint_bytes", "gauge", "", "Size of the newest checkpoint."),
    _family("checkpoint_step", "gauge", "", "Step of the newest checkpoint."),
    _family("checkpoint_age_seconds", "gauge", "", "Since the newest checkpoint, else since the start."),
    _family("checkpoint_failures_total", "counter", "", "Saves that the volume refused in this attempt."),
    _family("rollbacks", "gauge", "", "Times that this job went back to a checkpoint after a NaN, if it did here."),
    _family("checkpoints_quarantined", "gauge", "", "Damaged checkpoints in the volume, never loaded; at most 20."),
    _family("restarts", "gauge", "", "Attempts before this one."),
    _family("gpu_memory_bytes", "gauge", "rank", "GPU memory allocated by tensors."),
    _family("gpu_memory_peak_bytes", "gauge", "rank", "Peak GPU memory allocated by tensors in this attempt."),
    _family("gpu_utilization_ratio", "gauge", "gpu", "Part of the time in which a kernel ran on this GPU of the pod."),
    _family("gpu_memory_used_bytes", "gauge", "gpu", "Memory in use on the GPU, by whomever."),
    _family("gpu_memory_total_bytes", "gauge", "gpu", "Memory of the GPU."),
    _family("gpu_power_watts", "gauge", "gpu", "Power that the GPU draws."),
    _family("gpu_temperature_celsius", "gauge", "gpu", "Temperature of the GPU."),
    _family("reports_total", "counter", "result", "Reports to the operator: ok, refused or failed."),
)

_PER_RANK: Final = (  # family, field of reports.Progress
    ("loss", "loss"),
    ("learning_rate", "learning_rate"),
    ("gradient_norm", "gradient_norm"),
    ("step", "step"),
    ("steps_planned", "total_steps"),
    ("epoch", "epoch"),
    ("samples_per_second", "samples_per_second"),
    ("tokens_total", "tokens"),
    ("mfu_ratio", "mfu"),
    ("gpu_memory_bytes", "gpu_bytes"),
    ("gpu_memory_peak_bytes", "gpu_bytes_max"),
)
_PER_GPU: Final = (  # family, field of nvml.Reading
    ("gpu_utilization_ratio", "utilization"),
    ("gpu_memory_used_bytes", "memory_used"),
    ("gpu_memory_total_bytes", "memory_total"),
    ("gpu_power_watts", "power_watts"),
    ("gpu_temperature_celsius", "temperature_celsius"),
)
_HEADS: Final = {f.name: f"# HELP {f.name} {f.help}\n# TYPE {f.name} {f.type}\n" for f in FAMILIES}
_BUCKETS: Final = (*(f',le="{bound!r}"' for bound in STEP_BUCKETS), ',le="+Inf"')

Line = tuple[str, str, float | int]  # name of a sample without PREFIX, labels besides the common ones, value


class Page:
    """The text of /metrics: `render` reads what is known now; between scrapes it costs nothing. Thread-safe.

    keeps_checkpoints: False where this worker writes none (it is not the first, or the job has none): an age that only
    grows would raise an alarm. gpus: newest reading of each GPU, called once a scrape; it must not block.
    """

    def __init__(
        self, board: Board, *, attempt: int, job: str, keeps_checkpoints: bool = True,
        gpus: Callable[[], Mapping[int, Reading]] = dict,
    ) -> None:  # fmt: skip
        self._board = board
        self._attempt = attempt
        self._job = _labels(training_job=job)
        self._keeps_checkpoints = keeps_checkpoints
        self._gpus = gpus
        self._began = time.time()
        self._versions = _labels(version=__version__, torch=_torch_version())

    def render(self) -> bytes:
        """Return the page in the text format 0.0.4, families in the order of `FAMILIES`.

        Written by hand: 0.3 ms for eight ranks, where a general-purpose client takes 1 ms after its families are made.
        """
        texts: dict[str, list[str]] = {}
        for lines in (self._of_ranks(), self._of_the_job(), self._of_the_worker()):
            for name, labels, value in lines:
                family = name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
                text = f"{PREFIX}{name}{{{self._job}{labels}}} {_number(value)}\n"
                texts.setdefault(PREFIX + family, []).append(text)
        return "".join(head + "".join(texts[name]) for name, head in _HEADS.items() if name in texts).encode()

    def _of_ranks(self) -> Iterator[Line]:
        for rank, report in self._board.progress_by_rank().items():
            label = f',rank="{rank}"'
            for family, field in _PER_RANK:
                if (value := getattr(report, field)) is not None:
                    yield family, label, value
            if len(report.step_counts) != len(_BUCKETS):
                continue  # a script: it says where it is, and no more
            yield "samples_total", label, report.samples
            yield "data_wait_seconds_total", label, report.data_wait_seconds
            total = 0
            for bucket, count in zip(_BUCKETS, report.step_counts, strict=True):
                total += count
                yield "step_seconds_bucket", label + bucket, total
            yield "step_seconds_sum", label, report.step_seconds
            yield "step_seconds_count", label, total

    def _of_the_job(self) -> Iterator[Line]:
        yield "restarts", "", self._attempt
        for name, value in self._board.metrics().items():
            yield "evaluation_metric", "," + _labels(name=name), value
        if (rolled := self._board.rollbacks()) is not None:
            yield "rollbacks", "", rolled.count
        if (damaged := self._board.quarantined()) is not None:
            yield "checkpoints_quarantined", "", len(damaged)
        if not self._keeps_checkpoints:
            return
        saved, failures, saved_time = self._board.checkpoint()
        yield "checkpoint_failures_total", "", failures
        yield "checkpoint_age_seconds", "", time.time() - (saved_time or self._began)
        if saved is not None:
            yield "checkpoint_seconds", "", saved.seconds
            yield "checkpoint_bytes", "", saved.bytes
            yield "checkpoint_step", "", saved.step

    def _of_the_worker(self) -> Iterator[Line]:
        device = next((training.device for training in self._board.training().values()), "")
        yield "info", f",{self._versions},{_labels(device=device)}", 1
        for cause, seconds in self._board.seconds().items():
            yield "seconds_total", "," + _labels(cause=cause), seconds
        for result, count in self._board.posts().items():
            yield "reports_total", "," + _labels(result=result), count
        for gpu, reading in sorted(self._gpus().items()):
            for family, field in _PER_GPU:
                if (value := getattr(reading, field)) is not None:
                    yield family, f',gpu="{gpu}"', value


def _labels(**values: str) -> str:
    """Return `values` as label pairs, escaped as the text format asks."""
    escaped = {k: v.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"') for k, v in values.items()}
    return ",".join(f'{name}="{value}"' for name, value in escaped.items())


def _number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    if value == -float("inf"):
        return "-Inf"
    return "NaN" if value != value else repr(value)


def _torch_version() -> str:
    """Return torch's version without importing it, "" where it is not installed as a package."""
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return ""
