"""`detectAnomaly: true`: the failure names the operation, the line and the module, through the real loop."""

import inspect
import itertools
import sys
import types

import msgspec
import pytest
import torch
from torch import nn

from ganger.contract import ExitCode
from ganger_trainer import config, worker
from ganger_trainer.checkpoint import layout
from ganger_trainer.environment import NonFinitePolicy
from ganger_trainer.failures import UserError
from unit.trainer import kit

CONFIG = {"steps": 12, "batchSize": 8, "threads": 1, "detectAnomaly": True}


class Norm(nn.Module):
    """Has no derivative at 0."""

    def forward(self, x):
        squares = (x * x).sum(1)
        return squares.sqrt()


class Distance(kit.Tiny):
    """Learns a length; from `step` on it measures that of 0, whose gradient is none."""

    def __init__(self, step=5):
        super().__init__()
        self.step = step

    def model(self, config):
        return nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Identity(), Norm()))

    def loss(self, model, batch):
        self.steps += 1
        x = batch[0] * 0 if self.steps >= self.step else batch[0]
        if self.steps >= self.step:
            with torch.no_grad():
                model[0].bias.zero_()
        return model(x).mean()


@pytest.fixture
def train(tmp_path, monkeypatch):
    module = types.ModuleType("kit_task")
    monkeypatch.setitem(sys.modules, "kit_task", module)

    def run(task, *, non_finite=kit.FAIL, **config):
        module.task = task
        spec = kit.worker(
            tmp_path / "job", config=msgspec.json.encode(CONFIG | config).decode(), every_steps=3, keep_last=9,
            non_finite=non_finite,
        )  # fmt: skip
        sender = kit.ToBoard()
        return worker._train(spec, sender)

    yield run
    assert not torch.is_anomaly_enabled(), "it ends with the training"


def line_of(function, text):
    lines, first = inspect.getsourcelines(function)
    return next(number for number, line in enumerate(lines, first) if text in line)


def test_the_operation_is_named_with_its_line_and_module(train, tmp_path):
    with pytest.raises(UserError) as raised:
        train(Distance(step=5))

    said = str(raised.value)
    assert ("NonFiniteOperation", ExitCode.USER_DATA) == (raised.value.reason, raised.value.exit_code)
    assert "at step 5 the backward of SqrtBackward0 made an infinity out of finite gradients" in said
    where = line_of(Norm.forward, "sqrt()")
    assert f"its forward: {__file__}, line {where}, in forward: return squares.sqrt()" in said
    assert "in module 1.1 (Norm)" in said
    assert [3] == sorted(layout.look(tmp_path / "job").steps), "what was saved before stays"


def test_a_nan_is_named_where_it_is_made_and_not_where_it_goes(train):
    class Unused(Distance):
        def loss(self, model, batch):
            return super().loss(model, batch) * (0.0 if self.steps >= 4 else 1.0)

    with pytest.raises(UserError, match="backward of SqrtBackward0 made a NaN out of finite gradients"):
        train(Unused(step=5))


def test_an_operation_outside_of_all_modules_is_named_by_its_line(train):
    class Logarithm(kit.Tiny):
        def loss(self, model, batch):
            self.steps += 1
            output = model(batch[0]).mean()
            return (output * (0.0 if self.steps == 4 else 1.0)).abs().pow(0.5)

    with pytest.raises(UserError) as raised:
        train(Logarithm())

    assert "at step 4 the backward of PowBackward0" in str(raised.value)
    assert ".pow(0.5)" in str(raised.value)
    assert "in module" not in str(raised.value)


def test_a_loss_that_is_a_nan_names_the_module_that_returned_the_first_one(train):
    class Broken(nn.Module):
        def forward(self, x):
            return x / x.detach().sub(x.detach())

    class Task(kit.Tiny):
        def model(self, config):
            return nn.Sequential(nn.Linear(4, 4), Broken(), nn.Linear(4, 1))

        def loss(self, model, batch):
            return model(batch[0]).mean()

    with pytest.raises(UserError) as raised:
        train(Task())

    assert "at step 1 the forward pass made a loss of nan" in str(raised.value)
    assert "module" in str(raised.value)


def test_it_ends_the_job_where_the_policy_would_go_back(train):
    with pytest.raises(UserError, match="SqrtBackward0"):
        train(Distance(), non_finite=NonFinitePolicy(action="Rollback", max_rollbacks=3))


def test_what_trains_well_trains_to_the_same_bits(train, tmp_path):
    def shard(**config):
        train(kit.Tiny(), **config)
        made = kit.shard_of(tmp_path / "job", 12).read_bytes()
        for path in (tmp_path / "job").iterdir():
            path.rename(tmp_path / f"old-{next(count)}")
        return made

    count = itertools.count()

    assert shard(detectAnomaly=False) == shard(detectAnomaly=True)


@pytest.mark.parametrize(
    "more, said", [({"precision": "fp16"}, "use bf16 or fp32"), ({"compile": True}, "needs compile: false")]
)
def test_it_is_refused_where_it_would_say_nothing_true(more, said):
    text = msgspec.json.encode({"detectAnomaly": True} | more).decode()

    with pytest.raises(UserError, match=said):
        config.decode(text, config.TrainConfig)
