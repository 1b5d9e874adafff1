"""Real ranks that are stopped or slow, as their supervisors report them and the operator judges them."""

import json
import os
import signal
import time
from pathlib import Path

import msgspec
import pytest

from builders import at, job, running_gang
from ganger.api.policy import Hang
from ganger.plan import hang, live, track
from ganger.plan.gang import gang as members
from ganger.plan.live import Heard
from ganger.plan.track import Track, observe
from operator_end import OperatorEnd

pytestmark = pytest.mark.integration

SLOW = {"steps": 100000, "stepSleep": 0.01}
NEVER = {"everySteps": 100000}


@pytest.fixture
def operator(tmp_path):
    end = OperatorEnd(tmp_path).start()
    end.answer = {"nextReportSeconds": 0.5}
    yield end
    end.stop()


def wait_until(true, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def rank_of(pod):
    """The PID of the one rank of a pod: a child of its supervisor that has a page of its own."""
    for page in Path("/dev/shm").glob("ganger-*/heartbeat-*"):
        pid = int(memoryview(page.read_bytes()).cast("d")[9])
        try:
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pod.pid:
            return pid
    raise AssertionError("no rank has a page")


def beat(operator, worker):
    """Where the rank of that worker was by the newest report."""
    reports = [report for report in operator.of(worker) if report.get("ranks")]
    return reports[-1]["ranks"][0] if reports else {}


def heard(operator):
    """The newest report of both workers as the operator keeps them."""
    bodies = [operator.of(worker)[-1] for worker in (0, 1)]
    arrivals = [max(at for at, report in zip(operator.arrivals, operator.reports, strict=True) if report is body)
                for body in bodies]  # fmt: skip
    return tuple(
        Heard(report=live.decode(msgspec.json.encode(body)), at=at(arrival - arrivals[0]))
        for body, arrival in zip(bodies, arrivals, strict=True)
    )


def test_a_stopped_rank_is_seen_blamed_and_shown_and_a_healthy_gang_is_not(gangs, operator):
    gang = gangs(config=SLOW, environ=operator.environ, checkpoint=NEVER)
    gang.start().wait_for("step 2")
    wait_until(lambda: beat(operator, 0).get("steps", 0) > 10 and beat(operator, 1).get("steps", 0) > 10)
    plain = job()
    one = members(running_gang(plain), 0, 2)
    found = hang.silence(Hang(timeout_seconds=2), one, heard(operator))
    assert found.seconds < found.limit_seconds == 2

    victim = rank_of(gang.pods[1])
    os.kill(victim, signal.SIGSTOP)
    wait_until(lambda: beat(operator, 1)["ageSeconds"] > 2 and beat(operator, 0)["ageSeconds"] > 2)
    assert ("T", True) == (beat(operator, 1)["state"], beat(operator, 0)["state"] in ("R", "S"))
    assert beat(operator, 0)["step"] >= beat(operator, 1)["step"]
    wait_until(lambda: hang.silence(Hang(timeout_seconds=2), one, heard(operator)).is_long)
    culprit = hang.culprit(hang.silence(Hang(timeout_seconds=2), one, heard(operator)))
    assert (1, 1) == (culprit.rank, culprit.worker)
    assert "is stopped (process state T)" in culprit.sentence

    operator.directives = [{"id": "Hang-1", "kind": "DumpStacks"}]
    wait_until(lambda: all(operator.of(worker)[-1].get("done") == ["Hang-1"] for worker in (0, 1)))
    folder = gang.directory / "checkpoints" / "stacks"
    names = [f"attempt-0-worker-{worker}-rank-{worker}.txt" for worker in (0, 1)]
    wait_until(lambda: folder.exists() and names == sorted(path.name for path in folder.iterdir()))
    wait_until(lambda: all((folder / name).read_text() for name in names))
    assert "in train\n" in (folder / names[0]).read_text()
    assert "the process is stopped (state T)" in (folder / names[1]).read_text()
    assert "in train\n" in gang.log(0)
    assert "the process is stopped (state T)" in gang.log(1)

    step = beat(operator, 0)["step"]
    os.kill(victim, signal.SIGCONT)
    wait_until(lambda: beat(operator, 0)["step"] > step and beat(operator, 1)["step"] > step)


def test_a_rank_that_holds_the_interpreter_is_seen_and_shows_where(gangs, operator):
    """It hangs in native code with the GIL held: nothing of it can report, and its stacks are shown all the same."""
    gang = gangs(workers=1, task=None)
    (gang.directory / "train.py").write_text(STUCK)
    gang.environ = operator.environ | {"GANGER_SCRIPT": json.dumps(["-m", "train"])}
    gang.start()
    wait_until(lambda: beat(operator, 0).get("ageSeconds", 0) > 1.5)
    assert ("script", 7) == (beat(operator, 0)["stage"], beat(operator, 0)["step"])

    operator.directives = [{"id": "Hang-1", "kind": "DumpStacks"}]
    wait_until(lambda: 'train.py", line 5 in <module>' in gang.log(0))


STUCK = """
import ctypes
import ganger_trainer
ganger_trainer.report(step=7)
ctypes.PyDLL(None).sleep(1000)
"""


def test_a_slow_rank_has_the_larger_share_of_its_own_work(gangs, operator, monkeypatch):
    slow = {"slowRank": 1, "slowSleep": 0.05, "stepSleep": 0.02, "steps": 100000}
    gang = gangs(config=slow, environ=operator.environ, checkpoint=NEVER)
    gang.start()
    wait_until(lambda: beat(operator, 0).get("steps", 0) > 40 and beat(operator, 1).get("steps", 0) > 40)

    each = {worker: beat(operator, worker)["busySeconds"] / beat(operator, worker)["steps"] for worker in (0, 1)}
    assert each[1] > each[0] + 0.04
    monkeypatch.setattr(track, "WINDOW_SECONDS", 1.0)  # of ten, for which nothing but patience would be needed
    found, began = Track(), time.monotonic()
    while not found.slow:
        elapsed = time.monotonic() - began
        assert elapsed < 60
        found = observe(found, beats(operator), at(elapsed))
        time.sleep(0.2)
    assert [1] == [one.rank for one in found.slow]


def beats(operator):
    return {each.rank: (one.report.worker, each) for one in heard(operator) for each in one.report.ranks}
