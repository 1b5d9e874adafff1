"""Writing checkpoints: whole or not at all, whatever the disk, the machine or another attempt does."""

import contextlib
import errno
import hashlib
import random
import threading
import time

import pytest
import torch
from safetensors.torch import load_file

from ganger.contract import ExitCode
from ganger_trainer.checkpoint import durable, layout, loader, manifest, ownership, tree
from ganger_trainer.environment import CheckpointPolicy
from ganger_trainer.failures import FencedError, UserError
from unit.trainer.kit import ALONE, IMAGE, Disk, PowerCut, commit, draft, owner, saver, shard_of, steps_in, writer


def newest_valid(directory):
    chosen = loader.choose(directory, CheckpointPolicy(on_no_valid_checkpoint="Restart"), ALONE, lambda _: None)
    return None if chosen is None else chosen.step


def calls_of_one_commit(directory, monkeypatch):
    disk = Disk()
    with monkeypatch.context() as patch:
        disk.attach(patch)
        commit(directory, 10)
    return len(disk.calls)


def test_a_commit_says_what_it_wrote_and_leaves_nothing_else(tmp_path):
    verdict = commit(tmp_path, 10)

    assert (10, len(IMAGE), 1) == (verdict.step, verdict.bytes, verdict.kept)
    assert IMAGE == shard_of(tmp_path, 10).read_bytes()
    assert {"LOCK", "FENCE", ".mutex", "step_10"} == {path.name for path in tmp_path.iterdir()}
    assert {layout.MANIFEST, layout.shard(0)} == {path.name for path in (tmp_path / "step_10").iterdir()}


def test_power_cut_at_any_call_leaves_the_old_checkpoint_or_the_new_one_whole(tmp_path, monkeypatch):
    calls = calls_of_one_commit(tmp_path / "count", monkeypatch)
    found = []
    for cut_at in range(calls + 1):
        directory = tmp_path / f"cut-{cut_at}"
        commit(directory, 5)
        disk = Disk(cut_at=cut_at)
        with monkeypatch.context() as patch:
            disk.attach(patch)
            with contextlib.suppress(PowerCut):
                commit(directory, 10)
        disk.lose_unsynced()
        # A cut may leave LOCK or FENCE unreplaced, never torn: the next attempt takes the directory as usual.
        ownership.acquire(directory, owner(attempt=1))
        layout.sweep(directory, attempt=1)
        found.append(newest_valid(directory))
        assert () == layout.look(directory).corrupt
        assert () == layout.look(directory).temporary

    assert {5, 10} == set(found)
    assert sorted(found) == found, "once committed, a checkpoint stays"
    assert 10 == found[-1]


def test_full_disk_at_any_call_costs_this_checkpoint_only_and_leaves_no_rest(tmp_path, monkeypatch):
    calls = calls_of_one_commit(tmp_path / "count", monkeypatch)
    refused = 0
    for full_at in range(calls):
        directory = tmp_path / f"full-{full_at}"
        commit(directory, 5)
        ready = writer(directory)
        with monkeypatch.context() as patch:
            disk = Disk(full_at=full_at).attach(patch)
            verdict = ready.write(draft(10), memoryview(IMAGE), None)
        if verdict.reason:
            assert "ENOSPC" == verdict.reason
            assert "No space left" in verdict.message
            assert () == layout.look(directory).temporary
            refused += 1
        assert newest_valid(directory) in ({5, 10} if "rename" in disk.calls else {5})

    assert refused >= 6


def test_full_disk_lets_training_go_on_and_the_next_checkpoint_is_kept(tmp_path, monkeypatch):
    heard = []
    keeping = saver(tmp_path, heard)
    state = {"model": {"w": torch.ones(3)}}
    with monkeypatch.context() as patch:
        Disk(full_at=1).attach(patch)
        keeping.save(1, state=state, private={}, samples=8, score=None)
        assert "ENOSPC" == keeping.finish().reason

    keeping.save(2, state=state, private={}, samples=16, score=None)
    keeping.finish()

    assert ["ENOSPC", ""] == [verdict.reason for verdict in heard]
    assert [2] == steps_in(tmp_path)
    assert 2 == keeping.last_step


