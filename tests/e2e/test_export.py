"""Model files made in the real image by a pod of its own, and those of an older checkpoint by `ganger export`."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parents[2]
FORMATS = ["onnx", "torch-export", "safetensors"]
SPEC = {
    "task": "ganger_trainer.examples.digits:task",
    "config": {"epochs": 1, "batchSize": 256, "threads": 1},
    "resources": {"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
    "checkpoint": {"volume": {"size": "1Gi"}, "everySteps": 2},
    "export": [{"format": one} for one in FORMATS],
}


@pytest.fixture(scope="module")
def exported(shared_namespace):
    """The namespace with a job that has its files, and the folder of its volume."""
    metadata = {"name": "digits"}
    shared_namespace.apply(
        {"apiVersion": "ganger.dev/v1alpha1", "kind": "TrainingJob", "metadata": metadata, "spec": SPEC}
    )
    shared_namespace.wait_phase("digits", "Complete", 180)
    return shared_namespace, shared_namespace.volume("digits-checkpoints")


def verify(path: Path) -> subprocess.CompletedProcess:
    env = os.environ | {"PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'jobs'}"}
    command = [sys.executable, "-m", "ganger_trainer.export", "verify", str(path)]
    return subprocess.run(command, env=env, capture_output=True, text=True)


def test_every_file_is_there_as_the_status_tells_and_its_card_says_where_it_comes_from(exported):
    namespace, volume = exported
    status = namespace.status("digits")
    steps = status["checkpoint"]["latestStep"]

    assert FORMATS == [one["format"] for one in status["artifacts"]]
    for one in status["artifacts"]:
        path = volume / one["path"]
        assert (one["sha256"], one["bytes"]) == (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)
        assert (steps, True) == (one["step"], one.get("maxAbsDiff", 0.0) < 1e-4)
        card = json.loads((path.parent / "export.json").read_text())
        pod = next(pod for pod in namespace.pods("digits") if pod["metadata"]["name"] == "digits-0-0")
        assert pod["status"]["containerStatuses"][0]["imageID"] in json.dumps(card)
    assert ["digits-0-0", "digits-export-0"] == sorted(pod["metadata"]["name"] for pod in namespace.pods("digits"))
    assert 0 == verify(volume / "exports").returncode


def test_a_file_in_which_one_bit_was_flipped_is_refused(exported, tmp_path):
    _, volume = exported
    for name in ("export.json", "model.onnx"):
        (tmp_path / name).write_bytes((volume / "exports" / "onnx" / name).read_bytes())
    whole = verify(tmp_path)
    data = bytearray((tmp_path / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "model.onnx").write_bytes(data)
    spoilt = verify(tmp_path)

    assert (0, 1) == (whole.returncode, spoilt.returncode), whole.stderr
    assert "NOT VALID" in spoilt.stdout


def test_ganger_export_makes_a_file_of_an_older_checkpoint(exported):
    namespace, volume = exported
    step = min(int(path.name.removeprefix("step_")) for path in volume.glob("step_*"))
    with namespace.installed.ganger(
        "export", "digits", "-n", namespace.name, "--format", "safetensors", "--step", str(step), "-o", "json"
    ) as process:
        out, err = process.communicate(timeout=120)
    (made,) = json.loads(out[out.index("[") :])

    assert (0, step) == (process.returncode, made["step"]), err
    assert f"exports/step-{step}/safetensors/model.safetensors" == made["path"]
    assert made["sha256"] == hashlib.sha256((volume / made["path"]).read_bytes()).hexdigest()
