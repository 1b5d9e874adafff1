"""Live settings with real supervisors: an answer of the operator changes lr on both ranks after one agreed step."""

import json
import re
import shutil
import time

import pytest

from ganger.contract import RESTART_CONTAINER_EXIT_CODE
from operator_end import OperatorEnd

from .test_gang import assert_equal_bits, state

pytestmark = pytest.mark.integration

STEPS = 260
CONFIG = {"steps": STEPS, "lr": 0.01}
SLOW = {"stepSleep": 0.02}  # for an answer to come in mid-run
NEVER = {"everySteps": 100_000}
SLOWER = {"lr": 0.002}
# What the kubelet does with restartPolicyRules: the container starts anew as long as it ends with that code.
KUBELET = ("sh", "-c", f'while :; do "$@"; c=$?; [ $c = {RESTART_CONTAINER_EXIT_CODE} ] || exit $c; done', "sh")


@pytest.fixture
def operator(tmp_path):
    end = OperatorEnd(tmp_path).start()
    end.answer = {"nextReportSeconds": 1.0, "live": {}}
    yield end
    end.stop()


def in_force(operator, worker):
    """Name, value and first step of each live setting, as the worker said last."""
    live = operator.of(worker)[-1].get("live", {"values": []}) if operator.of(worker) else {"values": []}
    return [(value["name"], value["value"], value["step"]) for value in live["values"]]


def wait_until(true, gang, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, gang.log(0)
        time.sleep(0.02)


def changed(operator, gang, wanted):
    """Answer with the wish, and return the step from which both workers say that it holds."""
    operator.answer = {"nextReportSeconds": 1.0, "live": wanted}
    names = sorted(wanted)
    wait_until(
        lambda: all(names == [name for name, _, _ in in_force(operator, worker)] for worker in (0, 1)),
        gang,
    )
    first, second = in_force(operator, 0), in_force(operator, 1)
    assert first == second
    return first[0][2]


def rates(gang):
    """The logged rate by step."""
    return {int(step): float(rate) for step, rate in re.findall(r"^step (\d+)/.* lr (\S+) ", gang.log(0), re.MULTILINE)}


def test_a_new_rate_holds_on_both_ranks_from_one_step_on_and_the_bits_are_those_of_a_run_that_had_it(gangs, operator):
    gang = gangs("changed", config=CONFIG | SLOW, environ=operator.environ, checkpoint=NEVER)
    gang.start().wait_for("step 2")

    first = changed(operator, gang, SLOWER)
    ending = gang.end()

    assert [0, 0] == ending.codes, ending.logs
    assert 1 == ending.logs[0].count("training begins"), "no process was started anew"
    assert f"live settings from step {first} on: lr=0.002" in ending.logs[0]
    assert 3 < first < STEPS
    assert all(
        (0.002 < rate <= 0.01) if step <= first else (rate <= 0.002) for step, rate in rates(gang).items() if step < 130
    )
    # The same change at the same step: a run with the old value up to there, and one with the new that goes on from it.
    other = gangs("other", config=CONFIG, checkpoint={"everySteps": first - 1, "keepLast": 1000})
    assert [0, 0] == other.run().codes
    for entry in (other.directory / "checkpoints").glob("step_*"):
        if entry.name != f"step_{first - 1}":
            shutil.rmtree(entry)
    environ = {"GANGER_LIVE_CONFIG": json.dumps(SLOWER)}
    resumed = gangs("other", config=CONFIG, checkpoint=NEVER, attempt=1, environ=environ)
    ending = resumed.run()
    assert [0, 0] == ending.codes, ending.logs
    assert f"resumed from step {first - 1} " in ending.logs[0]
    assert_equal_bits(state(resumed, STEPS), state(gang, STEPS))
    assert resumed.shards(STEPS) == gang.shards(STEPS)


@pytest.mark.parametrize("rung", ["Process", "Container"])
def test_a_killed_rank_comes_back_with_the_value_though_nobody_says_it_again(gangs, operator, tmp_path, rung):
    operator.rungs = [rung]
    (tmp_path / "tmp").mkdir()
    environ = operator.environ | {"TMPDIR": str(tmp_path / "tmp")}
    gang = gangs(config=CONFIG | SLOW, environ=environ, prefix=KUBELET)
    gang.start(killAt=220, killRank=1).wait_for("step 2")

    first = changed(operator, gang, SLOWER)
    operator.answer = {"nextReportSeconds": 1.0}
    ending = gang.end()

    assert [0, 0] == ending.codes, ending.logs
    assert 1 == operator.of(0)[-1]["round"]
    assert [[("lr", "0.002", first)]] * 2 == [in_force(operator, worker) for worker in (0, 1)]
    assert all(rate < 0.002 for step, rate in rates(gang).items() if step > 215)


def test_a_name_that_is_taken_out_goes_back_to_the_value_of_the_config(gangs, operator):
    gang = gangs(config=CONFIG | {"steps": 100_000} | SLOW, environ=operator.environ, checkpoint=NEVER)
    gang.start().wait_for("step 2")
    changed(operator, gang, SLOWER)

    operator.answer = {"nextReportSeconds": 1.0, "live": {}}
    wait_until(lambda: [[], []] == [in_force(operator, worker) for worker in (0, 1)], gang)
    step = operator.of(0)[-1]["live"]["step"]
    wait_until(lambda: max(rates(gang), default=0) > step, gang)

    assert step == operator.of(1)[-1]["live"]["step"]
    assert 0.01 == rates(gang)[max(rates(gang))]


def test_what_is_out_of_bounds_or_unknown_is_refused_with_the_words_and_training_goes_on(gangs, operator):
    gang = gangs(config=CONFIG | SLOW, environ=operator.environ, checkpoint=NEVER)
    gang.start().wait_for("step 2")

    operator.answer = {"nextReportSeconds": 1.0, "live": {"lr": -1, "width": 3}}
    wait_until(
        lambda: all(operator.of(worker)[-1].get("live", {}).get("refused") for worker in (0, 1)),
        gang,
    )
    refused = operator.of(0)[-1]["live"]["refused"]
    ending = gang.end()

    assert [0, 0] == ending.codes, ending.logs
    assert [
        {"name": "lr", "value": "-1", "reason": "OutOfBounds", "message": "lr must be > 0"},
        {
            "name": "width",
            "value": "3",
            "reason": "NotLive",
            "message": "this task does not take it while it trains; live are lr (> 0), clipNorm (> 0)",
        },
    ] == refused
    assert [] == in_force(operator, 0)
    assert "live setting lr=-1 is refused: lr must be > 0" in ending.logs[0]
