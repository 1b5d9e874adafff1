"""The metrics of one pod, served at /metrics by its supervisor.

| name                                  | type      | label | meaning |
| ------------------------------------- | --------- | ----- | ---------------------------------------- |
| ganger_train_loss                     | gauge     | rank  | loss of this rank's share of the last logged batch |
| ganger_train_learning_rate            | gauge     | rank  | learning rate of the first parameter group |
| ganger_train_gradient_norm            | gauge     | rank  | L2 norm of all gradients, before clipping |
| ganger_train_step                     | gauge     | rank  | optimizer steps done, earlier attempts included |
| ganger_train_steps_planned            | gauge     | rank  | steps of the whole job |
| ganger_train_epoch                    | gauge     | rank  | epoch, from 0 |
| ganger_train_samples_total            | counter   | rank  | samples of this rank in this attempt |
| ganger_train_samples_per_second       | gauge     | rank  | samples of all ranks per second, over the last interval |
| ganger_train_step_seconds             | histogram | rank  | wall time from step to step |
| ganger_train_data_wait_seconds_total  | counter   | rank  | time the loop waited for its next batch |
| ganger_train_evaluation_metric        | gauge     | name  | what the task's `evaluate` returned last |
| ganger_train_checkpoint_seconds       | gauge     |       | copy to commit of the newest checkpoint |
| ganger_train_checkpoint_bytes         | gauge     |       | size of the newest checkpoint |
| ganger_train_checkpoint_step          | gauge     |       | step of the newest checkpoint |
| ganger_train_checkpoint_age_seconds   | gauge     |       | since the newest checkpoint, else the start |
| ganger_train_checkpoint_failures_total | counter   |       | saves that the volume refused in this attempt |
| ganger_train_restarts                 | gauge     |       | attempts before this one |
| ganger_train_gpu_memory_bytes         | gauge     | rank  | GPU memory allocated by tensors |
| ganger_train_gpu_memory_peak_bytes    | gauge     | rank  | its peak in this attempt |

Only local ranks appear; checkpoint series come from worker 0. A rank that has not reported has no series.
"""

import time
from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ganger_trainer.board import Board
from ganger_trainer.pace import STEP_BUCKETS

PREFIX: Final = "ganger_train_"


_PER_RANK: Final = (
    ("loss", "Loss of this rank's share of the last logged batch.", "loss"),
    ("learning_rate", "Learning rate of the first parameter group.", "learning_rate"),
    ("gradient_norm", "L2 norm of all gradients before clipping.", "gradient_norm"),
    ("step", "Optimizer steps done, earlier attempts included.", "step"),
    ("steps_planned", "Steps of the whole job.", "total_steps"),
    ("epoch", "Epoch, from 0.", "epoch"),
    ("samples_per_second", "Samples of all ranks per second over the last interval.", "samples_per_second"),
    ("gpu_memory_bytes", "GPU memory allocated by tensors.", "gpu_bytes"),
    ("gpu_memory_peak_bytes", "Peak GPU memory allocated by tensors in this attempt.", "gpu_bytes_max"),
)


class TrainCollector(Collector):
    """Turns what the board knows into metric families at scrape time; between scrapes it costs nothing."""

    def __init__(self, board: Board, attempt: int) -> None:
        self._board = board
        self._attempt = attempt
        self._began = time.time()

    def collect(self) -> Iterator[Metric]:
        """Yield every family that has a sample."""
        progress = self._board.progress_by_rank()
        for name, text, attribute in _PER_RANK:
            gauge = GaugeMetricFamily(PREFIX + name, text, labels=["rank"])
            for rank, report in progress.items():
                if (value := getattr(report, attribute)) is not None:
                    gauge.add_metric([str(rank)], value)
            if gauge.samples:
                yield gauge
        samples = CounterMetricFamily(PREFIX + "samples", "Samples of this rank in this attempt.", labels=["rank"])
        waits = CounterMetricFamily(PREFIX + "data_wait_seconds", "Time the loop waited for a batch.", labels=["rank"])
        steps = HistogramMetricFamily(PREFIX + "step_seconds", "Wall time from step to step.", labels=["rank"])
        for rank, report in progress.items():
            samples.add_metric([str(rank)], report.samples)
            waits.add_metric([str(rank)], report.data_wait_seconds)
            if len(report.step_counts) == len(STEP_BUCKETS) + 1:
                steps.add_metric([str(rank)], buckets=_cumulative(report.step_counts), sum_value=report.step_seconds)
        yield from (samples, waits, steps)
        yield from self._job_wide()

    def _job_wide(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(PREFIX + "restarts", "Attempts before this one.", value=self._attempt)
        measured = GaugeMetricFamily(PREFIX + "evaluation_metric", "What evaluate returned last.", labels=["name"])
        for name, value in self._board.metrics().items():
            measured.add_metric([name], value)
        if measured.samples:
            yield measured
        saved, failures, saved_time = self._board.checkpoint()
        yield CounterMetricFamily(PREFIX + "checkpoint_failures", "Saves that the volume refused.", value=failures)
        age = time.time() - (saved_time or self._began)
        yield GaugeMetricFamily(PREFIX + "checkpoint_age_seconds", "Since the newest checkpoint.", value=age)
        if saved is not None:
            yield GaugeMetricFamily(PREFIX + "checkpoint_seconds", "Copy to commit, newest.", value=saved.seconds)
            yield GaugeMetricFamily(PREFIX + "checkpoint_bytes", "Size of the newest checkpoint.", value=saved.bytes)
            yield GaugeMetricFamily(PREFIX + "checkpoint_step", "Step of the newest checkpoint.", value=saved.step)


def exposition(board: Board, attempt: int) -> CollectorRegistry:
    """Return a registry of its own that shows `board`."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(TrainCollector(board, attempt))
    return registry


def render(registry: CollectorRegistry) -> bytes:
    """Return the text format 0.0.4."""
    return generate_latest(registry)


def _cumulative(counts: list[int]) -> list[tuple[str, float]]:
    total, result = 0, []
    for bound, count in zip((*STEP_BUCKETS, float("inf")), counts, strict=True):
        total += count
        result.append(("+Inf" if bound == float("inf") else repr(bound), float(total)))
    return result
