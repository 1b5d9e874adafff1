"""Copying a state while the next step computes its gradients: the checkpoint of step N holds step N."""

import hashlib
import sys
import threading
import types

import msgspec
import pytest
import torch
from torch import nn

from ganger_trainer import worker
from ganger_trainer.checkpoint import snapshot
from ganger_trainer.checkpoint.staging import Staging
from unit.trainer import kit
from unit.trainer.kit import shard_of, steps_in

EVERY, STEPS = 4, 20
AT_ONCE = 1 << 60  # bytes that no state of a test has


class Task(kit.Tiny):
    """A model with what a forward pass changes: statistics of a batch norm, and `also(model)` before each."""

    def __init__(self, also=lambda _model, _step: None):
        super().__init__(self.entered)
        self.also, self.forward, self.net = also, threading.Event(), None

    def model(self, config):
        self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 1))
        self.net[2].average = nn.Linear(8, 1)
        self.net[2].average.requires_grad_(False)
        return self.net

    def optimizer(self, model, config):
        return torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=config.lr)

    def entered(self, step):
        self.also(self.net, step)
        self.forward.set()


class Copies:
    """Holds each copy until the forward pass after it has begun, and remembers what was copied by then."""

    def __init__(self, monkeypatch, task):
        self.names, take = [], Staging.take

        def held(buffer, tensors):
            if tensors and threading.current_thread() is not threading.main_thread():
                assert task.forward.wait(30)
                self.names.append(sorted(tensors))
            take(buffer, tensors)

        begin = snapshot.Snapshot.__init__

        def made(*arguments, **options):
            begin(*arguments, **options)
            task.forward.clear()

        monkeypatch.setattr(Staging, "take", held)
        monkeypatch.setattr(snapshot.Snapshot, "__init__", made)


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Train `task` into a directory, with copies at once or overlapped; return the digests of its shards by step."""
    module = types.ModuleType("kit_task")
    monkeypatch.setitem(sys.modules, "kit_task", module)

    def run(name, task, *, overlap):
        module.task = task
        config = {"steps": STEPS, "batchSize": 8, "threads": 1}
        spec = kit.worker(tmp_path / name, config=msgspec.json.encode(config).decode(), every_steps=EVERY, keep_last=99)
        with monkeypatch.context() as patch:
            patch.setattr(snapshot, "OVERLAP_MIN_BYTES", 0 if overlap else AT_ONCE)
            copies = Copies(patch, task)
            worker._train(spec, kit.ToBoard())
        digests = {
            step: hashlib.sha256(shard_of(tmp_path / name, step).read_bytes()).hexdigest()
            for step in steps_in(tmp_path / name)
        }
        return digests, copies.names

    return run


def double_by_data(model, _step):
    for parameter in model[0].parameters():
        parameter.data.mul_(1.01)


def average(model, _step):
    model[2].average.weight.data.mul_(0.9).add_(model[3].weight.data, alpha=0.1)


def test_every_checkpoint_of_overlapped_copies_has_the_bytes_of_one_that_was_copied_at_once(train):
    expected, none = train("at-once", Task(), overlap=False)
    actual, copied = train("overlapped", Task(), overlap=True)

    assert list(range(EVERY, STEPS + 1, EVERY)) == list(expected)
    assert expected == actual
    assert [] == none
    assert 3 <= len(copied), "all saves but the trial and the last"
    weights = {name for name in copied[0] if name.startswith("model/")}
    assert {
        "model/0.weight",
        "model/0.bias",
        "model/1.weight",
        "model/1.bias",
        "model/3.weight",
        "model/3.bias",
    } == weights
    assert {"optimizer/state/0/exp_avg", "optimizer/state/0/step"} <= set(copied[0])


def test_a_frozen_average_that_every_forward_pass_changes_is_copied_at_once_and_right(train):
    expected, _ = train("at-once", Task(average), overlap=False)
    actual, copied = train("overlapped", Task(average), overlap=True)

    assert expected == actual
    assert copied
    assert not any("average" in name for name in copied[0])


def test_a_task_that_writes_to_its_parameters_where_nothing_counts_is_found_by_the_first_save(train, capsys):
    expected, _ = train("at-once", Task(double_by_data), overlap=False)
    actual, copied = train("overlapped", Task(double_by_data), overlap=True)

    assert expected == actual
    assert [] == copied
    assert "model/0.weight changed outside optimizer.step(); from now on" in capsys.readouterr().out


def test_a_copy_that_a_counted_write_met_is_dropped_and_later_ones_are_made_at_once(train, tmp_path, capsys):
    def later(model, step):
        if step == 2 * EVERY + 1:
            with torch.no_grad():
                model[3].weight.mul_(1.5)

    expected, _ = train("at-once", Task(later), overlap=False)
    actual, copied = train("overlapped", Task(later), overlap=True)

    assert 2 * EVERY in expected
    assert 2 * EVERY not in actual
    assert {step: expected[step] for step in range(EVERY, STEPS + 1, EVERY) if step != 2 * EVERY} == {
        step: digest for step, digest in actual.items() if step % EVERY == 0
    }
    assert 1 == len(copied)
    said = capsys.readouterr().out
    assert "model/3.weight changed outside optimizer.step()" in said
    assert f"checkpoint {2 * EVERY} failed (StateChanged): model/3.weight was written to" in said


def test_an_update_waits_for_the_copy(tmp_path, monkeypatch):
    monkeypatch.setattr(snapshot, "OVERLAP_MIN_BYTES", 0)
    weight = torch.nn.Parameter(torch.ones(8))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    roles = snapshot.Roles(parameters=frozenset([weight.data_ptr()]), trained=frozenset([weight.data_ptr()]))
    keeping = kit.saver(tmp_path, [])
    go, take = threading.Event(), Staging.take
    monkeypatch.setattr(Staging, "take", lambda *arguments: (go.wait(30), take(*arguments)))

    def save(step):
        keeping.save(step, state={"model": {"w": weight}}, private={}, samples=8, score=None, roles=roles)

    go.set()
    save(1)
    assert (None, True) == keeping.release()
    go.clear()
    save(2)
    keeping.poll()
    assert [1] == steps_in(tmp_path)
    threading.Timer(0.05, go.set).start()
    assert (None, True) == keeping.release()
    weight.grad = torch.ones(8)
    optimizer.step()
    keeping.finish()

    from safetensors.torch import load_file

    assert [1.0] * 8 == load_file(shard_of(tmp_path, 2))["model/w"].tolist()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_the_worse_of_nan_and_infinity_is_found_wherever_it_stands(dtype):
    size = (1 << 18) + 3
    places = [0, 5, size - 1]
    buffer = Staging({"w": torch.zeros(size, dtype=dtype), "n": torch.zeros(3, dtype=torch.int64)}, pin=False)
    looks = {}
    for value in ("inf", "-inf", "nan"):
        for place in places:
            tensor = torch.ones(size, dtype=dtype)
            tensor[place] = float(value)
            if value == "nan":
                tensor[(place + 7) % size] = float("-inf")
            buffer.fill({"w": tensor})
            looks.setdefault(value, set()).add(buffer.look("w"))

    assert {"inf": {"an infinity"}, "-inf": {"an infinity"}, "nan": {"a NaN"}} == looks
    buffer.fill({"w": torch.full((size,), torch.finfo(dtype).max, dtype=dtype)})
    assert buffer.look("w") is None
    assert buffer.look("n") is None


def test_tensors_that_are_not_contiguous_are_copied_and_compared_as_they_are():
    weight = torch.arange(24, dtype=torch.bfloat16).view(4, 6).t()
    buffer = Staging({"w": weight}, pin=False)

    buffer.take({"w": weight})
    assert buffer.differing({"w": weight}) is None
    weight[5, 3] = -1

    assert "w" == buffer.differing({"w": weight})
