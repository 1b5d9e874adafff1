"""`ganger set`: what it reads, writes and says, what it refuses and what it waits for."""

import asyncio
import json

import click
import pytest

from ganger.cli.setting import changes_of
from ganger.contract import ANNOTATION_CONTROL_CA

RUNNING = {"Running": "Test"}
SLOWER = {"liveConfig": {"lr": 0.0001}}


def written(**live):
    return f"patch {json.dumps({'spec': {'liveConfig': live}})} digits"


@pytest.mark.parametrize(
    "word, wanted",
    [
        ("lr=1e-4", {"lr": 0.0001}),
        ("lr=.5", {"lr": 0.5}),
        ("lr=5.", {"lr": 5.0}),
        ("clipNorm=2", {"clipNorm": 2}),
        ("lr=-1", {"lr": -1}),
        ("lr-", {"lr": None}),
        ("mode=fast", {"mode": "fast"}),
        ('mode="1"', {"mode": "1"}),
        ("mode=a=b-", {"mode": "a=b-"}),
        ("on=true", {"on": True}),
        ("betas=[0.9,0.99]", {"betas": [0.9, 0.99]}),
        ("lr=nan", {"lr": "nan"}),
    ],
)
def test_a_value_is_json_where_it_can_be(word, wanted):
    assert wanted == changes_of((word,))


@pytest.mark.parametrize(
    "words, why",
    [
        (("lr",), "'lr' is neither name=value nor name-"),
        (("learning rate=1",), "'learning rate' is no name of a setting"),
        (("-",), "'' is no name of a setting"),
        (("lr=",), "lr has no value: write lr=VALUE, or lr- to take it out"),
        (("lr=1", "lr-"), "lr is said twice"),
        (("lr=null",), "lr=null cannot be set"),
        (('lr={"a":1}',), "a value is a number, a word, true, false or a list"),
    ],
)
def test_what_is_no_change_is_told(words, why):
    with pytest.raises(click.UsageError, match=why.replace("(", r"\(")):
        changes_of(words)


def test_a_change_is_one_merge_patch_and_is_said_line_by_line(ganger):
    ganger.job(**RUNNING)

    said = ganger("set", "digits", "lr=1e-4", "clipNorm-")

    assert (0, [written(lr=0.0001, clipNorm=None)]) == (said.code, ganger.cluster.writes)
    assert "digits: lr=0.0001 requested\ndigits: clipNorm as in spec.config requested\n" == said.out
    assert "see since which: ganger status digits -n team" in said.err


def test_a_job_that_does_not_run_yet_or_is_suspended_has_it_from_its_start_on(ganger):
    ganger.job(spec={"suspend": True}, Suspended="Test")

    said = ganger("set", "digits", "lr=1e-4")

    assert (0, "it holds from the first step of its next start on\n") == (said.code, said.err)
    assert 1 == len(ganger.cluster.writes)
    assert (2, "  why: job digits is suspended") == _last(ganger("set", "digits", "lr=1e-4", "--wait"))


def _last(said):
    return said.code, said.problem[1]


@pytest.mark.parametrize(
    "spec, status, why",
    [
        ({}, {"Complete": "Test"}, "digits is complete"),
        ({"task": None, "script": ["train.py"]}, RUNNING, "nothing tells a script or a command of them"),
        ({"liveConfig": {"words": "x" * 2030}}, RUNNING, "spec.liveConfig may have 2048 bytes as JSON"),
    ],
)
def test_a_job_whose_settings_cannot_change_is_refused_and_nothing_is_written(ganger, spec, status, why):
    ganger.job(spec=spec, **status)

    said = ganger("set", "digits", "lr=0.00012345")

    assert ((2, f"  why: {why}"), []) == (_last(said), ganger.cluster.writes)
    assert "error: settings of job digits cannot change" == said.problem[0]


