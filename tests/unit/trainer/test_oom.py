"""A rank that the kernel killed for memory is told from one that anybody else killed."""

import pytest

from ganger_trainer.oom import OutOfMemory
from ganger_trainer.verdict import Verdict

KILLED = Verdict(
    exit_code=137, outcome="Failed", reason="ProcessKilled", message="by SIGKILL", rank=3, rank_exit_code=137
)


@pytest.fixture(
    params=[
        "low 0\nhigh 0\nmax 8\noom {0}\noom_kill {0}\noom_group_kill 0\n",
        "oom_kill_disable 0\nunder_oom 0\noom_kill {0}\n",
    ],
    ids=["v2", "v1"],
)
def events(tmp_path, request):
    path = tmp_path / "events"

    def write(kills):
        path.write_text(request.param.format(kills))
        return (tmp_path / "none", path)

    return write


def test_a_kill_since_the_last_failure_explains_it_once(events):
    counted = OutOfMemory(events(2))
    events(3)

    found = counted.explain(KILLED)
    assert ("OOMKilled", 137, 3) == (found.reason, found.exit_code, found.rank)
    assert "the kernel ended rank 3: its container used more than its memory limit" == found.message
    assert KILLED == counted.explain(KILLED)


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict(exit_code=139, outcome="Failed", reason="ProcessKilled", rank=3, rank_exit_code=139),
        Verdict(exit_code=1, outcome="Failed", reason="Exception", rank=3, rank_exit_code=1),
    ],
)
def test_other_ends_are_left_as_they_are(events, verdict):
    counted = OutOfMemory(events(0))
    events(1)

    assert verdict == counted.explain(verdict)


def test_without_the_file_nothing_is_known(tmp_path):
    assert KILLED == OutOfMemory([tmp_path / "none"]).explain(KILLED)
