"""Steps per second of our loop beside a bare PyTorch loop, Accelerate, Lightning and the Trainer of transformers.

All train the same model on the same data, with the same optimizer, in one process on one thread, in turns whose order
rotates; the first steps of each turn are not counted, so that nobody pays for building its loop. Each gets whole
batches from memory, and neither logger, progress bar nor checkpoints; ours has its metrics, reports and heartbeat on.
The figures are medians of the ratios to the bare loop of the same round, of CPU time and of wall time, with a bootstrap
interval.

    PYTHONPATH=operator:jobs:dev:. python -m bench.frameworks
"""
# ruff: noqa: N806 - tensors carry their shape in their name

import argparse
import contextlib
import importlib.metadata
import io
import json
import logging
import os
import statistics
import subprocess
import sys
import time
import warnings

import torch
from torch.nn import functional

from bench.environment import environment
from bench.trainer_overhead import FEATURES, interval, network
from ganger_dev.paths import below_cache, repository
from ganger_trainer import loop, ranks
from ganger_trainer.agreement import Agreement
from ganger_trainer.batches import Order
from ganger_trainer.config import TrainConfig
from ganger_trainer.examples.chargpt import ALPHABET, CharGpt
from ganger_trainer.feed import Feed
from ganger_trainer.keeper import NoKeeper
from ganger_trainer.observer import Observer
from ganger_trainer.reports import Listener, Sender
from ganger_trainer.soundness import Soundness

PACKAGES = ("accelerate", "lightning", "transformers")
SAMPLES, WARM, ROUNDS = 8192, 32, 15


class Mlp:
    """Some 0.4 ms a step: what a loop costs shows best where a step is short."""

    name, batch, steps, tokens = "mlp", 128, 240, None

    def data(self):
        return torch.randn(SAMPLES, FEATURES), torch.randint(0, 10, (SAMPLES,))

    def make(self):
        return network()

    def loss(self, model, batch):
        x_BF, y_B = batch
        return functional.cross_entropy(model(x_BF), y_B)


class Gpt:
    """The character GPT of the examples, at some milliseconds a step."""

    name, batch, steps, tokens = "gpt", 8, 32, 8 * 64

    def __init__(self):
        self.config, self.task = CharGpt.Config(batch_size=self.batch), CharGpt()

    def data(self):
        text = torch.randint(0, len(ALPHABET), (SAMPLES, self.config.context + 1))
        return text[:, :-1].contiguous(), text[:, 1:].contiguous()

    def make(self):
        torch.manual_seed(0)
        model = self.task.model(self.config)
        return model, torch.optim.AdamW(model.parameters(), lr=1e-3)

    def loss(self, model, batch):
        return self.task.loss(model, batch)


class Clock:
    """Wall and CPU seconds of the steps of a turn after the first `WARM`. `tick` is called after each step."""

    def begin(self):
        self.done = 0

    def tick(self, steps):
        self.done += 1
        if self.done == WARM:
            self.began = time.perf_counter(), time.process_time()
        elif self.done == WARM + steps:
            self.taken = time.perf_counter() - self.began[0], time.process_time() - self.began[1]


def batches(work, data):
    """Yield shuffled batches for ever."""
    x_N, y_N = data
    while True:
        permutation = torch.randperm(SAMPLES)
        for start in range(0, SAMPLES, work.batch):
            indices = permutation[start : start + work.batch]
            yield x_N[indices], y_N[indices]


class Stream(torch.utils.data.IterableDataset):
    """The same batches for those that want a loader."""

    def __init__(self, work, data):
        self.work, self.data = work, data

    def __iter__(self):
        return batches(self.work, self.data)


def loader(work, data):
    return torch.utils.data.DataLoader(Stream(work, data), batch_size=None)


class Bare:
    """The loop of a tutorial."""

    def __init__(self, work, data):
        self.work, self.clock = work, Clock()
        self.model, self.optimizer = work.make()
        self.model.train()
        self.batches = batches(work, data)

    def run(self, steps):
        self.clock.begin()
        for batch in self.batches:
            loss = self.work.loss(self.model, batch)
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.clock.tick(steps)
            if self.clock.done == WARM + steps:
                return


