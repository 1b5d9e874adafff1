"""The program that exports: what it is asked for, how it ends, what it says last, and what `verify` needs."""

import json
import os
import re
import signal
import subprocess
import sys
from importlib import util

import msgspec
import pytest

from ganger import contract
from ganger.contract import ExitCode
from ganger_trainer import UserError, lastword, worker
from ganger_trainer.export import card, wanted
from ganger_trainer.export.__main__ import environ, verify
from ganger_trainer.export.run import Run, artifact
from unit.trainer import kit

DONE = card.Card(
    format="torch-export", method="export", namespace="", job="", job_uid="", task="", config={"lr": 0.1},
    metrics={"a": 1}, packages={}, parameters=0, inputs=(card.Value(name="x", dtype="float32", shape=("batch", 4)),),
    outputs=(),
    created_at="", checkpoint=card.Origin(step=10**12, sha256="", attempt=0, saved_at=""),
    parity=card.Parity(batch_sizes=(1,), max_abs_diff=1.23456789e-5, tolerance=1e-4),
    files=(card.File(name="model.safetensors", bytes=10**13, sha256="f" * 64),),
)  # fmt: skip
TASK = "ganger_trainer.examples.digits:task"
CONFIG = '{"hidden": 8, "steps": 2, "threads": 1}'


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    directory = tmp_path_factory.mktemp("export") / "job"
    spec = kit.worker(directory, config=CONFIG)
    worker._train(msgspec.structs.replace(spec, task=TASK), kit.ToBoard())
    return directory


def settings(checkpoints, tmp_path, *entries, **more):
    return {
        contract.ENV_TASK: TASK,
        contract.ENV_CONFIG: CONFIG,
        contract.ENV_CHECKPOINT_DIR: str(checkpoints),
        contract.ENV_EXPORT_DIR: str(tmp_path / "to"),
        contract.ENV_EXPORTS: json.dumps(entries),
        contract.ENV_TERMINATION_LOG: str(tmp_path / "log"),
    } | more


class Left(BaseException):
    """The end of the process, in which this test goes on."""


@pytest.fixture
def ends(monkeypatch, tmp_path):
    """Run the program in this process; return its exit code and its last word."""

    def leave(code):
        raise Left(code)

    def run(variables):
        monkeypatch.setattr(os, "_exit", leave)
        with pytest.raises(Left) as left:
            Run(variables).end()
        return left.value.args[0], json.loads((tmp_path / "log").read_bytes())

    return run


def test_the_program_makes_what_the_environment_says_and_its_last_word_names_the_files(checkpoints, tmp_path):
    """A process of its own, as in a pod; `verify` then proves it, without torch."""
    variables = settings(
        checkpoints, tmp_path, {"format": "onnx", "path": "models/v1"}, {"format": "safetensors"},
        GANGER_EXPORT_METRICS='{"step": 2, "metrics": {"accuracy": 0.5, "bad": null}}', GANGER_IMAGE_ID="img@sha256:1",
        HOME=str(tmp_path / "home"),
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "ganger_trainer.export"], env=os.environ | variables, capture_output=True, text=True
    )

    assert 0 == done.returncode, done.stderr
    assert [] == [
        path.name for path in (tmp_path / "home").rglob("*onnxruntime*")
    ]  # it identifies no machine to anybody
    said = json.loads((tmp_path / "log").read_bytes())
    assert ("Done", ["models/v1/onnx/model.onnx", "exports/safetensors/model.safetensors"]) == (
        said["outcome"],
        [one["path"] for one in said["artifacts"]],
    )
    for one in said["artifacts"]:
        made = card.verify(tmp_path / "to" / one["path"], one["sha256"])
        assert "uid-1" == made.job_uid  # that trained, whoever exports
        assert (one["bytes"], 2, {"accuracy": 0.5}, "img@sha256:1") == (
            made.files[0].bytes, one["step"], made.metrics, made.image_id,
        )  # fmt: skip
    proof = (
        "import sys; from ganger_trainer.export.__main__ import verify; code = verify(sys.argv[1:]); "
        "assert 'torch' not in sys.modules; sys.exit(code)"
    )
    checked = subprocess.run([sys.executable, "-c", proof, str(tmp_path / "to")], capture_output=True, text=True)
    assert (0, 2) == (checked.returncode, checked.stdout.count("step 2")), checked.stderr
    kit.flip(tmp_path / "to" / said["artifacts"][0]["path"])
    assert 1 == verify([str(tmp_path / "to")])


