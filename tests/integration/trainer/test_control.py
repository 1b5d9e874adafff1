"""Real supervisors and a real HTTPS operator: reports, directives, last lines, and runs that nobody listens to."""

import json
import re
import time

import pytest

from ganger.contract import REPORT_PHASES, ExitCode
from operator_end import OperatorEnd, authority
from unit.trainer.kit import steps_in

pytestmark = pytest.mark.integration

SLOW = {"steps": 100000, "stepSleep": 0.01}
NEVER = {"everySteps": 100000}


@pytest.fixture
def operator(tmp_path):
    end = OperatorEnd(tmp_path).start()
    yield end
    end.stop()


def wait_until(true, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_gang_reports_its_phases_in_order_with_an_account_that_adds_up(gangs, operator):
    gang = gangs(config={"steps": 150, "stepSleep": 0.02}, environ=operator.environ, checkpoint={"everySteps": 60})
    began = time.monotonic()

    ending = gang.run()

    assert [0, 0] == ending.codes
    for worker in (0, 1):
        reports = operator.of(worker)
        sequences = [report["sequence"] for report in reports]
        assert sorted(set(sequences)) == sequences
        order = [REPORT_PHASES.index(report["phase"]) for report in reports if report["phase"] != "Checkpointing"]
        assert sorted(order) == order
        assert {"Training", "Stopping"} <= {report["phase"] for report in reports}
        last = reports[-1]
        assert ("Stopping", 150, 150) == (last["phase"], last["step"], last["totalSteps"])
        accounts = [sum(report["seconds"].values()) for report in reports]
        arrivals = [at for at, report in zip(operator.arrivals, operator.reports, strict=True) if report in reports]
        assert sorted(accounts) == accounts
        assert all(0 < account < at - began for account, at in zip(accounts, arrivals, strict=True))
        # At the end all of it is there: a machine that is busy delays an arrival, by less than the run lasts.
        assert accounts[-1] - accounts[0] > (arrivals[-1] - arrivals[0]) / 2
        assert last["seconds"]["productive"] > 150 * 0.02
        steps = [report["step"] for report in reports if "step" in report]
        assert sorted(steps) == steps
    assert 150 == operator.of(0)[-1]["checkpoint"]["step"]


def test_a_checkpoint_that_was_asked_for_is_committed_by_both_pods_at_one_step(gangs, operator):
    gang = gangs(config=SLOW, environ=operator.environ, checkpoint=NEVER)
    gang.start().wait_for("step 2")

    operator.directives = [{"id": "c1", "kind": "Checkpoint"}]
    gang.wait_for("committed")
    wait_until(lambda: all(operator.of(worker)[-1].get("done") == ["c1"] for worker in (0, 1)))
    wait_until(lambda: "checkpoint" in operator.of(0)[-1])

    (step,) = steps_in(gang.directory / "checkpoints")
    assert step == operator.of(0)[-1]["checkpoint"]["step"]
    assert 2 == len(gang.shards(step))


def test_stacks_of_both_ranks_of_a_pod_are_in_its_log_and_it_trains_on(gangs, operator):
    gang = gangs(workers=1, config=SLOW, environ=operator.environ | {"GANGER_PROCESSES_PER_WORKER": "2"})
    gang.start().wait_for("step 2")

    operator.directives = [{"id": "s1", "kind": "DumpStacks"}]
    in_loop = re.compile(r'loop\.py", line \d+ in train\n')
    wait_until(lambda: len(in_loop.findall(gang.log(0))) >= 2)
    step = operator.of(0)[-1]["step"]
    wait_until(lambda: operator.of(0)[-1].get("done") == ["s1"] and operator.of(0)[-1]["step"] > step)

    log = gang.log(0)
    assert ["0", "1"] == sorted(re.findall(r"stacks of rank (\d) \(process \d+\):", log))
    assert 2 == len(in_loop.findall(log))
    assert gang.pods[0].poll() is None


SCRIPT = """
import time
import ganger_trainer
for step in range(1, 100000):
    ganger_trainer.report(step=step)
    if ganger_trainer.should_save():
        print("saved at", step, flush=True)
    time.sleep(0.01)
"""


def test_a_script_saves_once_when_it_is_asked_and_shows_its_stacks(gangs, operator):
    gang = gangs(workers=1, task=None)
    (gang.directory / "train.py").write_text(SCRIPT)
    gang.environ = operator.environ | {"GANGER_SCRIPT": json.dumps(["-m", "train"])}
    operator.directives = [{"id": "c1", "kind": "Checkpoint"}, {"id": "s1", "kind": "DumpStacks"}]

    gang.start()
    wait_until(lambda: operator.reports and operator.reports[-1].get("done") == ["c1", "s1"])
    wait_until(lambda: "saved at" in gang.log(0))
    operator.directives = [{"id": "s2", "kind": "DumpStacks"}]
    wait_until(lambda: 'train.py", line 8 in <module>' in gang.log(0))

    assert 1 == gang.log(0).count("saved at")
    assert gang.pods[0].poll() is None


def test_a_run_is_the_same_to_the_bit_with_every_kind_of_operator_and_none(gangs, operator, tmp_path):
    """An operator that listens, one that is away, one of another authority and one that refuses."""
    other, _ = authority(tmp_path, "other")
    refusing = OperatorEnd(tmp_path / "refusing")
    refusing.directory.mkdir()
    refusing.start().status = 401
    environs = {
        "none": {},
        "listens": operator.environ,
        "away": operator.environ | {"GANGER_CONTROL_URL": "https://127.0.0.1:9/v1/jobs/uid-1"},
        "other": operator.environ | {"GANGER_CONTROL_CA": str(other)},
        "refuses": refusing.environ,
    }

    def run(name):
        gang = gangs(name, workers=1, config={"steps": 60, "stepSleep": 0.02}, environ=environs[name])
        ending = gang.run()
        assert [0] == ending.codes, ending.logs
        assert "Traceback" not in ending.logs[0]
        return gang.shards(60), ending.logs[0].count("warning: no report")

    results = {name: run(name) for name in environs}
    refusing.stop()

    assert 1 == len({tuple(hashes) for hashes, _ in results.values()})
    assert {"none": 0, "listens": 0, "away": 1, "other": 1, "refuses": 1} == {
        name: said for name, (_, said) in results.items()
    }
    assert operator.reports
    assert refusing.reports


ABORTING = """
import os, sys
print("this goes to standard output", flush=True)
for number in range(20):
    print("line", number, file=sys.stderr)
os.write(2, b"terminate called: \\xff out of memory\\n")
os.abort()
"""


def test_last_lines_of_a_process_that_aborts_are_in_the_termination_message(gangs):
    gang = gangs(workers=1, task=None, environ={"GANGER_SCRIPT": '["train.py"]'})
    (gang.directory / "train.py").write_text(ABORTING)

    ending = gang.run()

    assert [134] == ending.codes
    assert "ProcessKilled" == ending.messages[0]["reason"]
    lines = ending.messages[0]["lastLines"]
    # torch's agent makes Python write all stacks at a crash; they must not hide what was said before.
    crash = lines.index("Fatal Python error: Aborted")
    assert [*(f"line {number}" for number in range(20 - crash + 1, 20)), "terminate called: � out of memory"] == lines[
        :crash
    ]
    assert 'train.py", line 7 in <module>' in lines[crash + 2]
    assert 10 == len(lines)
    raw = (gang.directory / "log-0").read_bytes()
    assert b"line 0\n" in raw
    assert b"terminate called: \xff out of memory\n" in raw


def test_a_failure_with_a_traceback_needs_no_last_lines(gangs):
    ending = gangs(workers=1, config={"steps": 40}).run(raiseAt=3)

    assert [ExitCode.RETRYABLE] == ending.codes
    assert "traceback" in ending.messages[0]
    assert "lastLines" not in ending.messages[0]
