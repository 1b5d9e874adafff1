"""A full volume and a read-only one cost checkpoints, not the training; what they must cost is said."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ganger_trainer.checkpoint import layout, manifest, ownership, retention
from ganger_trainer.environment import CheckpointPolicy
from unit.trainer import kit
from unit.trainer.kit import IMAGE, Disk, commit, draft, flip, owner, shard_of, steps_in, writer

OWN_MOUNTS = ("unshare", "--user", "--map-root-user", "--mount")


@pytest.fixture
def on_volume(tmp_path):
    """Run `volumes.py` where it may mount; return what it printed."""
    if subprocess.run(
        [*OWN_MOUNTS, "mount", "-t", "tmpfs", "none", tmp_path], capture_output=True, check=False
    ).returncode:
        pytest.skip("this kernel lets nobody but root mount: no real full or read-only volume was tried")

    def run(kind):
        command = [*OWN_MOUNTS, sys.executable, Path(__file__).with_name("volumes.py"), kind, tmp_path]
        ended = subprocess.run(
            command, env=os.environ | {"PYTHONPATH": ":".join(sys.path)}, capture_output=True, text=True, check=False
        )
        assert 0 == ended.returncode, ended.stderr
        return json.loads(ended.stdout), ended.stderr

    return run


def test_a_volume_too_small_for_the_policy_makes_room_and_the_job_ends_well(on_volume):
    found, said = on_volume("full")

    assert "Done" == found["ended"]
    assert [] == found["left"]
    assert 40 == found["steps"][-1]
    assert found["failures"] >= 1
    assert found["trouble"] is None, "the newest save succeeded"
    assert "older checkpoints were removed to make room" in said


def test_a_volume_too_small_for_any_checkpoint_trains_on_and_fails_at_the_end_by_name(on_volume):
    found, said = on_volume("hopeless")

    assert "1 CheckpointFailed" == found["ended"]
    assert [] == found["left"] == found["steps"]
    assert ["ENOSPC", found["failures"]] == found["trouble"]
    assert found["failures"] >= 8
    assert "training goes on" in said


def test_a_read_only_volume_is_resumed_from_and_trained_on_with_a_warning(on_volume):
    found, said = on_volume("auto")

    assert ("Done", 40) == (found["ended"], found["resumed"])
    assert "cannot be written (Read-only file system)" in said
    assert "trains without checkpoints" in said


def test_a_read_only_volume_ends_a_job_that_requires_a_checkpoint(on_volume):
    found, _ = on_volume("required")

    assert "78 CheckpointVolumeReadOnly" == found["ended"]


def full_once(directory, monkeypatch, step, attempt=0, **policy):
    """Save `step` on a volume that is full at its first write."""
    ready = writer(directory, attempt, **policy)
    with monkeypatch.context() as patch:
        Disk(full_at=1).attach(patch)
        verdict = ready.write(draft(step), memoryview(IMAGE), None)
    assert errno.errorcode[errno.ENOSPC] == verdict.reason
    return verdict


def test_what_the_policy_will_not_keep_makes_room_and_the_rest_stays(tmp_path, monkeypatch):
    commit(tmp_path, 1, 2, 3, 4, keep_last=3)
    (tmp_path / "step_1.superseded").mkdir()

    verdict = full_once(tmp_path, monkeypatch, 5, keep_last=3)

    assert [3, 4] == steps_in(tmp_path)
    assert () == layout.look(tmp_path).leaving
    assert "(1 older checkpoints were removed to make room)" in verdict.message


@pytest.mark.parametrize("policy", [{"keep_last": 1}, {"keep_last": 1, "keep_every": 2}])
def test_the_last_valid_checkpoint_is_never_given_up(tmp_path, monkeypatch, policy):
    commit(tmp_path, 2, 4, 6, keep_last=9)
    flip(shard_of(tmp_path, 6))
    flip(shard_of(tmp_path, 4))

    full_once(tmp_path, monkeypatch, 7, **policy)

    assert 2 in steps_in(tmp_path)
    assert 2 == manifest.verify(tmp_path / "step_2").step


def test_where_nothing_is_valid_nothing_is_removed(tmp_path):
    commit(tmp_path, 2, 4, keep_last=9)
    for step in (2, 4):
        flip(shard_of(tmp_path, step))

    assert 0 == retention.make_room(tmp_path, CheckpointPolicy(keep_last=1))
    assert [2, 4] == steps_in(tmp_path)


def test_an_attempt_that_is_fenced_removes_nothing_of_the_newer_one(tmp_path, monkeypatch):
    commit(tmp_path, 1, 2, keep_last=9)
    ready = writer(tmp_path, 0, keep_last=1)
    ownership.acquire(tmp_path, owner(attempt=1))
    with monkeypatch.context() as patch:
        Disk(full_at=1).attach(patch)
        ready.write(draft(3), memoryview(IMAGE), None)

    assert [1, 2] == steps_in(tmp_path)


def test_a_best_checkpoint_is_kept_though_room_is_scarce(tmp_path, monkeypatch):
    for step, score in ((1, 0.1), (2, 0.9), (3, 0.8)):
        writer(tmp_path, keep_last=9).write(draft(step, score), memoryview(IMAGE), None)

    full_once(tmp_path, monkeypatch, 4, keep_last=2, keep_best=1)

    assert [1, 3] == steps_in(tmp_path)
    assert kit.OWNER.job == manifest.read(tmp_path / "step_1").job
