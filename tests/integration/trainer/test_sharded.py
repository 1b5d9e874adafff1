"""The example of FSDP2 for real: two processes hold half each, and one goes on with what both have saved."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "jobs" / "examples" / "beyond" / "sharded"

pytestmark = pytest.mark.integration


def start(folder, workers):
    env = os.environ | {"PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'jobs'}"}
    manifest = (EXAMPLE / "job.yaml").read_text().replace("workers: 2", f"workers: {workers}")
    (folder / "job.yaml").write_text(manifest)
    shutil.copy(EXAMPLE / "train.py", folder)
    with (folder / "log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "ganger.cli", "run", "job.yaml", "--checkpoints", "kept"],
            cwd=folder, env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip


def said(folder):
    return (folder / "log").read_text()


def ended(process, folder, code):
    try:
        assert code == process.wait(90), said(folder)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def saved(folder):
    with safe_open(folder / "kept" / "sharded.safetensors", "pt") as file:
        return int(file.metadata()["step"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def test_two_ranks_hold_half_each_and_go_on_from_their_checkpoint_as_one_rank_does(tmp_path):
    whole, broken, alone = (tmp_path / name for name in ("whole", "broken", "alone"))
    for folder in (whole, broken):
        folder.mkdir()
    ended(start(whole, 2), whole, 0)
    process = start(broken, 2)
    deadline = time.monotonic() + 60
    while "step 60 " not in said(broken):
        assert time.monotonic() < deadline, said(broken)
        assert process.poll() is None, said(broken)
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    ended(process, broken, 130)
    stopped, _ = saved(broken)
    shutil.copytree(broken, alone)
    ended(start(broken, 2), broken, 0)
    ended(start(alone, 1), alone, 0)

    assert "rank 0 of 2 holds 34241 of 68353 numbers" in said(whole)
    assert "rank 1 of 2 holds 34112 of 68353 numbers" in said(whole)
    assert 60 <= stopped < 200
    assert f"begins at step {stopped}" in said(broken)
    (last, expected), (also, found) = saved(whole), saved(broken)
    assert (200, 200) == (last, also)
    assert expected.keys() == found.keys()
    assert [] == [name for name, tensor in expected.items() if not torch.equal(tensor, found[name])]
    assert "rank 0 of 1 holds 68353 of 68353 numbers" in said(alone)
    assert f"begins at step {stopped}" in said(alone)
    assert 200 == saved(alone)[0]
    assert last_loss(alone) == pytest.approx(last_loss(whole), rel=0.5), "another order of sums, the same training"


def last_loss(folder):
    return float(said(folder).split("step 200 loss ")[1].split()[0])
