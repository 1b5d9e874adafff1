"""When two computations are the same, and a folder that is complete or not there at all."""

import math

import pytest
import torch

from ganger_trainer.export.folder import Folder
from ganger_trainer.export.parity import compare

NAN, INF = math.nan, math.inf


def difference(got, wanted):
    return compare([[torch.tensor(got)]], [[torch.tensor(wanted)]], ["y"])


@pytest.mark.parametrize(
    ("got", "wanted", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([1.0, 2.5], [1.0, 2.0], 0.5),
        ([NAN, INF, -INF], [NAN, INF, -INF], 0.0),
        ([NAN, 1.0], [0.0, 1.0], INF),
        ([0.0, 1.0], [NAN, 1.0], INF),
        ([INF], [-INF], INF),
        ([INF], [1.0], INF),
        ([1, 5], [1, 2], 3.0),
        ([True], [False], 1.0),
        ([1.0], [1.0, 1.0], INF),
        ([1], [1.0], INF),
    ],
)
def test_how_far_two_outputs_are_apart(got, wanted, expected):
    assert expected == difference(got, wanted).max_abs_diff


def test_the_worst_of_all_batches_is_named_and_argmax_is_counted_over_all():
    wanted = [[torch.tensor([[0.0, 1.0], [1.0, 0.0]])], [torch.tensor([[0.0, 1.0], [0.0, 1.0]])]]
    got = [[torch.tensor([[0.0, 1.0], [1.0, 0.25]])], [torch.tensor([[0.0, 1.0], [0.0, -1.0]])]]

    found = compare(got, wanted, ["logits"])

    assert (2.0, " in output logits of batch 1", 0.75) == (found.max_abs_diff, found.place, found.argmax_agreement)
    assert "1 outputs, not 2" in compare([[got[0][0]]], [[got[0][0]] * 2], ["a", "b"]).place


@pytest.mark.parametrize("complete", [True, False])
def test_a_try_that_ended_between_the_two_renames_loses_no_export(tmp_path, complete):
    folder = Folder(tmp_path / "exports/onnx", attempt=1)
    folder.begin()
    (folder.part / "model.onnx").write_bytes(b"new")
    old = folder.target.with_name("onnx.old")
    old.mkdir()
    (old / "model.onnx").write_bytes(b"old")
    if complete:
        folder.part.rename(folder.target)

    Folder(folder.target, attempt=2).begin()

    assert ["onnx", "onnx.part-2"] == sorted(path.name for path in folder.target.parent.iterdir())
    assert (b"new" if complete else b"old") == (folder.target / "model.onnx").read_bytes()


def test_a_try_clears_what_earlier_ones_left_and_nothing_of_a_later_one(tmp_path):
    later = Folder(tmp_path / "onnx", attempt=3).begin()

    Folder(tmp_path / "onnx", attempt=1).begin()
    mine = Folder(tmp_path / "onnx", attempt=2).begin()

    assert [mine, later] == sorted(tmp_path.iterdir())
