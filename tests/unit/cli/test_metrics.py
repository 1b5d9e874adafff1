"""`ganger metrics`: what was reported last, for people, for scripts, and as it comes."""

import asyncio
import json

import pytest

from builders import at, job
from ganger.cli.metrics import values

PROGRESS = {
    "step": 50,
    "totalSteps": 200,
    "epoch": 1,
    "loss": "0.5",
    "samplesPerSecond": 1234.5,
    "metrics": [{"name": "accuracy", "value": 0.91234}],
    "updatedTime": at(57).isoformat(),
    "etaTime": at(180).isoformat(),
}


def test_people_read_names_and_values(ganger):
    ganger.job(Running="Test", progress=PROGRESS, goodput={"ratio": 0.75})

    said = ganger("metrics", "digits")

    assert (0, "") == (said.code, said.err)
    assert [
        "NAME VALUE",
        "step 50/200",
        "epoch 1",
        "loss 0.5",
        "samples/s 1234",
        "goodput 75%",
        "done in 2 min",
        "accuracy 0.9123",
        "reported 3s ago",
    ] == [" ".join(line.split()) for line in said.out.splitlines()]


def test_scripts_read_numbers(ganger):
    ganger.job(Running="Test", progress=PROGRESS)

    assert {
        "time": at(57).isoformat(),
        "step": 50,
        "totalSteps": 200,
        "epoch": 1,
        "loss": 0.5,
        "samplesPerSecond": 1234.5,
        "etaTime": at(180).isoformat(),
        "metrics": {"accuracy": 0.91234},
    } == json.loads(ganger("metrics", "digits", "-o", "json").out)


def test_a_job_that_has_said_nothing_yet_is_told_so(ganger):
    ganger.job()

    assert (0, "", "digits has reported nothing yet; 'ganger status digits' tells what it does\n") == (
        (said := ganger("metrics", "digits")).code,
        said.out,
        said.err,
    )
    assert {} == json.loads(ganger("metrics", "digits", "-o", "json").out)


@pytest.mark.parametrize("text, number", [("nan", "nan"), ("inf", "inf"), ("1e-3", 0.001), ("?", "?")])
def test_a_loss_that_json_cannot_say_stays_text(ganger, text, number):
    ganger.job(progress=PROGRESS | {"loss": text})

    assert number == json.loads(ganger("metrics", "digits", "-o", "json").out)["loss"]


@pytest.mark.parametrize("end, code", [("Complete", 0), ("Failed", 1)])
def test_each_report_is_a_line_until_the_job_ends(ganger, end, code):
    ganger.job(Running="Test", progress={"step": 1, "loss": "2"})

    async def scenario():
        for step in (2, 3):
            await asyncio.sleep(0.02)
            ganger.job(Running="Test", progress={"step": step, "loss": "2"})
            await asyncio.sleep(0.02)
            ganger.job(Running="Test", progress={"step": step, "loss": "2"}, message="nothing new of the training")
        await asyncio.sleep(0.02)
        ganger.job(**{end: "Test"}, progress={"step": 3, "loss": "2"})

    ganger.scenario = scenario

    said = ganger("metrics", "digits", "--watch", "-o", "json")

    assert (code, [1, 2, 3]) == (said.code, [json.loads(line)["step"] for line in said.out.splitlines()])


def test_lines_for_people_have_the_own_metrics_in_them_and_nothing_that_a_terminal_obeys(ganger):
    own = [{"name": "a\x1b[2J", "value": 1.0}]
    ganger.job(Complete="Test", progress={"step": 1, "metrics": own})

    assert "step=1 a\\x1b[2J=1.0\n" == ganger("metrics", "digits", "-w").out


def test_a_job_that_is_not_there_is_told(ganger):
    assert 3 == ganger("metrics", "digits").code
    assert 3 == ganger("metrics", "digits", "-w").code


def test_values_of_no_progress_are_none():
    assert {} == values(job())
