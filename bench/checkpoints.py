"""What a checkpoint of 0.7 GB costs the training, when it is durable, how long a restore takes; beside others.

One process trains a model whose parameters and AdamW state are 96 tensors of 7 MB. In each round every method saves
that state once, in turn, into a fresh directory after a `sync`: first during a step, then alone. The stall is for how
long the training thread is held: in the call, and again before the update where a method copies behind forward and
backward. Durable is from the call to the end of its last fsync, with nothing else to do. All figures are medians;
ratios are of the same round. `dcp.async_save` is measured as it is by default, in a process, and with a stager whose
copies are on a thread; the key compares with the default.

    PYTHONPATH=operator:jobs:. python -m bench.checkpoints
"""

import argparse
import concurrent.futures
import contextlib
import io
import json
import logging
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import safetensors.torch
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions
from torch.distributed.checkpoint.state_dict_saver import AsyncCheckpointerType

from bench.trainer_overhead import interval
from ganger_trainer import loop, ranks
from ganger_trainer.batches import Order
from ganger_trainer.checkpoint import layout, ownership
from ganger_trainer.checkpoint.exchange import Alone
from ganger_trainer.config import TrainConfig
from ganger_trainer.environment import CheckpointPolicy
from ganger_trainer.keeper import DirectoryKeeper
from ganger_trainer.save_requests import SaveRequests
from ganger_trainer.soundness import Soundness

WIDTH, LAYERS, BATCH = 1330, 32, 64
ROUNDS = 7


class Training:
    """A model, its optimizer and one batch; `gradients` is a step without its update."""

    def __init__(self):
        torch.manual_seed(0)
        self.model = nn.Sequential(*(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(LAYERS)))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-6)
        self.batch = torch.randn(BATCH, WIDTH)
        self.gradients()
        self.optimizer.step()

    def gradients(self):
        self.optimizer.zero_grad(set_to_none=True)
        self.model(self.batch).square().mean().backward()

    def tensors(self):
        """The 96 large tensors by name. The others methods save these, ours all that a resume needs."""
        found = {f"model.{name}": value.detach() for name, value in self.model.named_parameters()}
        for index, state in self.optimizer.state_dict()["state"].items():
            found |= {f"optimizer.{index}.{name}": value for name, value in state.items() if value.numel() > 1}
        return found


class Method:
    """One way to save. `begin` holds the training, `release` does so before the update, `finish` ends durable."""

    def __init__(self, training):
        self.state = training.tensors()

    def prepare(self):
        """Remove what the save before has left; that is no part of the next one."""

    def begin(self, directory):
        raise NotImplementedError

    def release(self):
        """Nothing is left to copy."""

    def finish(self):
        """It is durable already."""


class Ours(Method):
    """The keeper of the trainer: checks, copy, hashes, manifest and fence included."""

    def __init__(self, training):
        super().__init__(training)
        self.gang = ranks.Ranks(rank=0, world_size=1, local_rank=0, device=torch.device("cpu"))
        self.base = Path(tempfile.mkdtemp(dir=WHERE))
        order = Order(size=1 << 20, batch_size=BATCH, seed=0, world_size=1)
        self.parts = loop.Parts(
            config=TrainConfig(batch_size=BATCH), task=None, model=training.model, module=training.model,
            optimizer=training.optimizer, scheduler=None, scaler=None, order=order, feed=None,
            soundness=Soundness(training.model, self.gang), device=self.gang.device, total_steps=1 << 30,
        )  # fmt: skip
        self.keeper = self.keeper_of("bench")

    def keeper_of(self, job):
        owner = ownership.Owner(namespace="bench", job=job, job_uid="u", attempt=0)
        ownership.acquire(self.base, owner)
        return DirectoryKeeper(
            self.base, CheckpointPolicy(keep_last=99), owner, Alone(), self.gang, Unheard(), lambda: None,
            SaveRequests.from_environment(), writable=True,
        )  # fmt: skip

    def prepare(self):
        for step in layout.look(self.base).steps:
            shutil.rmtree(self.base / layout.committed(step))
        self.parts.step += 1

    def begin(self, directory):
        self.keeper.save(self.parts, None)

    def release(self):
        self.keeper.release(self.parts)

    def finish(self):
        self.keeper.settle(120)
        assert [self.parts.step] == list(layout.look(self.base).steps), "the save was refused"

    def restore(self):
        assert self.parts.step == self.keeper.resume(self.parts)


