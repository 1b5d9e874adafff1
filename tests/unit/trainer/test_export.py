"""Model files: three example models in every format, on real batches; and everything that must not be published."""

import gzip
import json
import resource
import shutil
import struct
import sys
import types
from pathlib import Path

import msgspec
import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional

from ganger import contract
from ganger.contract import ExitCode
from ganger_trainer import UserError, worker
from ganger_trainer.export import InvalidError, card, make, source, verify, wanted
from ganger_trainer.export.formats import onnx_file
from ganger_trainer.failures import TrainerError
from unit.trainer import kit

CONFIGS = {
    "digits": {"hidden": 16},
    "fashion_mnist": {"channels": 2},
    "chargpt": {"width": 16, "layers": 1, "context": 16},
}
FORMATS = contract.EXPORT_FORMATS


def idx(path, array):
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}i", *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


def train(directory, task, config):
    spec = kit.worker(directory, config=json.dumps({"steps": 4, "threads": 1, "batchSize": 16} | config), every_steps=2)
    worker._train(msgspec.structs.replace(spec, task=task), kit.ToBoard())


def subject(directory, task, config, **asked):
    step = source.choose(directory, wanted.Wanted(format="onnx", **asked))
    return make.subject(source.open_checkpoint(directory, step, task, json.dumps(config)))


def provenance(directory, task, attempt=0, **said):
    spec = msgspec.structs.replace(kit.worker(directory, attempt=attempt), task=task)
    return make.Provenance(worker=spec, **said)


class Trained:
    """A checkpoint directory, its task, and what is exported of it."""

    def __init__(self, directory, task, config, **asked):
        self.directory, self.task, self.config = directory, task, config
        self.subject = subject(directory, task, config, **asked)

    def make(self, name, root=None, attempt=0, told=None, said=None, **asked):
        asked = wanted.Wanted(format=name, **asked)
        said = provenance(self.directory, self.task, attempt, **(said or {}))
        return make.make(self.subject, asked, root or self.directory, said, (told if told is not None else []).append)


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """The three example models, trained for four steps."""
    root = tmp_path_factory.mktemp("examples")
    rng = np.random.default_rng(3)
    for part, size in (("train", 64), ("t10k", 20)):
        idx(root / f"{part}-images-idx3-ubyte.gz", rng.integers(0, 255, (size, 28, 28)).astype(np.uint8))
        idx(root / f"{part}-labels-idx1-ubyte.gz", rng.integers(0, 9, size).astype(np.uint8))
    made = {}
    for name, config in CONFIGS.items():
        config = config | ({"dataDir": str(root)} if name == "fashion_mnist" else {})
        task = f"ganger_trainer.examples.{name}:task"
        train(root / name, task, config)
        made[name] = Trained(root / name, task, config)
    return made


@pytest.fixture(scope="module")
def digits(examples):
    """Digits, exported in every format."""
    for name in FORMATS:
        examples["digits"].make(name)
    return examples["digits"]


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


def left(directory):
    return sorted(path.name for path in (directory / "exports").iterdir())


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("format_", FORMATS)
def test_a_file_of_a_trained_model_computes_what_the_model_does_for_any_batch(examples, name, format_):
    made = examples[name].make(format_, said={"metrics": {"loss": 0.5}, "metrics_step": 4, "image_id": "img@sha256:1"})

    assert made.parity.max_abs_diff < 1e-4
    assert (8, 8, 8, 5, 3, 1) == made.parity.batch_sizes
    assert 1.0 == made.parity.argmax_agreement
    assert "batch" == made.inputs[0].shape[0] == made.outputs[0].shape[0]
    assert (4, {"loss": 0.5}, "img@sha256:1") == (made.checkpoint.step, made.metrics, made.image_id)
    folder = examples[name].directory / "exports" / format_
    assert made == verify(folder) == verify(folder / made.files[0].name)
    people = (folder / card.PEOPLE).read_text()
    assert all(text in people for text in (made.files[0].sha256, "step 4", "batch x", "img@sha256:1", "| loss | 0.5 |"))


