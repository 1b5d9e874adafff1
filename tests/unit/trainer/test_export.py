"""Model files: three example models in every format, on real batches; and everything that must not be published."""

import gzip
import json
import resource
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from ganger import contract
from ganger.contract import ExitCode
from ganger_trainer import UserError
from ganger_trainer.export import InvalidError, card, source, verify, wanted
from ganger_trainer.export.formats import onnx_file
from ganger_trainer.failures import TrainerError
from unit.trainer import kit
from unit.trainer.exported import Trained, left, subject, train

CONFIGS = {
    "digits": {"hidden": 16},
    "fashion_mnist": {"channels": 2},
    "chargpt": {"width": 16, "layers": 1, "context": 16},
}
FORMATS = contract.EXPORT_FORMATS


def idx(path, array):
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}i", *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


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
