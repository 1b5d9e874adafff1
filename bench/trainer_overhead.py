"""What the trainer's loop costs beside a bare PyTorch loop of the same model, data and optimizer.

Both loops run in this process on one thread, in turns of a fifth of a second, so that a busy machine slows both. Ours
has everything on: step histogram, log lines, reports to a supervisor's socket, signal flag, agreement. The figure is
the median ratio of neighbouring turns, with a bootstrap interval of that median.

    PYTHONPATH=operator:jobs python bench/trainer_overhead.py
"""
# ruff: noqa: N806 - tensors carry their shape in their name

import argparse
import contextlib
import io
import json
import os
import platform
import random
import statistics
import time

import torch
from torch import nn
from torch.nn import functional

from ganger_trainer import loop, ranks
from ganger_trainer.agreement import Agreement
from ganger_trainer.batches import Order
from ganger_trainer.config import TrainConfig
from ganger_trainer.feed import Feed
from ganger_trainer.keeper import NoKeeper
from ganger_trainer.observer import Observer
from ganger_trainer.reports import Listener, Sender
from ganger_trainer.soundness import Soundness

COMMAND = "PYTHONPATH=operator:jobs python bench/trainer_overhead.py"
GOAL = 1.01
BATCH, FEATURES, WIDTH, SAMPLES = 128, 64, 128, 8192
ROUNDS, STEPS = 100, 512


class Mlp:
    """The task: some 0.4 ms per step on one core, which is short. A longer step makes the overhead smaller."""

    def loss(self, model, batch):
        x_BF, y_B = batch
        return functional.cross_entropy(model(x_BF), y_B)


def network(width=WIDTH):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(FEATURES, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)
    )
    return model, torch.optim.AdamW(model.parameters(), lr=1e-3)


class Bare:
    """The loop of a tutorial: shuffle per epoch, index, forward, loss, backward, update."""

    def __init__(self, data):
        self.data = data
        self.model, self.optimizer = network()
        self.model.train()

    def run(self, steps):
        x_NF, y_N = self.data
        model, optimizer = self.model, self.optimizer
        done = 0
        while done < steps:
            permutation = torch.randperm(SAMPLES)
            for start in range(0, SAMPLES, BATCH):
                indices = permutation[start : start + BATCH]
                loss = functional.cross_entropy(model(x_NF[indices]), y_N[indices])
                loss.backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                done += 1
                if done == steps:
                    break


class Ours:
    """The same through `ganger_trainer.loop`."""

    def __init__(self, data, sender, *, batch=BATCH, width=WIDTH):
        model, optimizer = network(width)
        self.gang = ranks.Ranks(rank=0, world_size=1, local_rank=0, device=torch.device("cpu"))
        order = Order(size=SAMPLES, batch_size=batch, seed=0, world_size=1)
        config = TrainConfig(batch_size=batch)
        feed = Feed(data, order, rank=0, device=self.gang.device, micro_batch=None, data_workers=0)
        self.parts = loop.Parts(
            config=config, task=Mlp(), model=model, module=model, optimizer=optimizer, scheduler=None, scaler=None,
            order=order, feed=feed, soundness=Soundness(model, self.gang), device=self.gang.device, total_steps=0,
        )  # fmt: skip
        self.observer = Observer(self.gang, sender, self.parts.task, evaluate_every=1 << 60)

    def run(self, steps):
        self.parts.total_steps = self.parts.step + steps
        with contextlib.redirect_stdout(io.StringIO()):
            loop.train(self.parts, Agreement(self.gang, step=self.parts.step), NoKeeper(), self.observer)


def timed(run, steps):
    began = time.perf_counter()
    run(steps)
    return time.perf_counter() - began


def interval(ratios, draws=2000):
    """Return the 95 % bootstrap interval of the median."""
    chance = random.Random(0)
    medians = sorted(statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(draws))
    return medians[int(0.025 * draws)], medians[int(0.975 * draws)]


def measure(rounds: int = ROUNDS, steps: int = STEPS) -> dict:
    """Return name, ratio (ours / bare), spread (its 95 % interval), seconds of every turn, and the command.

    Takes about `rounds` * 0.45 s on one core. Leaves torch at one thread.
    """
    torch.set_num_threads(1)
    data = torch.randn(SAMPLES, FEATURES), torch.randint(0, 10, (SAMPLES,))
    heard: list[object] = []
    listener = Listener(heard.append)
    bare, ours = Bare(data), Ours(data, Sender(listener.path))
    for one in (bare, ours):
        one.run(steps)
    seconds: dict[str, list[float]] = {"bare": [], "ours": []}
    for number in range(rounds):
        turns = [("bare", bare), ("ours", ours)]
        for name, one in turns if number % 2 else reversed(turns):
            seconds[name].append(timed(one.run, steps))
    listener.close()
    assert heard, "no report arrived: this was not the whole trainer"
    ratios = [mine / theirs for theirs, mine in zip(seconds["bare"], seconds["ours"], strict=True)]
    return {
        "name": "trainer_overhead",
        "keys": {"trainer": {"overhead_percent": 100 * (statistics.median(ratios) - 1)}},
        "ratio": statistics.median(ratios),
        "spread": interval(ratios),
        "goal": GOAL,
        "seconds": seconds,
        "steps": steps,
        "command": COMMAND,
        "machine": {"cpus": os.cpu_count(), "torch": torch.__version__, "python": platform.python_version()},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--steps", type=int, default=STEPS, help="steps per turn")
    parser.add_argument("--raw", action="store_true", help="print the seconds of every turn too")
    options = parser.parse_args()
    result = measure(options.rounds, options.steps)
    if not options.raw:
        micro = {name: 1e6 * statistics.median(turns) / options.steps for name, turns in result["seconds"].items()}
        result["seconds"] = {name: f"{each:.1f} us per step" for name, each in micro.items()}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