def test_an_error_of_the_volume_is_named_as_the_volume_says_it(tmp_path, monkeypatch):
    ready = writer(tmp_path)
    (tmp_path / layout.temporary(10, 0)).write_text("a file where a directory must be")

    verdict = ready.write(draft(10), memoryview(IMAGE), None)

    assert verdict.reason in (errno.errorcode[errno.ENOTDIR], errno.errorcode[errno.EEXIST])


def test_a_state_with_a_nan_is_refused_and_names_the_tensor(tmp_path):
    keeping = saver(tmp_path, [])
    state = {"model": {"good": torch.ones(3), "bad": torch.tensor([1.0, float("nan")], dtype=torch.bfloat16)}}

    keeping.save(1, state=state, private={}, samples=8, score=None)
    with pytest.raises(UserError, match="model/bad holds a NaN") as raised:
        keeping.finish()

    assert (ExitCode.USER_DATA, "NonFiniteLoss") == (raised.value.exit_code, raised.value.reason)
    assert [] == steps_in(tmp_path)


def test_the_state_may_change_as_soon_as_save_returns(tmp_path):
    keeping = saver(tmp_path, [])
    weight = torch.zeros(1000)

    keeping.save(1, state={"model": {"w": weight}}, private={"torch": torch.arange(3)}, samples=8, score=0.5)
    weight.fill_(7.0)
    keeping.finish()

    saved = load_file(shard_of(tmp_path, 1))
    assert 0.0 == float(saved["model/w"].abs().sum())
    assert [0, 1, 2] == saved["rank0/torch"].tolist()
    assert 0.5 == manifest.read(tmp_path / "step_1").score


def test_one_save_is_in_flight_at_most_so_the_next_one_waits(tmp_path, monkeypatch):
    heard = []
    keeping = saver(tmp_path, heard)
    write = keeping._writer.write
    monkeypatch.setattr(keeping._writer, "write", lambda *arguments: (time.sleep(0.1), write(*arguments))[1])
    weight = torch.full((3,), 1.0)

    for step in (1, 2):
        keeping.save(step, state={"model": {"w": weight}}, private={}, samples=8, score=None)
        weight.fill_(2.0)
    keeping.finish()

    assert [1, 2] == [verdict.step for verdict in heard]
    assert [1.0] * 3 == load_file(shard_of(tmp_path, 1))["model/w"].tolist()
    assert [2.0] * 3 == load_file(shard_of(tmp_path, 2))["model/w"].tolist()


def test_settle_gives_the_save_in_flight_its_time_and_no_more(tmp_path, monkeypatch):
    heard = []
    keeping = saver(tmp_path, heard)
    release = threading.Event()
    write = keeping._writer.write
    monkeypatch.setattr(keeping._writer, "write", lambda *arguments: (release.wait(5), write(*arguments))[1])
    keeping.save(1, state={"model": {"w": torch.ones(3)}}, private={}, samples=8, score=None)

    keeping.settle(0.01)
    assert [] == heard
    release.set()
    keeping.settle(5.0)

    assert [1] == [verdict.step for verdict in heard]
    assert [1] == steps_in(tmp_path)


def test_a_later_attempt_fences_an_earlier_one_before_its_rename(tmp_path):
    heard = []
    stale = saver(tmp_path, heard, attempt=0)
    ownership.acquire(tmp_path, owner(attempt=1))

    stale.save(10, state={"model": {"w": torch.ones(3)}}, private={}, samples=8, score=None)
    with pytest.raises(FencedError, match="attempt 1 owns"):
        stale.finish()

    assert [] == steps_in(tmp_path)
    assert () == layout.look(tmp_path).temporary