def test_sigterm_ends_it_as_preempted_and_names_nothing(checkpoints, tmp_path):
    variables = settings(checkpoints, tmp_path, {"format": "onnx"})
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "ganger_trainer.export"], env=os.environ | variables, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()  # the checkpoint is whole; the exporter is loaded, which takes seconds
    process.send_signal(signal.SIGTERM)

    assert ExitCode.PREEMPTED == process.wait(timeout=60)
    process.stdout.close()
    assert ("Preempted", False) == (
        json.loads((tmp_path / "log").read_bytes())["outcome"],
        (tmp_path / "to/exports/onnx").exists(),
    )


def test_a_failure_tells_the_files_that_were_made_before_it(checkpoints, tmp_path, ends):
    entries = ({"format": "safetensors"}, {"format": "safetensors", "path": "other", "step": 7})

    code, said = ends(settings(checkpoints, tmp_path, *entries))

    assert (ExitCode.USER_INPUT_MISSING, "UserError", "CheckpointMissing") == (code, said["outcome"], said["reason"])
    assert ["exports/safetensors/model.safetensors"] == [one["path"] for one in said["artifacts"]]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({contract.ENV_EXPORTS: "[]"}, "needs GANGER_TASK, GANGER_CHECKPOINT_DIR and GANGER_EXPORTS"),
        ({contract.ENV_EXPORTS: "{"}, "allowed: a JSON list of objects of format, path, from"),
        ({contract.ENV_EXPORT_METRICS: "[]"}, "GANGER_EXPORT_METRICS is '..', allowed: "),
        ({contract.ENV_CHECKPOINT_DIR: "/nowhere"}, "/nowhere cannot be read: No such file"),
        ({contract.ENV_CONFIG: '{"hiden": 8}'}, "did you mean 'hidden'"),
    ],
)
def test_what_is_wrong_with_the_environment_is_said_and_not_retried(checkpoints, tmp_path, ends, change, reason):
    code, said = ends(settings(checkpoints, tmp_path, {"format": "safetensors"}, **change))

    assert code in contract.USER_ERRORS
    assert re.search(reason, said["message"]), said["message"]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({}, "entry 0: Object missing required field `format`"),
        ({"format": "tflite"}, "allowed: onnx, torch-export, torchscript, safetensors"),
        ({"format": "onnx", "form": 1}, "unknown key 'form'"),
        ({"format": "onnx", "from": "Newest"}, "allowed: Latest, Best"),
        ({"format": "onnx", "tolerance": 0}, "`tolerance`"),
        ({"format": "onnx", "path": "../x"}, "path is '../x', allowed: a relative folder"),
        ({"format": "onnx", "path": "/x"}, "allowed: a relative folder"),
        ({"format": "onnx", "path": "step_5"}, "does not begin with 'step_'"),
        ({"format": "torchscript", "opset": 17}, "opset is of onnx alone"),
    ],
)
def test_an_entry_that_cannot_be_is_named_with_what_is_allowed(entry, words):
    with pytest.raises(UserError) as raised:
        wanted.read(json.dumps([entry]))

    assert "EnvironmentInvalid" == raised.value.reason
    assert words in str(raised.value)


def test_two_entries_may_not_write_the_same_file():
    with pytest.raises(UserError, match="onnx in 'exports' is asked for twice"):
        wanted.read('[{"format": "onnx"}, {"format": "onnx", "from": "Best"}]')

    assert 2 == len(wanted.read('[{"format": "onnx"}, {"format": "onnx", "from": "Best", "path": "best"}]'))
    with pytest.raises(UserError, match="9 entries, allowed: at most 8"):
        wanted.read(json.dumps([{"format": "onnx", "path": f"x{number}"} for number in range(9)]))


