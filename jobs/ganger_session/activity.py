"""When somebody, or a computation, last did something here.

Counted: a busy kernel and a message to one, a saved document, a terminal that was typed into or printed to, bytes
through a connection of SSH, and computing. An open tab asks Jupyter its questions and an open connection keeps itself
alive: both stay below the thresholds, so that a forgotten one holds no GPU.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ganger_session import jupyter, processes
from ganger_session.processes import Process

# Of one core, over the time between two looks. An idle kernel with torch uses less than a thousandth.
COMPUTING: Final = 0.05
# Through SSH, in a second, read and written. A keep-alive each second is 80.
BYTES_PER_SECOND: Final = 600.0
_SSHD: Final = ("sshd", "sshd-session", "sshd-auth")


@dataclass(kw_only=True)
class Glance:
    """What one look found, to be compared with the next. Wall seconds since 1970 where a time is meant."""

    kernels_busy: bool = False
    stamps: dict[str, float] = field(default_factory=dict)  # what was touched -> when
    cpu_seconds: float = 0.0
    transferred: dict[int, int] = field(default_factory=dict)  # process of SSH -> bytes


class Activity:
    """Remembers the newest activity. Times are monotonic seconds, but `wall`."""

    def __init__(self, now: float) -> None:
        self.begin(now)
        self._at = now
        self._before: Glance | None = None
        self._quiet_until = 0.0

    def begin(self, now: float) -> None:
        """Count from `now` on."""
        self.last, self.wall, self.what = now, time.time(), "the session began"

    def ignore_terminals(self, until: float) -> None:
        """Take no terminal for active that was last touched before `until` (wall): the supervisor wrote to it."""
        self._quiet_until = until

    def take(self, glance: Glance, now: float, wall: float) -> None:
        """Compare with the look before, and remember what was done since."""
        before, passed = self._before, now - self._at
        reason = self._reason(before, glance, passed) if before is not None and passed > 0 else ""
        for name, stamp in (before.stamps if before is not None else {}).items():
            glance.stamps[name] = max(stamp, glance.stamps.get(name, 0.0))  # Jupyter may not have answered
        self._before, self._at = glance, now
        if reason:
            self.last, self.wall, self.what = now, wall, reason

    def _reason(self, before: Glance, glance: Glance, passed: float) -> str:
        if glance.kernels_busy:
            return "a kernel is busy"
        for name, stamp in glance.stamps.items():
            if stamp > max(before.stamps.get(name, 0.0), self._quiet_until if name == "a terminal" else 0.0):
                return f"{name} was used"
        moved = sum(total - before.transferred.get(pid, total) for pid, total in glance.transferred.items())
        if moved > BYTES_PER_SECOND * passed:
            return "data went through SSH"
        if glance.cpu_seconds - before.cpu_seconds > COMPUTING * passed:
            return "a program computed"
        return ""


def look(root: int, servers: dict[str, int | None], folder: Path, server: jupyter.Server | None) -> Glance:
    """Return what happens now below the process `root`. servers: the process ids of jupyter and sshd."""
    seen = processes.of_session(root, processes.look())
    kernels = server.kernels() if server is not None else []
    saved = jupyter.saved(folder)
    stamps = {
        "a kernel": jupyter.spoken_to(kernels),
        "a document": saved.stat().st_mtime if saved.exists() else 0.0,
        "a terminal": processes.touched({one.terminal for one in seen.values() if one.terminal is not None}),
    }
    ssh = connections(servers.get("sshd"), seen)
    own = {*ssh, *(pid for pid in servers.values() if pid is not None)}
    return Glance(
        kernels_busy=jupyter.busy(kernels),
        stamps=stamps,
        cpu_seconds=sum(one.cpu_seconds for pid, one in seen.items() if pid not in own),
        transferred={pid: processes.transferred(pid) for pid in ssh},
    )


def connections(sshd: int | None, seen: dict[int, Process]) -> list[int]:
    """Return the processes that carry the connections of `sshd`, not what was started through them. Pure."""
    if sshd is None:
        return []
    return [pid for pid, one in processes.below(sshd, seen).items() if one.name in _SSHD]