class Ours:
    """`ganger_trainer.loop` with everything on. Nobody is called between its steps, so a turn is two runs of it."""

    def __init__(self, work, data, sender):
        self.clock = Clock()
        model, optimizer = work.make()
        gang = ranks.Ranks(rank=0, world_size=1, local_rank=0, device=torch.device("cpu"))
        order = Order(size=SAMPLES, batch_size=work.batch, seed=0, world_size=1)
        feed = Feed(data, order, rank=0, device=gang.device, micro_batch=None, data_workers=0)
        self.gang = gang
        self.parts = loop.Parts(
            config=TrainConfig(batch_size=work.batch), task=work, model=model, module=model, optimizer=optimizer,
            scheduler=None, scaler=None, order=order, feed=feed, soundness=Soundness(model, gang),
            device=gang.device, total_steps=0,
        )  # fmt: skip
        self.observer = Observer(gang, sender, work, evaluate_every=1 << 60)

    def run(self, steps):
        self._train(WARM)
        began = time.perf_counter(), time.process_time()
        self._train(steps)
        self.clock.taken = time.perf_counter() - began[0], time.process_time() - began[1]

    def _train(self, steps):
        self.parts.total_steps = self.parts.step + steps
        agreement = Agreement(self.gang, step=self.parts.step)
        with contextlib.redirect_stdout(io.StringIO()):
            loop.train(self.parts, agreement, NoKeeper(), self.observer)


class Accelerate(Bare):
    """The loop of its quick tour."""

    def __init__(self, work, data):
        from accelerate import Accelerator

        super().__init__(work, data)
        self.accelerator = Accelerator(cpu=True)
        self.model, self.optimizer, self.loader = self.accelerator.prepare(
            self.model, self.optimizer, loader(work, data)
        )

    def run(self, steps):
        self.clock.begin()
        for batch in self.loader:
            loss = self.work.loss(self.model, batch)
            self.accelerator.backward(loss)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.clock.tick(steps)
            if self.clock.done == WARM + steps:
                return


class Lightning:
    """Its Trainer, with all switched off that can be."""

    def __init__(self, work, data):
        import lightning

        clock = self.clock = Clock()
        model, optimizer = work.make()
        self.data, self.work = data, work

        class Module(lightning.LightningModule):
            def __init__(self):
                super().__init__()
                self.inner = model

            def training_step(self, batch, _index):
                return work.loss(self.inner, batch)

            def configure_optimizers(self):
                return optimizer

        class Ticks(lightning.Callback):
            def on_train_batch_end(self, *_):
                clock.tick(self.steps)

        self.module, self.ticks, self.trainer = Module(), Ticks(), lightning.Trainer

    def run(self, steps):
        self.clock.begin()
        self.ticks.steps = steps
        trainer = self.trainer(
            max_steps=WARM + steps, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, callbacks=[self.ticks],
        )  # fmt: skip
        trainer.fit(self.module, loader(self.work, self.data))


class Transformers:
    """Its Trainer, without clipping, as the others; it logs every 500 steps."""

    def __init__(self, work, data):
        import transformers

        clock = self.clock = Clock()
        model, self.optimizer = work.make()

        class Module(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = model

            def forward(self, x, y):
                return {"loss": work.loss(self.inner, (x, y))}

        class Ticks(transformers.TrainerCallback):
            def on_step_end(self, *_, **__):
                clock.tick(self.steps)

        class Trainer(transformers.Trainer):
            def get_train_dataloader(self):
                return torch.utils.data.DataLoader(Named(work, data), batch_size=None)

        self.module, self.ticks, self.trainer, self.arguments = (
            Module(),
            Ticks(),
            Trainer,
            transformers.TrainingArguments,
        )

    def run(self, steps):
        self.clock.begin()
        self.ticks.steps = steps
        arguments = self.arguments(
            output_dir=str(below_cache("tmp")), max_steps=WARM + steps, use_cpu=True, report_to=[], save_strategy="no",
            disable_tqdm=True, max_grad_norm=0.0, lr_scheduler_type="constant", remove_unused_columns=False,
        )  # fmt: skip
        still = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda _: 1.0)
        trainer = self.trainer(
            model=self.module, args=arguments, optimizers=(self.optimizer, still), callbacks=[self.ticks]
        )
        trainer.train()


