"""What the end of standard error tells of a process that only had an exit code."""

import pytest

from ganger_trainer.clues import follow
from ganger_trainer.verdict import Verdict

EXITED = Verdict(exit_code=1, outcome="Failed", reason="ProcessExited", message="rank 0 exited with code 1", rank=0)
ABORTED = Verdict(exit_code=134, outcome="Failed", reason="ProcessKilled", message="ended by SIGABRT", rank=0)
FRAME = '  File "train.py", line 7, in <module>'


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("ValueError: boom", "Exception"),
        ("mylib.errors.DataError: shard 3", "Exception"),
        ("KeyboardInterrupt", "Exception"),
        ("RuntimeError: Timed out waiting 2000ms for recv operation to complete", "CollectiveTimeout"),
        ("RuntimeError: NCCL communicator was aborted", "PeerLost"),
        ("ValueError: no such process group", "Exception"),
    ],
)
def test_last_line_of_a_traceback_is_the_message(line, reason):
    found = follow(EXITED, ["Traceback (most recent call last):", FRAME, "    train()", line, "bye"])

    assert (reason, line, 1, 0) == (found.reason, found.message, found.exit_code, found.rank)


@pytest.mark.parametrize("lines", [[], ["ValueError: told by a logger"], [FRAME, "    train()", "bye"]])
def test_program_without_a_traceback_keeps_its_verdict(lines):
    assert EXITED == follow(EXITED, lines)


def test_watchdog_of_nccl_explains_the_abort():
    line = "[Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7, OpType=ALLREDUCE)"
    found = follow(ABORTED, [line, "terminate called after throwing an instance of 'c10::DistBackendError'"])

    assert ("CollectiveTimeout", line, 134) == (found.reason, found.message, found.exit_code)
    assert ABORTED == follow(ABORTED, ["something else"])


def test_verdict_that_already_knows_more_is_left_alone():
    known = Verdict(exit_code=1, outcome="Failed", reason="NonFiniteLoss")

    assert known == follow(known, [FRAME, "ValueError: boom"])
