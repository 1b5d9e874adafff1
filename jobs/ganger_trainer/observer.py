"""What people see of the loop: log lines, evaluations, and the reports behind /metrics.

Called between steps, at the log interval and at evaluations only; these are the places where the device is waited for.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import torch

from ganger_trainer import heartbeat
from ganger_trainer.failures import UserError
from ganger_trainer.mfu import Work, work
from ganger_trainer.pace import Pace
from ganger_trainer.ranks import Ranks
from ganger_trainer.reports import Progress, Sender, during
from ganger_trainer.sinks import Sinks

if TYPE_CHECKING:
    from ganger_trainer.loop import Parts


class Observer:
    """Speaks for one rank; only rank 0 prints and evaluates, the others run on to their next collective.

    evaluate_every: steps between evaluations on this rank, 0 for none. metrics: what the newest one returned.
    sinks: where else rank 0's figures go.
    """

    def __init__(self, ranks: Ranks, sender: Sender, task: Any, *, evaluate_every: int) -> None:
        self._ranks = ranks
        self._sender = sender
        self._task = task
        self._evaluates = ranks.is_first and hasattr(task, "evaluate")
        self.evaluate_every = evaluate_every if self._evaluates else 0
        self._evaluated_at = self._logged_at = -1
        self.metrics: dict[str, float] = {}
        self.last = Progress(rank=ranks.rank, step=0)
        self.sinks = Sinks()
        self._work: Work | None = None  # asked at the first line: by then the model has all its parameters

    def log(self, parts: "Parts", pace: Pace, loss: Any, norm: Any, batch: Any) -> None:
        """Report this step, and print it on rank 0. Waits for the device."""
        with parts.beat.during(heartbeat.LOG):
            self._log(parts, pace, loss, norm, batch)

    def _log(self, parts: "Parts", pace: Pace, loss: Any, norm: Any, batch: Any) -> None:
        value = float(loss.item())
        rate = pace.logged()
        if self._work is None:
            self._work = work(self._task, parts.model, parts.config, self._ranks)
        measured: dict[str, float] = {}
        if self._ranks.is_first and hasattr(self._task, "metrics"):
            measured = self._in_inference(parts, lambda: self._task.metrics(parts.model, batch))
        on_gpu = parts.device.type == "cuda"
        rate_of_learning = float(parts.optimizer.param_groups[0]["lr"])
        self.last = Progress(
            rank=self._ranks.rank,
            step=parts.step,
            total_steps=parts.total_steps,
            epoch=parts.order.epoch(parts.order.position(parts.step - 1)),
            loss=_finite(value),
            learning_rate=rate_of_learning,
            gradient_norm=_finite(float(norm)),
            samples=pace.samples,
            samples_per_second=rate,
            step_seconds=pace.seconds,
            step_counts=pace.counts,
            data_wait_seconds=pace.data_wait,
            gpu_bytes=torch.cuda.memory_allocated() if on_gpu else None,
            gpu_bytes_max=torch.cuda.max_memory_allocated() if on_gpu else None,
            tokens=None if self._work.tokens is None else pace.samples * self._work.tokens,
            mfu=self._work.mfu(rate, self._ranks.world_size),
            metrics=measured | self.metrics,  # what was evaluated is not hidden by the same name of one batch
        )
        self._sender.send(self.last)
        if self._ranks.is_first:
            self._write(self.last, measured)
            more = "".join(f" {name} {number:.4g}" for name, number in measured.items())
            print(
                f"step {parts.step}/{parts.total_steps} epoch {self.last.epoch} loss {value:.4f} "
                f"lr {rate_of_learning:.1e} samples/s {rate:.0f}{more}",
                flush=True,
            )

    def evaluate(self, parts: "Parts") -> None:
        """Run the task's evaluation; remember, report and print what it returned."""
        with during(self._sender, self._ranks.rank, "Evaluating"), parts.beat.during(heartbeat.EVALUATE):
            self.metrics = self._in_inference(parts, lambda: self._task.evaluate(parts.model, parts.config))
        self._evaluated_at = parts.step
        self.last = msgspec.structs.replace(
            self.last, step=parts.step, total_steps=parts.total_steps, metrics=self.last.metrics | self.metrics
        )
        self._sender.send(self.last)
        self.sinks.write(parts.step, _named("evaluation", self.metrics))
        words = " ".join(f"{name} {value:.4f}" for name, value in self.metrics.items())
        print(f"evaluation at step {parts.step}: {words}", flush=True)

    def evaluate_last(self, parts: "Parts") -> None:
        """Evaluate the model unless this step was evaluated; print each metric on its own line."""
        if self._evaluates and self._evaluated_at != parts.step:
            self.evaluate(parts)
        for name, value in self.metrics.items():
            print(f"{name} {value:.4f}", flush=True)

    def rolled_back(self) -> None:
        """Forget what was measured since the checkpoint: those steps are trained anew."""
        self._evaluated_at = self._logged_at = -1
        self.metrics = {}

    def score(self) -> float | None:
        """Return what `keep.best` compares, lower is better; None where the task measures no such thing."""
        if not self.metrics:
            return None
        if hasattr(self._task, "score"):
            return float(self._task.score(self.metrics))
        return self.metrics.get("loss")

    def finished(self, parts: "Parts", loss: Any) -> None:
        """Report where the loop ended. Waits for the device."""
        value = None if loss is None else _finite(float(loss.item()))
        if value is not None and self._logged_at != parts.step:
            self.sinks.write(parts.step, {"train/loss": value})
        last = msgspec.structs.replace(
            self.last,
            step=parts.step,
            total_steps=parts.total_steps,
            epoch=parts.order.epoch(parts.order.position(max(0, parts.step - 1))),
            loss=self.last.loss if value is None else value,
            metrics=self.metrics,
        )
        self._sender.send(last, surely=True)

    def _write(self, line: Progress, measured: dict[str, float]) -> None:
        """Hand the figures of a log line to the sinks."""
        self._logged_at = line.step
        figures = {
            "loss": line.loss,
            "learning_rate": line.learning_rate,
            "gradient_norm": line.gradient_norm,
            "samples_per_second": line.samples_per_second,
            "mfu": line.mfu,
        }
        known = {name: value for name, value in figures.items() if value is not None}
        self.sinks.write(line.step, _named("train", known | measured))

    def _in_inference(self, parts: "Parts", measure: Any) -> dict[str, float]:
        parts.module.eval()
        try:
            with torch.inference_mode():
                return _numbers(measure())
        finally:
            parts.module.train()


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Return `values` as plain finite floats: JSON has no NaN, and a metric that is one is left out."""
    try:
        numbers = {str(name): float(value) for name, value in values.items()}
    except (AttributeError, TypeError, ValueError):
        raise UserError(
            "TaskInvalid",
            f"evaluate() and metrics() return a dict of name to number, not {values!r:.200}: use .item() on tensors",
        ) from None
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def _named(group: str, values: Mapping[str, float]) -> dict[str, float]:
    return {f"{group}/{name}": value for name, value in values.items()}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