class Unheard:
    """A supervisor that nobody is."""

    def send(self, _report, *, surely=False):
        pass


class TorchSave(Method):
    def begin(self, directory):
        self.file = (directory / "state.pt").open("wb")
        torch.save(self.state, self.file)

    def finish(self):
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()


class Safetensors(Method):
    def begin(self, directory):
        self.path = directory / "state.safetensors"
        safetensors.torch.save_file(self.state, self.path)

    def finish(self):
        with self.path.open("rb") as file:
            os.fsync(file.fileno())


class Raw(Method):
    """The floor: the bytes as they are, in one buffer, in calls of 8 MiB."""

    def __init__(self, training):
        super().__init__(training)
        self.image = memoryview(safetensors.torch.save(self.state))

    def begin(self, directory):
        self.descriptor = os.open(directory / "raw", os.O_WRONLY | os.O_CREAT)
        for start in range(0, len(self.image), 8 << 20):
            assert os.write(self.descriptor, self.image[start : start + (8 << 20)])

    def finish(self):
        os.fsync(self.descriptor)
        os.close(self.descriptor)


class Dcp(Method):
    def begin(self, directory):
        dcp.save(self.state, checkpoint_id=directory)


class DcpThread(Method):
    kind = AsyncCheckpointerType.THREAD

    def begin(self, directory):
        self.future = dcp.async_save(self.state, checkpoint_id=directory, async_checkpointer_type=self.kind)

    def finish(self):
        self.future.result()


class DcpProcess(DcpThread):
    kind = AsyncCheckpointerType.PROCESS


class DcpStaging(Method):
    """Its staging, too, is on a thread: what it copies must not change until it is done."""

    def __init__(self, training):
        super().__init__(training)
        self.stager = DefaultStager(
            StagingOptions(
                use_pinned_memory=False, use_shared_memory=False, use_async_staging=True, use_non_blocking_copy=False
            )
        )

    def begin(self, directory):
        self.response = dcp.async_save(self.state, checkpoint_id=directory, async_stager=self.stager)

    def release(self):
        if not isinstance(self.response, concurrent.futures.Future):
            self.response.staging_completion.result()

    def finish(self):
        whole = self.response
        (whole if isinstance(whole, concurrent.futures.Future) else whole.upload_completion).result()


METHODS = {
    "ours": Ours,
    "torchSave": TorchSave,
    "safetensors": Safetensors,
    "rawWrite": Raw,
    "dcpSave": Dcp,
    "dcpAsyncThread": DcpThread,
    "dcpAsyncProcess": DcpProcess,
    "dcpAsyncStaging": DcpStaging,
}
DCP_ASYNC = ("dcpAsyncThread", "dcpAsyncProcess", "dcpAsyncStaging")
WHERE = None  # the folder in which all methods write


def cpu():
    """Return the CPU seconds of this process and of those it has started, which live as long as it does."""
    ticks = 0
    for path in Path("/proc/self/task").glob("*/children"):
        for pid in path.read_text().split():
            with contextlib.suppress(OSError):
                ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def turn(method, training, *, train):
    """Save once; return the seconds of stall, of forward and backward, until durable, and the CPU of all."""
    directory = Path(tempfile.mkdtemp(dir=WHERE))
    method.prepare()
    os.sync()
    with contextlib.redirect_stdout(io.StringIO()):
        used, began = cpu(), time.perf_counter()
        method.begin(directory)
        called = time.perf_counter()
        if train:
            training.gradients()
        computed = time.perf_counter()
        method.release()
        released = time.perf_counter()
        method.finish()
    ended = time.perf_counter()
    taken = {
        "stall": called - began + released - computed,
        "gradients": computed - called,
        "durable": ended - began,
        "cpu": cpu() - used,
    }
    shutil.rmtree(directory)
    return taken


def restores(ours, training):
    """Return what each restores with, into tensors that are there. Ours hashes every byte before, the others do not."""
    state = {name: torch.empty_like(value) for name, value in training.tensors().items()}
    folder = Path(tempfile.mkdtemp(dir=WHERE))
    dcp.save(training.tensors(), checkpoint_id=folder / "dcp")
    torch.save(training.tensors(), folder / "state.pt")

    def load():
        for name, value in torch.load(folder / "state.pt", weights_only=True).items():
            state[name].copy_(value)

    return {"ours": ours.restore, "dcpLoad": lambda: dcp.load(state, checkpoint_id=folder / "dcp"), "torchLoad": load}


