"""What the last lines of standard error tell of a process that could say no more than its exit code. Pure.

A program of the user's own writes a traceback there and exits with 1; NCCL's watchdog says that a collective timed out
and aborts the process.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from ganger_trainer.failures import victim
from ganger_trainer.verdict import Verdict

_FRAME: Final = re.compile(r'\s*File ".*", line \d+')
_RAISED: Final = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Warning|Exit|Iteration)\b(: .*)?")
_OF_COLLECTIVES: Final = ("RuntimeError", "Connection", "torch.distributed.Dist")
_WATCHDOG: Final = re.compile(r"collective operation timeout", re.IGNORECASE)


def follow(verdict: Verdict, last_lines: Sequence[str]) -> Verdict:
    """Return the verdict with the class and the sentence that `last_lines` give; as it was where they give none."""
    if verdict.reason == "ProcessKilled":
        found = next((line for line in last_lines if _WATCHDOG.search(line)), "")
        return msgspec.structs.replace(verdict, reason="CollectiveTimeout", message=found) if found else verdict
    if verdict.reason != "ProcessExited" or verdict.outcome != "Failed":
        return verdict
    frames = [index for index, line in enumerate(last_lines) if _FRAME.match(line)]
    raised = [line for line in last_lines[frames[-1] + 1 :] if _RAISED.fullmatch(line)] if frames else []
    if not raised:
        return verdict
    reason = victim(raised[0]) if raised[0].startswith(_OF_COLLECTIVES) else ""
    return msgspec.structs.replace(verdict, reason=reason or "Exception", message=raised[0])
