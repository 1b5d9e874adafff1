"""`ganger request`: what it writes, what it says, what it refuses and what it waits for."""

import asyncio
import json

import pytest

from builders import at
from ganger.contract import ANNOTATION_CHECKPOINT, ANNOTATION_CONTROL_CA, ANNOTATION_STACKS

CHECKPOINT = {"checkpoint": {"volume": {"size": "1Gi"}, "everySteps": 10}}


def written(annotation: str, time: str) -> str:
    return f"patch {json.dumps({'metadata': {'annotations': {annotation: time}}})} digits"


def test_a_checkpoint_is_asked_for_by_the_clock_of_the_server(ganger):
    ganger.job(spec=CHECKPOINT, Running="Test")
    ganger.cluster.offset_seconds = 7.9

    said = ganger("request", "digits", "checkpoint")

    assert (0, "digits: checkpoint requested\n") == (said.code, said.out)
    assert [written(ANNOTATION_CHECKPOINT, "2026-01-01T12:01:07Z")] == ganger.cluster.writes
    assert (
        "worker 0 saves at the next agreed step; watch status.checkpoint.latestStep: ganger watch digits -n team\n"
        == said.err
    )


def test_stacks_are_asked_for_and_found_in_the_log(ganger):
    ganger.job(spec={"task": None, "script": ["train.py"]}, Running="Test")

    said = ganger("request", "digits", "stacks")

    assert [written(ANNOTATION_STACKS, "2026-01-01T12:01:00Z")] == ganger.cluster.writes
    assert "every worker writes the stacks of its processes to its log: ganger logs -f digits -n team\n" == said.err


@pytest.mark.parametrize(
    "spec, status, why",
    [
        (CHECKPOINT, {"message": "no node fits"}, "digits waits: no node fits (60s)"),
        (
            CHECKPOINT | {"suspend": True},
            {"Running": "Test"},
            "digits stops: it checkpoints and gives its workers back",
        ),
        (CHECKPOINT, {"Complete": "Test"}, "digits is complete"),
        ({}, {"Running": "Test"}, "it keeps no checkpoints: spec.checkpoint is not set"),
        (
            CHECKPOINT | {"task": None, "command": ["x"]},
            {"Running": "Test"},
            "spec.command runs without the supervisor that would hear it",
        ),
    ],
)
def test_a_job_that_cannot_save_is_refused_and_nothing_is_written(ganger, spec, status, why):
    ganger.job(spec=spec, **status)

    said = ganger("request", "digits", "checkpoint")

    assert (2, []) == (said.code, ganger.cluster.writes)
    assert ["error: job digits cannot be asked for a checkpoint", f"  why: {why}"] == said.problem[:2]
    assert 3 == len(said.problem)


def test_workers_that_nobody_can_reach_are_not_asked(ganger):
    ganger.job(spec=CHECKPOINT, Running="Test")
    pod = ganger.pod(0)

    said = ganger("request", "digits", "checkpoint")

    assert (2, []) == (said.code, ganger.cluster.writes)
    assert "  why: its workers were made without a control channel" == said.problem[1]

    pod["metadata"]["annotations"] = {ANNOTATION_CONTROL_CA: "PEM"}
    ganger.cluster.put("pods", pod)
    assert 0 == ganger("request", "digits", "checkpoint").code


def test_waiting_ends_with_a_checkpoint_that_is_newer_than_the_request(ganger):
    ganger.job(spec=CHECKPOINT, Running="Test", checkpoint={"latestStep": 1, "latestTime": at(10).isoformat()})
    told = []

    async def scenario():
        # The one before the request is news to the status, but not what was asked for.
        for step, time in ((2, 59), (3, 61)):
            await asyncio.sleep(0.02)
            told.append(step)
            point = {"latestStep": step, "latestTime": at(time).isoformat(), "bytes": 2048}
            ganger.job(spec=CHECKPOINT, Running="Test", checkpoint=point)

    ganger.scenario = scenario

    said = ganger("request", "digits", "checkpoint", "--wait")

    assert (0, [2, 3]) == (said.code, told)
    assert "digits: checkpoint of step 3 committed, 2.0 KiB" == said.out.splitlines()[-1]


@pytest.mark.parametrize(
    "end, code, what",
    [
        ({"Failed": "Test"}, 1, "error: job digits stopped before it saved"),
        ({"Running": "Test", "attempt": 1}, 1, "error: job digits stopped before it saved"),
        ({"Suspended": "Test"}, 1, "error: job digits stopped before it saved"),
        (None, 3, "error: job digits was deleted before it saved"),
    ],
)
def test_waiting_ends_when_the_workers_do(ganger, end, code, what):
    ganger.job(spec=CHECKPOINT, Running="Test")

    async def scenario():
        await asyncio.sleep(0.02)
        if end is None:
            ganger.cluster.take("trainingjobs", "digits")
        else:
            ganger.job(spec=CHECKPOINT, **end)

    ganger.scenario = scenario

    said = ganger("request", "digits", "checkpoint", "--wait")

    assert (code, what) == (said.code, said.problem[0])


def test_a_script_is_asked_but_nobody_waits_for_what_it_does_not_report(ganger):
    ganger.job(spec={"task": None, "script": ["train.py"]}, Running="Test")

    said = ganger("request", "digits", "checkpoint", "--wait")
    assert (2, "  why: a script does not report its checkpoints") == (said.code, said.problem[1])
    assert [] == ganger.cluster.writes

    said = ganger("request", "digits", "checkpoint")
    assert [written(ANNOTATION_CHECKPOINT, "2026-01-01T12:01:00Z")] == ganger.cluster.writes
    assert "the script saves where it asks ganger_trainer.should_save(); its log tells" in said.err


def test_waiting_has_an_end_and_options_that_make_no_sense_are_told(ganger):
    ganger.job(spec=CHECKPOINT, Running="Test")

    said = ganger("request", "digits", "checkpoint", "--wait", "--timeout", "0s")
    assert (4, "error: job digits has no new checkpoint after 0 s") == (said.code, said.problem[0])

    said = ganger("request", "digits", "stacks", "--wait")
    assert (2, "error: --wait waits for a checkpoint: stacks are in the log") == (said.code, said.problem[0])
    assert 2 == ganger("request", "digits", "checkpoint", "--timeout", "1s").code
    assert 3 == ganger("request", "nothing", "stacks").code
