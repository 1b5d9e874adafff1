"""`ganger wait --for checkpoint` and `exported`: what is there, and what could never come is told at once."""

import asyncio

import pytest

from ganger.cli import wait

CHECKPOINT = {"checkpoint": {"volume": {"size": "1Gi"}, "everySteps": 10}}


def test_a_checkpoint_of_a_step_or_a_later_one_is_waited_for(ganger):
    ganger.job(spec=CHECKPOINT, Running="Test", checkpoint={"latestStep": 10})

    async def scenario():
        await asyncio.sleep(0.02)
        ganger.job(spec=CHECKPOINT, Running="Test", checkpoint={"latestStep": 40})

    assert "digits has a checkpoint of step 10\n" == ganger("wait", "digits", "--for", "checkpoint").out
    ganger.scenario = scenario
    said = ganger("wait", "digits", "--for", "checkpoint=30", "--timeout", "20s")
    assert (0, "digits has a checkpoint of step 40\n") == (said.code, said.out)


def test_a_job_that_ended_without_it_is_a_failure(ganger):
    ganger.job(spec=CHECKPOINT, Complete="Test", checkpoint={"latestStep": 10})

    assert 1 == ganger("wait", "digits", "--for", "checkpoint=11").code
    assert 0 == ganger("wait", "digits", "--for", "checkpoint=10").code


def test_a_checkpoint_that_does_not_come_is_told_in_words(ganger):
    ganger.job(spec=CHECKPOINT, Running="Test")

    said = ganger("wait", "digits", "--for", "checkpoint=5", "--timeout", "1s")

    assert (4, "error: job digits is not saved at step 5 or later after 1 s") == (said.code, said.problem[0])


@pytest.mark.parametrize(
    "spec, why",
    [
        ({}, "it keeps none: spec.checkpoint is not set"),
        (CHECKPOINT | {"task": None, "script": ["x.py"]}, "a script or a command does not report its checkpoints"),
    ],
)
def test_a_checkpoint_that_nobody_will_tell_of_is_refused(ganger, spec, why):
    ganger.job(spec=spec, Running="Test")

    said = ganger("wait", "digits", "--for", "checkpoint")

    assert (2, f"  why: {why}") == (said.code, said.problem[1])


def test_a_goal_that_is_none_is_told_with_those_that_are(ganger):
    said = ganger("wait", "digits", "--for", "checkpoint=soon")

    assert 2 == said.code
    assert "is none of complete, running, failed, suspended, checkpoint, exported and checkpoint=STEP" in said.err


EXPORT = {"export": [{"format": "onnx", "path": "exports/a"}], **CHECKPOINT}
FILES = [{"format": "onnx", "path": "exports/a/model.onnx", "step": 40, "bytes": 2048, "sha256": "ab" * 32}]


def test_model_files_are_waited_for_beyond_the_training_and_told(ganger):
    ganger.job(spec=EXPORT, Running="Test", export={"number": 0})

    async def scenario():
        await asyncio.sleep(0.02)
        ganger.job(spec=EXPORT, Complete="Test", export={"number": 0}, artifacts=FILES)

    ganger.scenario = scenario

    said = ganger("wait", "digits", "--for", "exported", "--timeout", "20s")

    head, columns, row = said.out.splitlines()
    assert (0, "digits has its model files") == (said.code, head)
    assert ["FORMAT", "onnx", "exports/a/model.onnx"] == [columns.split()[0], row.split()[0], row.split()[-1]]


def test_a_job_whose_model_files_were_not_made_is_a_failure(ganger):
    ganger.job(spec=EXPORT, Failed="ExportFailed", export={"number": 0})

    assert 1 == ganger("wait", "digits", "--for", "exported").code


def test_model_files_of_a_job_that_makes_none_are_refused_with_the_way_to_some(ganger):
    ganger.job(Running="Test")

    said = ganger("wait", "digits", "--for", "exported")

    assert (2, "  why: spec.export is not set") == (said.code, said.problem[1])
    assert "'ganger export digits --format onnx' makes them" in said.problem[2]


def test_the_help_tells_every_goal_and_a_shell_completes_it(ganger):
    told = " ".join(ganger("wait", "--help").out.split())

    assert [] == [goal for goal in wait.GOALS if f"{goal}," not in told and f"{goal} or" not in told]
    found = wait.Goal().shell_complete(None, None, "e")
    assert ["exported"] == [item.value for item in found]