def test_an_earlier_attempt_is_refused_at_its_start(tmp_path):
    ownership.acquire(tmp_path, owner(attempt=3))

    with pytest.raises(FencedError) as raised:
        ownership.acquire(tmp_path, owner(attempt=2))

    assert ExitCode.FENCED == raised.value.exit_code


def test_the_same_attempt_may_come_back(tmp_path):
    ownership.acquire(tmp_path, owner(attempt=3))
    ownership.acquire(tmp_path, owner(attempt=3))
    ownership.acquire(tmp_path, owner(attempt=4))


def test_another_job_is_refused_and_told_whose_directory_it_is(tmp_path):
    ownership.acquire(tmp_path, owner())

    with pytest.raises(UserError, match="belongs to job team/digits") as raised:
        ownership.acquire(tmp_path, owner(job="other"))

    assert ("CheckpointDirInUse", ExitCode.BAD_CONFIG) == (raised.value.reason, raised.value.exit_code)


def test_a_successor_of_the_same_name_takes_over_and_its_predecessor_writes_no_more(tmp_path):
    old = writer(tmp_path, attempt=7)
    ownership.acquire(tmp_path, owner(attempt=0, job_uid="uid-2"))

    verdict = old.write(draft(10), memoryview(IMAGE), None)

    assert "Fenced" == verdict.reason
    assert [] == steps_in(tmp_path)


def test_a_new_attempt_sweeps_what_older_ones_left_half_written_and_nothing_of_a_later_one(tmp_path):
    commit(tmp_path, 5)
    for name in ("step_9.tmp-0", "step_9.tmp-1", "step_9.tmp-2", "step_4.removed", "notes"):
        (tmp_path / name).mkdir()

    layout.sweep(tmp_path, attempt=1)

    assert {"step_5", "step_9.tmp-2", "notes"} == {path.name for path in tmp_path.iterdir() if path.is_dir()}


@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        ({"keep_last": 1}, [6]),
        ({"keep_last": 2}, [5, 6]),
        ({"keep_last": 1, "keep_best": 1}, [2, 6]),
        ({"keep_last": 1, "keep_best": 2}, [2, 3, 6]),
        ({"keep_last": 1, "keep_every": 2}, [2, 4, 6]),
        ({"keep_last": 1, "keep_every": 5, "keep_best": 1}, [2, 5, 6]),
    ],
)
def test_retention_keeps_the_last_the_best_and_every_so_many_steps(tmp_path, policy, kept):
    scores = {1: 0.9, 2: 0.1, 3: 0.2, 4: None, 5: 0.4, 6: 0.5}
    for step, score in scores.items():
        verdict = writer(tmp_path, **policy).write(draft(step, score), memoryview(IMAGE), None)

    assert kept == steps_in(tmp_path)
    assert len(kept) == verdict.kept


def test_a_state_dict_with_an_object_is_refused_by_name():
    with pytest.raises(UserError, match="model/net/extra holds a object, which a checkpoint cannot") as raised:
        tree.flatten({"net": {"extra": object()}}, "model", {})

    assert "StateNotSaveable" == raised.value.reason


@pytest.mark.parametrize("size", [0, 1, durable.CHUNK_BYTES, 2 * durable.CHUNK_BYTES + 5])
def test_a_write_returns_the_hash_of_what_lies_there(tmp_path, size):
    data = random.Random(size).randbytes(size)

    digest = durable.write(tmp_path / "file", data)

    assert data == (tmp_path / "file").read_bytes()
    assert hashlib.sha256(data).hexdigest() == digest


def test_a_write_that_fails_has_let_go_of_its_data(tmp_path, monkeypatch):
    data = bytearray(3 * durable.CHUNK_BYTES)
    Disk(full_at=2).attach(monkeypatch)

    with pytest.raises(OSError, match="No space left"):
        durable.write(tmp_path / "file", memoryview(data))

    assert not [thread for thread in threading.enumerate() if thread.name == "hash"]
