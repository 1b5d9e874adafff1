"""The supervisor as PID 1 and behind an init process: orphans are collected, signals are not lost or doubled."""

import json
import shutil
import subprocess
import time

import pytest

from ganger.contract import ExitCode

pytestmark = pytest.mark.integration

ORPHAN = """
import os, sys, time
reader, writer = os.pipe()
if os.fork() == 0:                       # a child that leaves a child of its own behind
    if os.fork() == 0:
        os.write(writer, str(os.getpid()).encode())
        time.sleep(0.3)
        os._exit(0)
    os._exit(0)
os.wait()
orphan = int(os.read(reader, 20))
was_zombie = False
for _ in range(200):
    try:
        was_zombie |= open(f"/proc/{orphan}/stat").read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        print("the orphan was a zombie" if was_zombie else "gone", "and was collected", flush=True)
        sys.exit(0)
    time.sleep(0.05)
print("still there", flush=True)
sys.exit(3)
"""
NAMESPACE = ("unshare", "--fork", "--pid", "--mount-proc", "--kill-child")


def can_unshare():
    return shutil.which("unshare") and subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode == 0


def test_supervisor_as_pid_1_collects_orphans_and_still_hears_its_worker(gangs):
    if not can_unshare():
        pytest.skip("no leave to make a PID namespace")
    gang = gangs(workers=1, task=None, prefix=NAMESPACE, environ={"GANGER_SCRIPT": json.dumps(["train.py"])})
    (gang.directory / "train.py").write_text(ORPHAN)

    ending = gang.run()

    assert [0] == ending.codes, ending.logs
    assert "the orphan was a zombie and was collected" in ending.logs[0]
    assert "Done" == ending.messages[0]["outcome"]


def test_behind_the_init_process_of_the_image_one_sigterm_saves_and_two_end_at_once(gangs):
    tini = shutil.which("tini")
    if tini is None:
        pytest.skip("tini is not installed")
    gang = gangs(workers=1, prefix=(tini, "-s", "--"), config={"steps": 100000, "stepSleep": 0.002})
    gang.start().wait_for("step 2")

    gang.signal(0)
    ending = gang.end(20)

    assert [ExitCode.PREEMPTED] == ending.codes
    assert ending.messages[0]["step"] == ending.messages[0]["checkpoint"]["step"]

    slow = gangs("slow", workers=1, prefix=(tini, "-s", "--"), config={"steps": 9, "stepSleep": 30.0})
    slow.start().wait_for("training begins")
    slow.signal(0)
    time.sleep(0.5)
    slow.signal(0)

    assert [ExitCode.PREEMPTED] == slow.end(10).codes
    assert "second SIGTERM" in json.loads(slow.message_path(0).read_text())["message"]


def test_sigterm_before_training_ends_at_once_and_is_not_counted(gangs):
    gang = gangs(workers=2)
    gang.pods = [gang._pod(1, 1, {})]  # its peer never comes
    time.sleep(1.5)

    gang.signal(0)
    began = time.monotonic()
    code = gang.pods[0].wait(10)

    assert ExitCode.PREEMPTED == code
    assert time.monotonic() - began < 5
    assert "had not begun to train" in json.loads(gang.message_path(1).read_text())["message"]