def test_workers_that_nobody_can_reach_have_it_from_their_next_start_on(ganger):
    ganger.job(**RUNNING)
    pod = ganger.pod(0)

    said = ganger("set", "digits", "lr=1e-4")

    assert 0 == said.code
    assert "it holds from the next start on: its workers were made without a control channel\n" == said.err
    assert (2, "  why: its workers were made without a control channel") == _last(
        ganger("set", "digits", "lr=1e-4", "--wait")
    )
    pod["metadata"]["annotations"] = {ANNOTATION_CONTROL_CA: "PEM"}
    ganger.cluster.put("pods", pod)
    assert "workers take it in" in ganger("set", "digits", "lr=1e-4").err


def live(value, step):
    return {"liveConfig": [{"name": "lr", "value": value, "appliedAtStep": step}]}


def refused(text):
    return {"conditions": [{"type": "LiveConfigRefused", "status": "True", "reason": "OutOfBounds", "message": text}]}


def test_waiting_ends_with_the_step_from_which_it_holds(ganger):
    ganger.job(**RUNNING)

    async def scenario():
        # Of the value before: news of the status, but not what was asked for.
        for said in (live("0.1", 7), live("0.0001", 41)):
            await asyncio.sleep(0.02)
            ganger.job(spec=SLOWER, **RUNNING, **said)

    ganger.scenario = scenario

    said = ganger("set", "digits", "lr=1e-4", "--wait")

    assert (0, "digits: lr=0.0001 holds from step 41 on") == (said.code, said.out.splitlines()[-1])


def test_waiting_for_the_value_of_the_config_ends_when_the_status_has_no_other(ganger):
    ganger.job(spec=SLOWER, **RUNNING, **live("0.0001", 41))

    async def scenario():
        await asyncio.sleep(0.02)
        ganger.job(spec={"liveConfig": {}}, **RUNNING)

    ganger.scenario = scenario

    said = ganger("set", "digits", "lr-", "--wait")

    assert (0, "digits: lr is as in spec.config") == (said.code, said.out.splitlines()[-1])


@pytest.mark.parametrize(
    "then, code, what",
    [
        ({"spec": SLOWER, "Failed": "Test"}, 1, "error: job digits ended before it was said"),
        ({"spec": {"liveConfig": {"lr": 1}}, "Running": "Test"}, 1, "error: somebody else changed the settings"),
        (None, 3, "error: job digits was deleted before it was said"),
    ],
)
def test_waiting_ends_with_the_job(ganger, then, code, what):
    ganger.job(**RUNNING)

    async def scenario():
        await asyncio.sleep(0.02)
        ganger.job(spec=SLOWER, **RUNNING)
        await asyncio.sleep(0.02)
        if then is None:
            ganger.cluster.take("trainingjobs", "digits")
        else:
            ganger.job(**then)

    ganger.scenario = scenario

    said = ganger("set", "digits", "lr=1e-4", "--wait")

    assert code == said.code
    assert said.problem[0].startswith(what)


def test_waiting_has_an_end(ganger):
    ganger.job(**RUNNING)

    said = ganger("set", "digits", "lr=1e-4", "--wait", "--timeout", "0s")

    assert (4, "error: job digits does not train with it after 0 s") == (said.code, said.problem[0])
    assert 2 == ganger("set", "digits", "lr=1e-4", "--timeout", "1s").code
    assert 3 == ganger("set", "nothing", "lr=1e-4").code


def test_waiting_ends_with_the_words_of_a_refusal_of_this_very_value(ganger):
    ganger.job(**RUNNING)

    async def scenario():
        for value, text in (("1e3", "lr=1000.0: of before"), ("1e-4", "lr=0.0001: lr must be >= 0.01")):
            await asyncio.sleep(0.02)
            ganger.job(spec=SLOWER, **RUNNING, conditions=refused(text)["conditions"], message=value)

    ganger.scenario = scenario

    said = ganger("set", "digits", "lr=1e-4", "--wait")

    assert (1, "error: job digits does not take it; it trains on as before") == (said.code, said.problem[0])
    assert "  why: lr=0.0001: lr must be >= 0.01" == said.problem[1]
    assert "  fix: set another value, or take it out: ganger set digits lr-" == said.problem[2]
