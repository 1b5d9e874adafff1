"""What `ganger init` writes, given to the real API server and to real processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ganger.cli.init import EXAMPLES

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_api_server_accepts_what_is_written(ganger, tmp_path, example):
    path = str(tmp_path / "first.yaml")
    command = [sys.executable, "-m", "ganger.cli", "init", example, "--example", example, "-f", path]
    env = os.environ | {"PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'jobs'}"}
    subprocess.run(command, env=env, check=True, capture_output=True)

    submitted = ganger("submit", path)

    assert (0, f"{example} submitted\n") == (submitted.code, submitted.out)


def test_the_script_trains_and_goes_on_from_its_checkpoint(tmp_path):
    env = os.environ | {"PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'jobs'}"}

    def call(*arguments):
        command = [sys.executable, "-m", "ganger.cli", *arguments]
        return subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=240)

    assert 0 == call("init", "mine", "--example", "script").returncode
    first = call("run", "mine.yaml")
    assert (0, True) == (first.returncode, "mine is complete" in first.stderr), first.stdout + first.stderr
    assert "worker-0 | weight 2.9" in first.stdout or "worker-0 | weight 3.0" in first.stdout, first.stdout
    saved = tmp_path / "ganger-runs/mine/checkpoints/last.pt"
    assert [saved] == list(saved.parent.glob("last.*"))

    # Nothing is left to train: all 300 steps are in the checkpoint.
    again, before = call("run", "mine.yaml"), saved.read_bytes()
    assert (0, before) == (again.returncode, saved.read_bytes()), again.stdout + again.stderr
