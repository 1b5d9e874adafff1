"""`client.export`: the files that were made, what it raises where they were not, and what it refuses."""

import pytest

from ganger import Code, Problem
from unit.cli.test_export import FILE, OWN, SAVED, ends, made, options


def test_the_files_of_a_checkpoint_are_made_and_returned(client, ganger):
    ganger.job(spec=OWN, Running="Test", **SAVED)
    ends(ganger, said={"outcome": "Done", "artifacts": [FILE]}, reason="AllWorkersSucceeded", message="")

    (file,) = client.export("digits", "onnx", step=40, seconds=20)

    assert ("onnx", 40, FILE["sha256"]) == (file.format, file.step, file.sha256)
    assert '"step":40' in options(made(ganger))["--exports"]


def test_a_file_that_was_not_made_is_a_problem_with_its_cause(client, ganger):
    ganger.job(spec=OWN, Running="Test", **SAVED)
    ends(ganger, code=3, reason="UserError", message="worker 0: ParityError: differs by 0.3")

    with pytest.raises(Problem, match=r"-export-.* failed") as caught:
        client.export("digits", ["onnx", "safetensors"], seconds=20)

    assert Code.FAILED == caught.value.code
    assert "ParityError" in caught.value.why


def test_a_wait_that_is_over_tells_what_goes_on(client, ganger):
    ganger.job(spec=OWN, Running="Test", **SAVED)

    with pytest.raises(Problem, match="it goes on: wait") as caught:
        client.export("digits", "onnx", seconds=0.05)

    assert Code.TIMEOUT == caught.value.code


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"formats": "onxx"}, "formats: 'onxx' is not allowed; it is one or several of onnx"),
        ({"formats": ()}, "formats: "),
        ({"formats": "onnx", "step": 1, "best": True}, "step names a checkpoint and best another one"),
        ({"formats": "safetensors", "opset": 18}, "opset is for the format onnx alone"),
        ({"formats": "onnx", "opset": 3}, "it is from 7 to 64"),
        ({"formats": "onnx", "tolerance": 2}, "more than 0 and at most 1"),
        ({"formats": "onnx", "to": "/x"}, "names no claim"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is_sent(client, ganger, arguments, text):
    with pytest.raises(Problem, match=text) as caught:
        client.export("digits", **arguments)

    assert (Code.USAGE, []) == (caught.value.code, ganger.cluster.writes)


def test_a_job_without_a_checkpoint_has_nothing_to_export(client, ganger):
    ganger.job(spec=OWN)

    with pytest.raises(Problem, match="it has no checkpoint yet"):
        client.export("digits", "onnx")
