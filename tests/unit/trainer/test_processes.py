"""Reports between processes, orphans, and the CPUs of a container."""

import faulthandler
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ganger_trainer import cpus, helper
from ganger_trainer.environment import HELPER_SOCKET
from ganger_trainer.reports import Exit, Listener, Listening, Progress, Sender, Started


@pytest.fixture
def heard():
    return []


@pytest.fixture
def listener(heard):
    made = Listener(heard.append)
    yield made
    made.close()


def test_reports_arrive_in_order(listener, heard):
    sender = Sender(listener.path)
    for step in range(100):
        sender.send(Progress(rank=0, step=step), surely=True)
    listener.flush()

    assert list(range(100)) == [report.step for report in heard]


def test_the_end_of_a_process_is_heard_with_its_code_and_left_for_its_parent(listener, heard):
    child = subprocess.Popen([sys.executable, "-S", "-c", "import sys; sys.stdin.read(); sys.exit(3)"], stdin=-1)
    Sender(listener.path).send(Started(rank=2, pid=child.pid), surely=True)
    listener.flush()
    child.stdin.close()

    deadline = time.monotonic() + 10
    while len(heard) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)

    assert (2, 3) == (heard[1].rank, heard[1].code)
    assert isinstance(heard[1], Exit)
    assert 3 == child.wait()


def test_noise_on_the_socket_is_ignored(listener, heard):
    sender = Sender(listener.path)
    sender._socket.send(b"hello")
    sender.send(Progress(rank=0, step=1), surely=True)
    listener.flush()

    assert [Progress(rank=0, step=1)] == heard


def test_without_a_supervisor_reports_go_nowhere_and_nothing_is_raised(monkeypatch, tmp_path):
    Sender(None).send(Progress(rank=0, step=1))
    Sender(str(tmp_path / "nobody")).send(Progress(rank=0, step=1), surely=True)
    monkeypatch.delenv(HELPER_SOCKET, raising=False)
    monkeypatch.setattr(helper, "_sender", None)
    helper.report(step=1, loss=0.5)

    assert not helper.should_stop()


def test_the_helper_leaves_out_what_json_cannot_say(listener, heard, monkeypatch):
    monkeypatch.setenv(HELPER_SOCKET, listener.path)
    monkeypatch.setattr(helper, "_sender", None)
    monkeypatch.setattr(faulthandler, "register", lambda *_, **__: None)  # not in the process of the tests
    helper.report(step=3, loss=float("nan"), total_steps=9, accuracy=0.5, broken=float("inf"))
    listener.flush()

    assert [
        Listening(rank=0, pid=os.getpid(), file=str(Path(listener.path).parent / f"stacks-{os.getpid()}")),
        Progress(rank=0, step=3, total_steps=9, metrics={"accuracy": 0.5}),
    ] == heard


REAPING = """
import os, time
from ganger_trainer.orphans import AGE_SECONDS, Orphans
child = os.posix_spawn("/bin/true", ["true"], {})
os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
orphans = Orphans()
times = [0.0, AGE_SECONDS / 2, AGE_SECONDS, 2 * AGE_SECONDS]
print([orphans.reap(100.0 + seconds) == child for seconds in times])
"""


def test_a_zombie_is_collected_once_it_is_too_old_to_be_somebodys():
    # In a process of its own: this one may have other children that are not to be touched.
    environ = {"PYTHONPATH": ":".join(sys.path)}
    said = subprocess.run([sys.executable, "-c", REAPING], env=environ, capture_output=True, text=True, check=True)

    assert "[False, False, True, False]\n" == said.stdout


@pytest.mark.parametrize(
    ("text", "expected"), [("150000 100000\n", 2), ("10000 100000\n", 1), ("max 100000\n", 64), ("", 64)]
)
def test_the_quota_of_the_container_bounds_its_threads(tmp_path, monkeypatch, text, expected):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    (tmp_path / "cpu.max").write_text(text)

    assert expected == cpus.usable(tmp_path / "cpu.max")


def test_threads_are_what_the_operator_says_else_a_share_of_the_cpus(monkeypatch):
    monkeypatch.setattr(cpus, "usable", lambda: 8)

    assert 3 == cpus.threads(2, {"OMP_NUM_THREADS": "3"})
    assert 4 == cpus.threads(2, {})
    assert 4 == cpus.threads(2, {"OMP_NUM_THREADS": "many"})
    assert 1 == cpus.threads(16, {})
