"""`from_job`: what a notebook gets of a job, from real checkpoints that it must not touch."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from ganger.contract import ExitCode
from ganger_trainer import TrainConfig, UserError, from_job
from ganger_trainer.checkpoint import layout
from ganger_trainer.checkpoint.writer import Draft
from unit.trainer.kit import Tiny, flip, shard_of, writer


def weights(seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return Tiny().model(TrainConfig()).state_dict()


def save(directory: Path, step: int, *, score: float | None = None) -> None:
    """Commit a checkpoint of a model of the task, with the weights of the seed `step`."""
    state = weights(step)
    trees = {"model": {name: {"$tensor": f"model/{name}"} for name in state}, "optimizer": {}}
    image = safetensors.torch.save({f"model/{name}": tensor for name, tensor in state.items()})
    draft = Draft(step=step, samples=step * 8, score=score, trees=trees)
    assert "" == writer(directory, keep_last=9).write(draft, memoryview(image), None).reason


@pytest.fixture
def job(tmp_path):
    """The job `digits` with checkpoints of the steps 5, 10 and 15; that of step 10 is the best."""
    for step, score in ((5, 3.0), (10, 1.0), (15, 2.0)):
        save(tmp_path, step, score=score)
    return from_job(
        {
            "GANGER_JOB": "digits",
            "GANGER_TASK": "unit.trainer.kit:Tiny",
            "GANGER_CONFIG": json.dumps({"lr": 0.25}),
            "GANGER_CHECKPOINT_DIR": str(tmp_path),
        }
    )


def is_of(model, step: int) -> bool:
    return all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in weights(step).items())


def snapshot(directory: Path) -> list[tuple[str, int, int]]:
    paths = [directory, *sorted(directory.rglob("*"))]
    return [(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in paths]


@pytest.mark.parametrize("asked, got", [(None, 15), ("best", 10), (5, 5)])
def test_the_model_has_the_weights_of_the_step_that_was_asked_for(job, asked, got):
    model = job.model(asked)

    assert is_of(model, got)
    assert not model.training
    assert (got, 0.25) == (job.checkpoint(asked).step, job.config.lr)


def test_nothing_is_written_to_the_volume_although_a_checkpoint_is_damaged(job, capsys):
    flip(shard_of(job.directory, 15))
    before = snapshot(job.directory)

    assert is_of(job.model(), 10)
    assert "step 15 is not whole (rank-00000.safetensors does not match its SHA-256), step 10 is opened" in (
        capsys.readouterr().out
    )
    assert before == snapshot(job.directory)


def test_a_checkpoint_of_a_given_step_that_is_damaged_is_refused(job):
    flip(shard_of(job.directory, 10))

    with pytest.raises(UserError, match=r"is whole \(step 10: rank-00000.safetensors does not match") as caught:
        job.model(10)
    assert ("NoValidCheckpoint", ExitCode.USER_DATA) == (caught.value.reason, caught.value.exit_code)


def test_a_job_that_saves_meanwhile_may_take_away_what_was_listed(job, monkeypatch):
    """The listing is of a moment before: the job has saved step 20 since, and removed all of the older ones."""
    real, answers = layout.look, [layout.look(job.directory)]
    for step in (5, 10, 15):
        shutil.rmtree(job.directory / layout.committed(step))
    save(job.directory, 20)
    monkeypatch.setattr(layout, "look", lambda directory: answers.pop() if answers else real(directory))

    assert is_of(job.model(), 20)


def test_what_is_missing_is_named_with_what_is_there(job, tmp_path):
    with pytest.raises(UserError, match=r"no checkpoint of step 7 in .*; steps that are there: 15, 10, 5"):
        job.model(7)
    with pytest.raises(UserError, match=r"GANGER_JOB is not set.*fromJob"):
        from_job({})
    with pytest.raises(UserError, match="runs a script or a command"):
        from_job({"GANGER_JOB": "digits"}).task  # noqa: B018
    with pytest.raises(UserError, match="keeps no checkpoints"):
        from_job({"GANGER_JOB": "digits"}).steps()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no checkpoint at all"):
        from_job({"GANGER_JOB": "digits", "GANGER_CHECKPOINT_DIR": str(tmp_path / "empty")}).checkpoint()


def test_the_weights_of_another_model_are_refused_with_the_first_difference(job):
    job.task.model = lambda _config: torch.nn.Linear(4, 2)

    with pytest.raises(UserError, match="of another model: weight is missing in the checkpoint"):
        job.model()


def test_a_notebook_that_only_asks_what_there_is_does_not_wait_for_torch(job):
    program = f"""
import sys
from ganger_trainer import from_job
job = from_job({{"GANGER_JOB": "digits", "GANGER_CHECKPOINT_DIR": {str(job.directory)!r}}})
print(job.steps(), job, "torch" in sys.modules)
"""
    printed = subprocess.check_output([sys.executable, "-c", program], text=True)

    assert f"[15, 10, 5] <job digits: task none, checkpoints in {job.directory}> False\n" == printed