def test_what_was_made_is_what_the_format_s_own_tools_run(digits):
    """Without a line of ours, on a batch size that no comparison used."""
    x_BF = torch.rand(13, 64)  # noqa: N806
    expected = digits.subject.source.model(x_BF)
    root = digits.directory / "exports"
    session = onnx_file.onnxruntime.InferenceSession(str(root / "onnx/model.onnx"), providers=["CPUExecutionProvider"])
    results = [torch.from_numpy(session.run(None, {"input": x_BF.numpy()})[0])]
    results.append(torch.export.load(root / "torch-export/model.pt2").module()(x_BF))
    results.append(torch.jit.load(str(root / "torchscript/model.pt"))(x_BF))
    settings = json.loads((root / "safetensors/config.json").read_text())
    fresh = nn.Sequential(nn.Linear(64, settings["hidden"]), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 10))
    fresh.load_state_dict(safetensors.torch.load_file(root / "safetensors/model.safetensors"))
    results.append(fresh(x_BF))

    assert [True] * 4 == [torch.allclose(expected, one, atol=1e-4) for one in results]


def test_what_an_earlier_try_made_is_kept_and_another_checkpoint_replaces_it(digits, tmp_path):
    before = {name: (digits.directory / "exports" / name / card.NAME).read_bytes() for name in FORMATS}
    told = []
    for name in FORMATS:
        digits.make(name, told=told)
    assert before == {name: (digits.directory / "exports" / name / card.NAME).read_bytes() for name in FORMATS}
    assert all("there already" in text for text in told)

    shutil.copytree(digits.directory, tmp_path / "job")
    earlier = Trained(tmp_path / "job", digits.task, digits.config, step=2)
    earlier.make("safetensors")

    assert 2 == verify(tmp_path / "job/exports/safetensors").checkpoint.step
    assert sorted(FORMATS) == left(tmp_path / "job")


