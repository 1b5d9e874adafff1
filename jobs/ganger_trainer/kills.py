"""Processes that are ended here for a round that the operator ordered.

What they leave is a SIGKILL, as a culprit's would be: only who sent it knows that they are victims.
"""

import contextlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from ganger.contract import ExitCode
from ganger_trainer.verdict import Verdict


class Kills:
    """The ranks of this round that were ended here while they were at work. Any thread may call it."""

    def __init__(self) -> None:
        self._ranks: set[int] = set()

    def end(self, pids: Mapping[int, int]) -> None:
        """Send SIGKILL to each of `pids`, by rank. One that has ended already stays what it is."""
        for rank, pid in pids.items():
            if _is_at_work(pid):
                self._ranks.add(rank)
            send(pid, signal.SIGKILL)

    def begin(self) -> None:
        """Forget the round before."""
        self._ranks.clear()

    def explain(self, verdict: Verdict) -> Verdict:
        """Return `verdict`, but a victim's where it is of a process that was ended here."""
        if verdict.reason != "ProcessKilled" or verdict.rank not in self._ranks:
            return verdict
        return victim("the operator ordered a new round, for a failure elsewhere in the gang")


def victim(message: str) -> Verdict:
    """Return the verdict on a pod whose processes fell to what happened elsewhere."""
    return Verdict(exit_code=ExitCode.RETRYABLE, outcome="Failed", reason="PeerLost", message=message)


def send(pid: int, number: int) -> None:
    """Send signal `number` to `pid`, if there is such a process."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _is_at_work(pid: int) -> bool:
    """Return whether a process has not ended. One that has waits for the agent to collect it, and takes signals."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:  # collected, or the child of a child: a program of the user's
        return Path(f"/proc/{pid}").exists()
