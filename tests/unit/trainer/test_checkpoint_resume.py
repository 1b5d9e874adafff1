"""Coming back: the newest checkpoint that can be proved whole, or a clear refusal."""

import pytest
import torch

from ganger.contract import ExitCode
from ganger_trainer.checkpoint import layout, loader, manifest
from ganger_trainer.environment import CheckpointPolicy
from ganger_trainer.failures import UserError
from unit.trainer.kit import ALONE, commit, shard_of, steps_in


def choose(directory, told=None, ranks=ALONE, **policy):
    chosen = loader.choose(directory, CheckpointPolicy(**policy), ranks, (told if told is not None else []).append)
    return None if chosen is None else chosen.step


def flip(path, position=100):
    raw = bytearray(path.read_bytes())
    raw[position] ^= 1
    path.write_bytes(raw)


def test_the_newest_checkpoint_is_chosen_by_step_and_not_by_time_or_spelling(tmp_path):
    commit(tmp_path, 9, 100, 20)

    assert 100 == choose(tmp_path)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (flip, "rank-00000.safetensors does not match its SHA-256"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "rank-00000.safetensors has 4079 bytes"),
        (lambda path: path.write_bytes(b""), "rank-00000.safetensors has 0 bytes"),
        (lambda path: path.unlink(), "rank-00000.safetensors cannot be read"),
        (
            lambda path: (path.rename(path.with_name("x")), path.symlink_to("x")),
            "rank-00000.safetensors cannot be read: Too many levels of symbolic links",
        ),
        (lambda path: flip(path.with_name(layout.MANIFEST)), "manifest.json does not match its own SHA-256"),
        (lambda path: path.with_name(layout.MANIFEST).unlink(), "manifest.json cannot be read"),
    ],
    ids=["bit flipped", "torn", "empty", "missing", "a link", "manifest flipped", "manifest missing"],
)
def test_a_damaged_checkpoint_is_quarantined_in_words_and_the_one_before_it_is_used(tmp_path, damage, complaint):
    commit(tmp_path, 10, 20)
    damage(shard_of(tmp_path, 20))
    told = []

    assert 10 == choose(tmp_path, told)
    assert [10] == steps_in(tmp_path)
    assert ("step_20.corrupt",) == layout.look(tmp_path).corrupt
    assert f"checkpoint of step 20 is not valid ({complaint}" in told[0]
    assert 1 == len(told)


def test_a_quarantined_checkpoint_keeps_its_name_when_the_same_step_is_damaged_again(tmp_path):
    for _ in range(3):
        commit(tmp_path, 20)
        flip(shard_of(tmp_path, 20))
        choose(tmp_path, on_no_valid_checkpoint="Restart")

    assert {"step_20.corrupt", "step_20.corrupt-1", "step_20.corrupt-2"} == set(layout.look(tmp_path).corrupt)


def test_a_checkpoint_of_another_format_is_not_loaded(tmp_path):
    commit(tmp_path, 20)
    whole = manifest.read(tmp_path / "step_20")
    changed = manifest.Manifest(**{name: getattr(whole, name) for name in whole.__struct_fields__} | {"format": "x/9"})
    (tmp_path / "step_20" / layout.MANIFEST).write_bytes(manifest.encode(changed))
    told = []

    assert choose(tmp_path, told, on_no_valid_checkpoint="Restart") is None
    assert "format 'x/9' is unknown" in told[0]


def test_a_checkpoint_under_another_step_is_not_loaded(tmp_path):
    commit(tmp_path, 20)
    (tmp_path / "step_20").rename(tmp_path / "step_30")

    assert choose(tmp_path, on_no_valid_checkpoint="Restart") is None


def test_no_valid_checkpoint_fails_the_job_by_default_and_says_what_to_do(tmp_path):
    commit(tmp_path, 10)
    flip(shard_of(tmp_path, 10))

    for _ in range(2):  # the second attempt finds it quarantined, which is no reason to begin anew
        with pytest.raises(UserError, match=r"1 checkpoints and none is valid.*onNoValidCheckpoint: Restart") as raised:
            choose(tmp_path)
        assert (ExitCode.USER_DATA, "NoValidCheckpoint") == (raised.value.exit_code, raised.value.reason)


def test_no_valid_checkpoint_begins_anew_where_the_policy_says_restart(tmp_path):
    commit(tmp_path, 10)
    flip(shard_of(tmp_path, 10))

    assert choose(tmp_path, on_no_valid_checkpoint="Restart") is None


def test_auto_begins_anew_where_there_never_was_a_checkpoint(tmp_path):
    assert choose(tmp_path) is None


def test_never_ignores_what_is_there(tmp_path):
    commit(tmp_path, 10)

    assert choose(tmp_path, resume="Never") is None
    assert [10] == steps_in(tmp_path)


def test_required_fails_where_there_is_none_and_resumes_where_there_is_one(tmp_path):
    with pytest.raises(UserError, match="resume is Required") as raised:
        choose(tmp_path, resume="Required")
    commit(tmp_path, 10)

    assert (ExitCode.USER_INPUT_MISSING, "CheckpointMissing") == (raised.value.exit_code, raised.value.reason)
    assert 10 == choose(tmp_path, resume="Required")


def test_a_volume_that_cannot_be_written_still_falls_back_past_a_damaged_checkpoint(tmp_path, monkeypatch):
    commit(tmp_path, 10, 20)
    flip(shard_of(tmp_path, 20))

    def refuse(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(layout, "quarantine", refuse)
    told = []

    assert 10 == choose(tmp_path, told)
    assert "Read-only file system" in told[0]


class Dissenter:
    """Rank 0 of two whose peer cannot verify the first candidate it is asked about."""

    is_first, rank, world_size = True, 0, 2

    def __init__(self):
        self.asked = 0

    def from_first(self, value):
        return value

    def agree(self, ok):
        self.asked += 1
        return ok and self.asked > 1


def test_one_rank_that_cannot_verify_a_checkpoint_moves_all_to_the_one_before(tmp_path):
    commit(tmp_path, 10, 20)
    told = []

    assert 10 == choose(tmp_path, told, ranks=Dissenter())
    assert "another rank could not verify it" in told[0]


def test_a_checkpoint_of_another_model_names_the_first_differences():
    saved = {"a.weight": torch.zeros(2, 3), "gone": torch.zeros(1), "same": torch.zeros(4)}
    wanted = {"a.weight": torch.zeros(2, 4), "new": torch.zeros(1), "same": torch.zeros(4)}

    assert [
        "a.weight is 2x3 in the checkpoint, 2x4 in the model",
        "new is missing in the checkpoint",
        "gone is unknown to the model",
    ] == loader.mismatches(saved, wanted)