def test_the_keys_and_formats_are_those_of_the_contract():
    fields = msgspec.structs.fields(wanted.Wanted)

    assert set(contract.EXPORT_KEYS) == {field.encode_name for field in fields}
    assert contract.EXPORT_FORMATS == tuple(wanted.PACKAGES)


def test_a_worker_finds_a_missing_package_before_it_trains(tmp_path, monkeypatch):
    real = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == "onnxruntime" else real(name))
    monkeypatch.setenv(contract.ENV_EXPORTS, '[{"format": "safetensors"}, {"format": "onnx"}]')
    spec = msgspec.structs.replace(kit.worker(tmp_path / "job", config=CONFIG), task=TASK)

    with pytest.raises(UserError, match=r"onnx needs onnxruntime, .* pip install 'ganger\[export\]'") as raised:
        worker._train(spec, kit.ToBoard())

    assert ("ExportUnavailable", ExitCode.BAD_CONFIG) == (raised.value.reason, raised.value.exit_code)
    assert not (tmp_path / "job").exists()


def test_the_longest_list_of_artifacts_fits_the_last_word_and_says_no_less_than_was_seen():
    path = "p" * contract.EXPORT_PATH_CHARACTERS_MAX
    one = artifact(wanted.Wanted(format="torch-export", path=path), DONE)
    message = {"outcome": "Failed", "reason": "ExportDiffers", "message": "m" * 1000, "artifacts": [one] * 8}

    told = json.loads(lastword.fit(message))

    assert message["artifacts"] == told["artifacts"]
    assert told["message"]
    assert 1.24e-5 == one["maxAbsDiff"]


def test_one_flipped_bit_anywhere_in_a_card_is_seen(tmp_path):
    whole = card.encode(card.sealed(DONE))
    (tmp_path / card.NAME).write_bytes(whole)
    assert DONE == msgspec.structs.replace(card.read(tmp_path), sha256="")
    for position in range(len(whole)):
        for bit in (0, 5):
            changed = bytearray(whole)
            changed[position] ^= 1 << bit
            (tmp_path / card.NAME).write_bytes(changed)
            with pytest.raises(card.InvalidError):
                card.read(tmp_path)


def test_a_card_leads_to_no_file_of_another_folder(tmp_path):
    away = msgspec.structs.replace(DONE, files=(card.File(name="../model.pt", bytes=1, sha256="f" * 64),))
    (tmp_path / card.NAME).write_bytes(card.encode(card.sealed(away)))

    with pytest.raises(card.InvalidError, match="one in another folder"):
        card.verify(tmp_path)


def test_options_win_over_the_environment(monkeypatch):
    monkeypatch.setenv(contract.ENV_SCRIPT, '["x.py"]')
    monkeypatch.setenv(contract.ENV_CONFIG, "{}")
    changed = environ(
        ["--task", "m:t", "--exports", "[]", "--to", "/out", "--checkpoints", "/in", "--config", '{"a": 1}']
    )

    assert changed is not None
    assert ("m:t", "[]", "/out", "/in", '{"a": 1}', None) == (
        changed[contract.ENV_TASK], changed[contract.ENV_EXPORTS], changed[contract.ENV_EXPORT_DIR],
        changed[contract.ENV_CHECKPOINT_DIR], changed[contract.ENV_CONFIG], changed.get(contract.ENV_SCRIPT),
    )  # fmt: skip
    assert environ(["--tsak", "m:t"]) is None
    assert environ(["--task"]) is None


def test_verify_tells_a_path_without_an_export(tmp_path, capsys):
    assert 2 == verify([str(tmp_path)])
    assert "no export.json there: name the folder of an export" in capsys.readouterr().err
    assert 2 == verify([])
