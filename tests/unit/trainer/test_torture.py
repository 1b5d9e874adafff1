"""The attacks of `python -m ganger_dev.torture` in numbers for every run; `make chaos` has the large ones."""

import os
import random
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from ganger_dev.torture import damage, killing
from ganger_trainer.checkpoint import durable, layout, loader, manifest, retention, writer
from ganger_trainer.environment import CheckpointPolicy
from unit.trainer import kit

MEMORY = 256 << 20


def test_no_damaged_or_hostile_checkpoint_is_loaded_or_runs_code():
    found = damage.run(1000)

    assert [] == found.wrong
    assert (0, 0) == (found.loaded, found.ran_code)
    assert sum(found.trials.values()) >= 1000
    assert len(found.trials) >= 45
    assert found.rss_growth < MEMORY


def test_damage_that_was_not_done_would_be_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(damage, "enumerated", lambda *_: iter([("none", lambda _: None)]))
    monkeypatch.setattr(damage, "drawn", lambda _: ("none", lambda _: None))

    found = damage.run(3)

    assert 3 == found.loaded == len(found.wrong)


def test_a_kill_at_any_call_of_the_writer_leaves_the_old_checkpoint_or_the_new_one_whole():
    found = killing.run(moments=("torn",))

    assert [] == found.wrong
    assert {scenario.name for scenario in killing.SCENARIOS} == found.kills.keys()
    assert sum(found.kills.values()) >= 200
    assert found.found["commit: 10"] >= 10, "before the rename"
    assert found.found["commit: 20"] >= 5, "after it"


def test_a_commit_in_pieces_would_be_noticed(monkeypatch):
    def piecemeal(source, target):
        target.mkdir()
        for path in sorted(source.iterdir()):
            path.rename(target / path.name)
        source.rmdir()

    monkeypatch.setattr(durable, "rename", piecemeal)
    monkeypatch.setattr(killing, "SCENARIOS", killing.SCENARIOS[1:2])

    assert killing.run(moments=("before",)).wrong


def test_gangs_that_are_killed_end_with_the_bytes_of_one_that_was_not():
    # In a process of its own: the ranks are forked, which a process that has computed with torch cannot do.
    command = [sys.executable, "-m", "ganger_dev.torture", "--damaged=0", "--no-kills", "--gangs=3"]
    environ = os.environ | {"PYTHONPATH": ":".join(sys.path)}
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=240)

    assert 0 == ended.returncode, ended.stdout + ended.stderr
    assert "3 of 3 equal an uninterrupted run bit for bit" in ended.stdout


def test_a_clock_that_goes_back_changes_neither_what_is_newest_nor_what_is_kept(tmp_path, monkeypatch):
    chance = random.Random(0)

    class Clock:
        @staticmethod
        def now(zone):
            return datetime(2026, 1, 1 + chance.randrange(28), tzinfo=UTC)

    monkeypatch.setattr(writer, "datetime", Clock)
    for step in range(1, 12):
        kit.commit(tmp_path, step, keep_last=3)

    assert [9, 10, 11] == kit.steps_in(tmp_path)
    assert 11 == loader.choose(tmp_path, CheckpointPolicy(), kit.ALONE, lambda _: None).step


def test_ten_thousand_entries_are_listed_and_the_newest_checkpoint_is_found(tmp_path):
    kit.commit(tmp_path, 7, 40_000)
    for number in range(10_000):
        (tmp_path / f"step_{number + 100}").mkdir()

    listing = layout.look(tmp_path)

    assert 10_002 == len(listing.steps)
    assert (40_000, 7) == (listing.steps[0], listing.steps[-1])
    assert 40_000 == loader.choose(tmp_path, CheckpointPolicy(), kit.ALONE, lambda _: None).step
    assert 2 == retention.prune(tmp_path, CheckpointPolicy(keep_last=2))


def test_names_that_only_look_like_checkpoints_are_none(tmp_path):
    kit.commit(tmp_path, 7)
    for name in (
        "step_007",
        "step_\u0667",
        "step_",
        "step_-9",
        "step_9 ",
        "STEP_9",
        "step_9.tmp-x",
        "step_" + "9" * 19,
    ):
        (tmp_path / name).mkdir()

    assert (7,) == layout.look(tmp_path).steps


def test_a_manifest_that_vouches_for_a_link_is_refused(tmp_path):
    kit.commit(tmp_path, 7)
    outside = tmp_path / "outside"
    kit.shard_of(tmp_path, 7).rename(outside)
    kit.shard_of(tmp_path, 7).symlink_to(outside)

    with pytest.raises(manifest.InvalidError, match="symbolic links"):
        manifest.verify(tmp_path / "step_7")
