"""`ganger wait --for checkpoint`: any, or one of a step; and what could never come is told at once."""

import asyncio

import pytest

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
    assert "is none of complete, running, failed, suspended, checkpoint and checkpoint=STEP" in said.err
