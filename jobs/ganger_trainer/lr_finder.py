"""Find a learning rate: `python -m ganger_trainer.lr_finder TASK [--config JSON]`.

It trains a fresh model with a rate that grows from step to step by a fixed factor, on the task's own batches, until the
loss blows up, and names the rate at which the loss fell the fastest (arXiv 1506.01186). One process, no checkpoint; the
task's schedule is left out. As a job: `command: [python, -m, ganger_trainer.lr_finder, my.tasks:task]`.
"""

import argparse
import math
import os
from collections.abc import Sequence
from typing import Any, Final

import torch
from msgspec import Struct

from ganger_trainer import config as configs
from ganger_trainer import cpus, feed, randomness, task
from ganger_trainer.batches import Order
from ganger_trainer.failures import TrainerError, UserError

SMOOTHING: Final = 0.9  # of the losses: a batch says little
BLOWN: Final = 3.0  # a smoothed loss of so many times the lowest one ends the search
ROWS: Final = 16
EDGE: Final = 4  # rates at each end between which nothing is suggested: too few losses make up their mean
FALL: Final = 0.02  # of the first loss: a smaller fall over the whole search may be chance


class Trial(Struct, frozen=True):
    """One step: the rate that it was made with, and the loss before it, smoothed over the steps so far."""

    rate: float
    loss: float


def sweep(job: Any, config: configs.TrainConfig, low: float, high: float, steps: int, device: Any) -> list[Trial]:
    """Train `job` with rates from `low` to `high`; return the trials until the loss blew up.

    Raises UserError as a training does for a task, a config or data that are wrong.
    """
    randomness.seed_all(config.seed)
    data = job.data(config)
    order = Order(size=feed.size(data), batch_size=config.batch_size, seed=config.seed, world_size=1)
    model = job.model(config).to(device)
    optimizer = job.optimizer(model, config)
    shares = [group["lr"] / config.lr for group in optimizer.param_groups]  # groups keep their ratio
    batches = feed.Feed(
        data, order, rank=0, device=device, micro_batch=config.micro_batch, data_workers=config.data_workers
    )
    precision = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[config.precision]
    model.train()
    trials: list[Trial] = []
    mean, lowest = 0.0, math.inf
    for step in range(steps):
        rate = low * (high / low) ** (step / max(1, steps - 1))
        for group, share in zip(optimizer.param_groups, shares, strict=True):
            group["lr"] = rate * share
        value = 0.0
        for micro in batches.at(step).micros:
            with torch.autocast(device.type, precision or torch.bfloat16, enabled=precision is not None):
                loss = job.loss(model, micro.batch) * micro.weight
            loss.backward()
            value += loss.item()
        if config.clip_norm:
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        mean = SMOOTHING * mean + (1 - SMOOTHING) * value
        smoothed = mean / (1 - SMOOTHING ** (step + 1))
        if not math.isfinite(smoothed) or smoothed > BLOWN * lowest:
            break
        lowest = min(lowest, smoothed)
        trials.append(Trial(rate, smoothed))
    return trials


def suggestion(trials: Sequence[Trial]) -> float | None:
    """Return the rate at which the loss fell the fastest per factor of the rate, None where it never fell. Pure."""
    inner = trials[EDGE:-EDGE]
    if len(inner) < 2 or inner[0].loss - min(trial.loss for trial in inner) <= FALL * abs(inner[0].loss):
        return None
    falls = [
        (after.loss - before.loss) / math.log(after.rate / before.rate)
        for before, after in zip(trials[EDGE - 1 :], trials[EDGE + 1 : len(trials) - EDGE + 1], strict=False)
    ]
    return inner[falls.index(min(falls))].rate


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the trials and the suggestion; return the exit code, that of a job whose command this is."""
    parser = argparse.ArgumentParser(prog="python -m ganger_trainer.lr_finder", description="Find a learning rate.")
    parser.add_argument("task", help="module:name, as in spec.task")
    parser.add_argument("--config", default="{}", help="JSON, as in spec.config")
    parser.add_argument("--low", type=float, default=1e-6, help="first rate (default: %(default)s)")
    parser.add_argument("--high", type=float, default=10.0, help="last rate (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=150, help="how many (default: %(default)s)")
    asked = parser.parse_args(arguments)
    try:
        if not 0 < asked.low < asked.high < math.inf:
            raise UserError("ConfigInvalid", f"--low {asked.low} must be above 0 and below --high {asked.high}")
        job = task.load(asked.task)
        config = configs.decode(asked.config, task.config_class(job))
        torch.set_num_threads(config.threads or cpus.threads(1, os.environ))
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        trials = sweep(job, config, asked.low, asked.high, asked.steps, device)
    except TrainerError as error:
        print(f"{error.reason}: {error}")
        return int(error.exit_code)
    for trial in trials[:: max(1, len(trials) // ROWS)]:
        print(f"lr {trial.rate:9.2e}   loss {trial.loss:.4f}")
    found = suggestion(trials)
    if found is None:
        print("the loss never fell: try other bounds (--low, --high), more --steps, or look at the task")
        return 1
    print(f"suggested: lr {found:.1e}, where the loss falls the fastest")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
