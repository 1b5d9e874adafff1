"""Models that are not plain: branches, dicts, half precision, noise; and tasks that say what to export."""

import sys
import types

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional

from ganger import contract
from ganger.contract import ExitCode
from ganger_trainer import UserError
from ganger_trainer.export import InvalidError, verify
from unit.trainer import kit
from unit.trainer.exported import Trained, left, train

FORMATS = contract.EXPORT_FORMATS


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Train a model of the test's own and return it as `Trained`."""

    def run(model, config=None, *, name="job", loss=None, **hooks):
        task = kit.Tiny()
        task.model = lambda _config: model()
        task.loss = loss or (lambda module, batch: functional.mse_loss(module(batch[0]), batch[1]))
        for name, hook in hooks.items():
            setattr(task, name, hook)
        module = types.ModuleType("export_task")
        module.task = task
        monkeypatch.setitem(sys.modules, "export_task", module)
        train(tmp_path / name, "export_task:task", config or {})
        return Trained(tmp_path / name, "export_task:task", config or {})

    return run


class Branch(nn.Module):
    """Another function for one sample in two: a trace keeps one of them."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 1)
        self.double = True

    def forward(self, x):
        y = self.linear(x)
        if int(x.shape[0]) % 2 == 0 and float(x.abs().sum()) > 0:
            return y * 3.0
        return y


class Foreign(Branch):
    """The same, with a call that no compiler of torch takes."""

    def forward(self, x):
        return super().forward(x) + float(np.float64(0.0))


@pytest.mark.parametrize("name", ["onnx", "torchscript"])
def test_a_branch_that_a_trace_bakes_in_fails_with_the_numbers_and_stays_unnamed(trained, name):
    job = trained(Foreign)

    with pytest.raises(UserError) as raised:
        job.make(name)

    assert ("ExportDiffers", ExitCode.USER_DATA) == (raised.value.reason, raised.value.exit_code)
    text = str(raised.value)
    assert f"{name} computes something else" in text
    assert "trace: largest absolute difference " in text
    assert "in output output of batch 3" in text  # the first of an odd number of samples
    assert "tolerance 0.0001" in text
    assert [f"{name}.part-0"] == left(job.directory)
    with pytest.raises(InvalidError):
        verify(job.directory / "exports" / f"{name}.part-0")


def test_a_branch_that_torch_compiles_is_scripted_where_its_trace_is_wrong(trained):
    made = trained(Branch).make("torchscript")

    assert "script" == made.method
    assert made.parity.max_abs_diff < 1e-6
    assert any("not made by trace: largest absolute difference" in text for text in made.warnings)


def test_what_an_exporter_does_not_take_is_the_user_s_to_change(trained):
    with pytest.raises(UserError, match=r"torch-export does not take this model \(export: .*spec.export") as raised:
        trained(Foreign).make("torch-export")

    assert ("ExportFailed", ExitCode.BAD_CONFIG) == (raised.value.reason, raised.value.exit_code)


class Rich(nn.Module):
    """Takes a dict and an option, returns a dict with a tuple; has buffers, a batch norm and tied weights."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.first, self.second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        self.second.weight = self.first.weight
        self.register_buffer("scale", torch.full((4,), 2.0))
        self.register_buffer("mask", torch.eye(4), persistent=False)

    def forward(self, batch, bias=None, *, times=1):
        h = self.norm(batch["x"]) * self.scale * times
        h = h if bias is None else h + bias
        return {"y": self.second(self.first(h)).sum(1, keepdim=True), "more": (h @ self.mask, batch["n"] + 1)}


def rich_loss(module, batch):
    x, y = batch
    inputs = {"x": x, "n": torch.arange(len(x))}
    return functional.mse_loss(module(inputs, None, times=3)["y"], y)


@pytest.mark.parametrize("name", FORMATS)
def test_dicts_options_buffers_and_tied_weights_come_through(trained, name):
    made = trained(Rich, loss=rich_loss).make(name)

    assert made.parity.max_abs_diff < 1e-4
    assert ["batch_x", "batch_n"] == [one.name for one in made.inputs]
    assert ["y", "more_0", "more_1"] == [one.name for one in made.outputs]
    assert ("batch", 4) == made.outputs[1].shape
    assert "int64" == made.outputs[2].dtype


def test_weights_of_half_precision_are_exported_as_fp32_and_mixed_precision_needs_nothing(trained):
    job = trained(
        lambda: nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).to(torch.bfloat16),
        loss=lambda module, batch: functional.mse_loss(module(batch[0].bfloat16()).float(), batch[1]),
    )
    made = job.make("safetensors")

    assert ("float32", "float32") == (made.inputs[0].dtype, made.outputs[0].dtype)
    assert ("tensors of bfloat16 were exported as float32",) == made.warnings
    weights = safetensors.torch.load_file(job.directory / "exports/safetensors/model.safetensors")
    assert {torch.float32} == {value.dtype for value in weights.values()}
    mixed = trained(lambda: nn.Linear(4, 1), {"precision": "bf16"}, name="mixed").make("safetensors")
    assert () == mixed.warnings


def test_a_task_may_say_what_to_export_and_on_which_inputs(trained):
    job = trained(
        lambda: nn.Linear(4, 3),
        loss=lambda module, batch: module.weight.pow(2).sum(),  # never calls the model
        export_model=lambda model: nn.Sequential(model, nn.Softmax(1)),
        example_inputs=lambda config: torch.linspace(0, 1, 40).view(10, 4),
    )
    made = job.make("torch-export")
    y_BC = torch.export.load(job.directory / "exports/torch-export/model.pt2").module()(torch.rand(7, 4))  # noqa: N806

    assert ("batch", 3) == made.outputs[0].shape
    assert torch.allclose(torch.ones(7), y_BC.sum(1))


@pytest.mark.parametrize(("size", "sizes"), [(10, (8, 2, 8, 5, 3, 1)), (1, (1, 1, 1, 1, 1, 1))])
def test_the_last_batch_of_an_epoch_is_as_large_as_it_is(trained, size, sizes):
    job = trained(lambda: nn.Linear(4, 1), {"batchSize": 1}, data=lambda _: (torch.rand(size, 4), torch.rand(size, 1)))
    made = job.make("torchscript")

    assert sizes == made.parity.batch_sizes
    assert ("batch" if size > 1 else 1, 4) == made.inputs[0].shape


def test_a_loss_that_does_not_call_the_model_is_told_what_to_add(trained):
    with pytest.raises(UserError, match=r"does not call the model itself.*example_inputs\(config\)") as raised:
        trained(lambda: nn.Linear(4, 3), loss=lambda module, batch: module.weight.pow(2).sum())

    assert "TaskInvalid" == raised.value.reason


class Noisy(nn.Linear):
    def forward(self, x):
        return super().forward(x) + torch.rand(1)


def test_a_model_that_draws_random_numbers_cannot_be_compared_and_says_so(trained):
    with pytest.raises(UserError, match="other results for the same batch in eval mode") as raised:
        trained(lambda: Noisy(4, 1))

    assert "ExportFailed" == raised.value.reason
