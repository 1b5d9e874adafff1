"""Who ended a process: the order that found it at work, or something before it."""

import os
import signal
import subprocess

import pytest

from ganger.contract import ExitCode
from ganger_trainer.kills import Kills
from ganger_trainer.verdict import Verdict

KILLED = Verdict(exit_code=ExitCode.RETRYABLE, outcome="Failed", reason="ProcessKilled", rank=3, rank_exit_code=137)


@pytest.fixture
def process():
    child = subprocess.Popen(["sleep", "60"])
    yield child
    child.kill()
    child.wait()


def zombie(child):
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)


def test_a_process_that_an_order_found_at_work_is_a_victim(process):
    kills = Kills()

    kills.end({3: process.pid})

    assert -signal.SIGKILL == process.wait(5)
    assert "PeerLost" == kills.explain(KILLED).reason


def test_a_process_that_had_ended_before_the_order_stays_the_culprit(process):
    """Nobody has collected it yet: it still takes signals."""
    zombie(process)
    kills = Kills()

    kills.end({3: process.pid})

    assert KILLED == kills.explain(KILLED)


def test_a_process_that_was_collected_is_nobodys_kill(process):
    process.kill()
    process.wait()
    kills = Kills()

    kills.end({3: process.pid})

    assert KILLED == kills.explain(KILLED)


def test_the_child_of_a_child_counts_while_it_is_there():
    """A program of the user's is started by a fork that waits for it."""
    parent = subprocess.Popen(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    kills = Kills()

    kills.end({3: pid})
    parent.wait(5)
    parent.stdout.close()

    assert "PeerLost" == kills.explain(KILLED).reason


@pytest.mark.parametrize("change", [{"rank": 2}, {"reason": "OOMKilled"}, {"reason": "Exception"}])
def test_another_rank_and_another_reason_stay_what_they_are(process, change):
    kills = Kills()
    kills.end({3: process.pid})
    verdict = Verdict(**{name: getattr(KILLED, name) for name in KILLED.__struct_fields__} | change)

    assert verdict == kills.explain(verdict)


def test_a_round_forgets_the_one_before(process):
    kills = Kills()
    kills.end({3: process.pid})

    kills.begin()

    assert KILLED == kills.explain(KILLED)