@pytest.mark.parametrize(
    "file",
    [
        "onnx/model.onnx",
        "torch-export/model.pt2",
        "torchscript/model.pt",
        "safetensors/model.safetensors",
        "safetensors/config.json",
        "onnx/export.json",
    ],
)
def test_one_flipped_bit_in_any_file_is_refused(digits, tmp_path, file):
    shutil.copytree(digits.directory / "exports", tmp_path / "exports")
    folder = tmp_path / "exports" / Path(file).parent
    verify(folder)
    path = tmp_path / "exports" / file
    kit.flip(path, path.stat().st_size // 2)

    with pytest.raises(InvalidError, match=f"{Path(file).name}"):
        verify(folder)


@pytest.mark.parametrize("name", FORMATS)
def test_weights_of_another_step_are_refused_though_they_load(digits, tmp_path, name):
    made = digits.make(name)
    file = made.files[0].name
    earlier = Trained(digits.directory, digits.task, digits.config, step=2)
    earlier.make(name, root=tmp_path)
    shutil.copytree(digits.directory / "exports" / name, tmp_path / "mixed")
    shutil.copy(tmp_path / "exports" / name / file, tmp_path / "mixed" / file)

    with pytest.raises(InvalidError, match=rf"{file} (does not match its SHA-256|has \d+ bytes)"):
        verify(tmp_path / "mixed")
    assert 2 == verify(tmp_path / "exports" / name).checkpoint.step  # its own card: only the digest of the status tells
    with pytest.raises(InvalidError, match="is not the file that was asked for"):
        verify(tmp_path / "exports" / name, made.files[0].sha256)


def test_weights_tampered_in_the_checkpoint_are_never_exported(digits, tmp_path):
    shutil.copytree(digits.directory, tmp_path / "job")
    shutil.copy(kit.shard_of(tmp_path / "job", 2), kit.shard_of(tmp_path / "job", 4))

    with pytest.raises(UserError, match=r"checkpoint of step 4 is not valid .*SHA-256.*--step") as raised:
        subject(tmp_path / "job", digits.task, digits.config)
    assert ("NoValidCheckpoint", ExitCode.USER_DATA) == (raised.value.reason, raised.value.exit_code)
    assert [2, 4] == kit.steps_in(tmp_path / "job")  # only read
    assert 2 == subject(tmp_path / "job", digits.task, digits.config, step=2).source.origin.step


def test_the_best_checkpoint_is_the_one_with_the_lowest_score(tmp_path):
    writer = kit.writer(tmp_path)
    for step, score in ((5, 0.7), (10, 0.2), (15, 0.4)):
        writer.write(kit.draft(step, score), memoryview(kit.IMAGE), None)

    assert 10 == source.choose(tmp_path, wanted.Wanted(format="onnx", source="Best"))
    assert 15 == source.choose(tmp_path, wanted.Wanted(format="onnx"))
    with pytest.raises(UserError, match=r"no checkpoint of step 7; .* has 15, 10, 5") as raised:
        source.choose(tmp_path, wanted.Wanted(format="onnx", step=7))
    assert ("CheckpointMissing", ExitCode.USER_INPUT_MISSING) == (raised.value.reason, raised.value.exit_code)


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


def test_the_older_onnx_exporter_serves_where_there_is_no_other(digits, monkeypatch, tmp_path):
    real = torch.onnx.export

    def export(model, args, f, *, input_names=None, output_names=None, opset_version=None, dynamic_axes=None):
        """As torch 2.4 has it: nothing of dynamo in the signature."""
        real(model, args, f, input_names=input_names, output_names=output_names, opset_version=opset_version,
             dynamic_axes=dynamic_axes, dynamo=False)  # fmt: skip

    monkeypatch.setattr(onnx_file.torch.onnx, "export", export)
    made = digits.make("onnx", root=tmp_path, opset=17)

    assert ("trace", 17) == (made.method, made.opset)
    assert made.parity.max_abs_diff < 1e-4


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


@pytest.mark.parametrize("name", FORMATS)
def test_a_volume_that_refuses_leaves_nothing_but_a_part_and_the_next_try_clears_it(digits, tmp_path, name):
    """The kernel refuses: no file of this process may be longer than 1,000 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(TrainerError, match=r"could not be written .*free space") as raised:
            digits.make(name, root=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert ("ExportNotWritten", ExitCode.RETRYABLE) == (raised.value.reason, raised.value.exit_code)
    assert [f"{name}.part-0"] == left(tmp_path)
    digits.make(name, root=tmp_path, attempt=1)
    assert [name] == left(tmp_path)


def test_memory_that_runs_out_is_no_fault_of_the_user_and_names_nothing(digits, tmp_path, monkeypatch):
    def allocate(*_, **__):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(torch.export, "save", allocate)
    with pytest.raises(RuntimeError, match="can't allocate"):
        digits.make("torch-export", root=tmp_path)

    assert ["torch-export.part-0"] == left(tmp_path)


def test_no_sample_of_the_training_data_is_in_the_file(digits):
    held = torch.export.load(digits.directory / "exports/torch-export/model.pt2").example_inputs

    assert all(not leaf.any() for leaf in torch.utils._pytree.tree_leaves(held) if isinstance(leaf, torch.Tensor))


def test_weights_too_large_for_one_file_of_onnx_lie_beside_it_and_are_verified_too(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "ONE_FILE_BYTES_MAX", 100)
    made = digits.make("onnx", root=tmp_path)

    assert ["model.onnx", "model.onnx.data"] == [file.name for file in made.files]
    kit.flip(tmp_path / "exports/onnx/model.onnx.data")
    with pytest.raises(InvalidError, match=r"model\.onnx\.data does not match"):
        verify(tmp_path / "exports/onnx")