def timed(action):
    """Return the seconds that it takes, without what it says."""
    with contextlib.redirect_stdout(io.StringIO()):
        began = time.perf_counter()
        action()
        return time.perf_counter() - began


def median_ratio(rows, above, below, of):
    """Return the median of the ratios of each round, and its 95 % bootstrap interval."""
    ratios = [row[above][of] / row[below][of] for row in rows]
    return {"median": statistics.median(ratios), "interval": interval(ratios)}


def milliseconds(rows, name, of):
    return round(1000 * statistics.median(row[name][of] for row in rows), 1)


def measure(rounds: int = ROUNDS, where: str | None = None) -> dict:
    """Return medians of every method, ratios with their intervals, and the keys of `checkpoint`.

    where: a folder on the disk to measure, the one for temporary files by default. Takes some 20 s a round, 3 GB of
    memory and 2 GB of that disk.
    """
    global WHERE
    logging.disable(logging.INFO)
    root = tempfile.mkdtemp(prefix="bench-checkpoints-", dir=where)
    WHERE = root
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        training = Training()
        methods = {name: kind(training) for name, kind in METHODS.items()}
        first = {}
        for name, method in methods.items():
            first[name] = round(1000 * turn(method, training, train=True)["stall"], 1)
        restored = restores(methods["ours"], training)
        busy, alone, loads, plain = [], [], [], []
        for number in range(rounds):
            names = list(METHODS)[number % len(METHODS) :] + list(METHODS)[: number % len(METHODS)]
            plain.append(timed(training.gradients))
            busy.append({name: turn(methods[name], training, train=True) for name in names})
            alone.append({name: turn(methods[name], training, train=False) for name in reversed(names)})
            loads.append({name: {"load": timed(action)} for name, action in restored.items()})
    finally:
        dist.destroy_process_group()
        shutil.rmtree(root)
    size = sum(value.numel() * value.element_size() for value in training.tensors().values())
    least = min(DCP_ASYNC, key=lambda name: milliseconds(busy, name, "stall"))
    durable = milliseconds(alone, "ours", "durable")
    ratios = {
        "stallTorchSaveOverOurs": median_ratio(busy, "torchSave", "ours", "stall"),
        "stallDcpAsyncOverOurs": median_ratio(busy, "dcpAsyncThread", "ours", "stall"),
        "stallLeastDcpAsyncOverOurs": median_ratio(busy, least, "ours", "stall"),
        "durableOursOverRawWrite": median_ratio(alone, "ours", "rawWrite", "durable"),
        "cpuOursOverDcpAsync": median_ratio(alone, "ours", "dcpAsyncThread", "cpu"),
        "restoreDcpOverOurs": median_ratio(loads, "dcpLoad", "ours", "load"),
    }
    return {
        "name": "checkpoints",
        "bytes": size,
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "gradientsMs": round(1000 * statistics.median(plain), 1),
        "leastDcpAsync": least,
        "firstStallMs": first,
        "methods": {
            name: {
                "stallMs": milliseconds(busy, name, "stall"),
                "gradientsMs": milliseconds(busy, name, "gradients"),
                "durableMs": milliseconds(alone, name, "durable"),
                "cpuMs": milliseconds(alone, name, "cpu"),
            }
            for name in METHODS
        },
        "restoreMs": {name: milliseconds(loads, name, "load") for name in loads[0]},
        "ratios": ratios,
        "keys": {
            "checkpoint": {
                "stall_ms_at_700_mb": milliseconds(busy, "ours", "stall"),
                "stall_ratio_vs_torch_save": ratios["stallTorchSaveOverOurs"]["median"],
                "stall_ratio_vs_dcp_async": ratios["stallDcpAsyncOverOurs"]["median"],
                "durable_ratio_vs_raw_write": ratios["durableOursOverRawWrite"]["median"],
                "save_mb_per_second": round(size / 1e3 / durable, 1),
                "restore_ratio_vs_dcp": ratios["restoreDcpOverOurs"]["median"],
            }
        },
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--where", help="a folder on the disk to measure")
    options = parser.parse_args()
    print(json.dumps(measure(options.rounds, options.where), indent=2))


if __name__ == "__main__":
    main()
