"""Whether the kernel killed a process of this container for memory.

A restart in place keeps the container, so the kubelet never says OOMKilled of a rank that was killed alone.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from ganger_trainer.verdict import Verdict

# Of cgroup v2 and v1; the container sees its own. Both count in a line `oom_kill N`.
EVENTS: Final = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))
SIGKILLED: Final = 137


class OutOfMemory:
    """Counts the kernel's kills; without one of the files nothing is known, and no verdict changes."""

    def __init__(self, events: Sequence[Path] = EVENTS) -> None:
        self._events = next((path for path in events if path.exists()), None)
        self._known = self._kills()

    def explain(self, verdict: Verdict) -> Verdict:
        """Return the verdict on a rank that was ended by SIGKILL, as OOMKilled if there was a kill since the last."""
        if verdict.reason != "ProcessKilled" or verdict.rank_exit_code != SIGKILLED:
            return verdict
        before, self._known = self._known, self._kills()
        if self._known <= before:
            return verdict
        message = f"the kernel ended rank {verdict.rank}: its container used more than its memory limit"
        return msgspec.structs.replace(verdict, reason="OOMKilled", message=message)

    def _kills(self) -> int:
        if self._events is None:
            return 0
        try:
            lines = self._events.read_text().splitlines()
        except OSError:
            return 0
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