class Named(Stream):
    """The same batches by the names of the arguments that they are for."""

    def __iter__(self):
        for x, y in super().__iter__():
            yield {"x": x, "y": y}


def compare(work, rounds):
    """Return for each loop the wall and CPU milliseconds of a step in every turn."""
    data = work.data()
    heard = []
    listener = Listener(heard.append)
    loops = {
        "bare": Bare(work, data), "ours": Ours(work, data, Sender(listener.path)),
        "accelerate": Accelerate(work, data), "lightning": Lightning(work, data),
        "transformers": Transformers(work, data),
    }  # fmt: skip
    turns = {name: [] for name in loops}
    for number in range(rounds + 1):
        names = list(loops)[number % len(loops) :] + list(loops)[: number % len(loops)]
        for name in names:
            loops[name].run(work.steps)
            if number:  # the first turn of each is for imports and caches
                turns[name].append([1000 * seconds / work.steps for seconds in loops[name].clock.taken])
    listener.close()
    assert heard, "no report arrived: this was not the whole trainer"
    return turns


def inside(rounds):
    """Measure in the peers' environment and print it as JSON."""
    for name in ("lightning", "lightning.pytorch", "transformers", "accelerate"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with contextlib.redirect_stdout(sys.stderr):
        found = {work.name: compare(work, rounds) for work in (Mlp(), Gpt())}
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    print(json.dumps({"turns": found, "versions": versions}))


def ratio(turns, name, kind):
    """Return the median of a loop's time over the bare loop's of the same round, and its interval."""
    ratios = [mine[kind] / theirs[kind] for mine, theirs in zip(turns[name], turns["bare"], strict=True)]
    return {"median": statistics.median(ratios), "interval": interval(ratios)}


def summary(turns):
    """Return each loop's median step and its ratios to the bare loop."""
    return {
        name: {
            "wallMs": round(statistics.median(wall for wall, _ in each), 4),
            "cpuMs": round(statistics.median(cpu for _, cpu in each), 4),
            "wallOverBare": ratio(turns, name, 0),
            "cpuOverBare": ratio(turns, name, 1),
        }
        for name, each in turns.items()
    }


def measure(rounds: int = ROUNDS) -> dict:
    """Return by model and loop the time of a step and its ratio to the bare loop's, and the key of `trainer`.

    Takes some 2 min; the first time it installs 0.2 GB below the cache as well, and where it cannot, the key is None.
    The key is measured on the CPU, with the example's GPT of 0.1 million parameters: there is no bench of a GPU.
    """
    try:
        python = environment()
    except subprocess.CalledProcessError:
        key = "tokens_per_second_ratio_vs_bare"
        why = "pip could not install requirements/bench.lock"
        return {"name": "frameworks", "keys": {"trainer": {key: None}}, "reasons": {f"trainer.{key}": why}}
    done = subprocess.run(
        [python, "-m", "bench.frameworks", "--inside", "--rounds", str(rounds)],
        cwd=repository(), check=True, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    loops = {name: summary(turns) for name, turns in found["turns"].items()}
    tokens = {name: round(1000 * Gpt.tokens / each["wallMs"]) for name, each in loops["gpt"].items()}
    return {
        "name": "frameworks",
        "loops": loops,
        "tokensPerSecond": tokens,
        "rounds": rounds,
        "machine": {"versions": found["versions"]},
        "keys": {"trainer": {"tokens_per_second_ratio_vs_bare": 1 / loops["gpt"]["ours"]["wallOverBare"]["median"]}},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--inside", action="store_true", help="measure in this interpreter, which has the peers")
    options = parser.parse_args()
    if options.inside:
        inside(options.rounds)
    else:
        print(json.dumps(measure(options.rounds), indent=2))


if __name__ == "__main__":
    main()
