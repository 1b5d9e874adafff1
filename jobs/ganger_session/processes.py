"""What the kernel tells of the session's processes: whose they are, what they use, which terminal they have."""

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
TICKS: Final = os.sysconf("SC_CLK_TCK")  # in a second
_LISTEN: Final = "0A"  # of /proc/net/tcp
_PTS_MAJORS: Final = range(136, 144)
# Of /proc/PID/stat, counted behind the name in brackets.
_STATE, _PARENT, _TTY, _TIMES = 0, 1, 4, slice(11, 15)


@dataclass(frozen=True, kw_only=True)
class Process:
    """One process. cpu_seconds: its own, and those of its children that have ended.

    terminal: N of its controlling terminal /dev/pts/N, None without one.
    """

    pid: int
    parent: int
    name: str
    state: str
    terminal: int | None
    cpu_seconds: float


def parse(pid: int, text: str) -> Process:
    """Return the process of a /proc/PID/stat. Raises ValueError, IndexError on anything else. Pure."""
    before, _, after = text.rpartition(")")
    words = after.split()
    device = int(words[_TTY])
    major, minor = (device >> 8) & 0xFFF, (device & 0xFF) | ((device >> 12) & 0xFFF00)
    return Process(
        pid=pid,
        parent=int(words[_PARENT]),
        name=before.partition("(")[2],
        state=words[_STATE],
        terminal=(major - _PTS_MAJORS[0]) * 256 + minor if major in _PTS_MAJORS else None,
        cpu_seconds=sum(int(word) for word in words[_TIMES]) / TICKS,
    )


def look() -> dict[int, Process]:
    """Return every process that can be seen, by its id."""
    found = {}
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError, ValueError, IndexError):  # it has just ended
                found[int(entry.name)] = parse(int(entry.name), (entry / "stat").read_text(errors="replace"))
    return found


def below(root: int, seen: dict[int, Process]) -> dict[int, Process]:
    """Return the descendants of `root` among `seen`, without itself. Pure."""
    children: dict[int, list[Process]] = {}
    for process in seen.values():
        children.setdefault(process.parent, []).append(process)
    found: dict[int, Process] = {}
    todo = [root]
    while todo:
        for child in children.get(todo.pop(), ()):
            if child.pid not in found and child.pid != root:
                found[child.pid] = child
                todo.append(child.pid)
    return found


def of_session(root: int, seen: dict[int, Process]) -> dict[int, Process]:
    """Return what runs in the session of the supervisor `root`, without itself. Pure.

    What came by `kubectl exec` has no parent that can be seen from inside of the pod.
    """
    found = below(root, seen)
    for process in seen.values():
        if process.parent == 0 and process.pid not in (root, 1) and process.name != "kthreadd":
            found |= {process.pid: process} | below(process.pid, seen)
    return found


def transferred(pid: int) -> int:
    """Return the bytes that a process has read and written, files and sockets alike; 0 where nobody may know."""
    try:
        lines = (PROC / str(pid) / "io").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines[:2])  # rchar, wchar


def listens(port: int) -> bool:
    """Return whether somebody listens on the IPv4 `port` of this network namespace. A look, no connection."""
    lines = (PROC / "net" / "tcp").read_text().splitlines()[1:]
    words = (line.split() for line in lines)
    return any(one[1].endswith(f":{port:04X}") and one[3] == _LISTEN for one in words)


def touched(terminals: Iterable[int]) -> float:
    """Return when one of the terminals was last read from or written to, in seconds since 1970; 0 without one.

    The kernel keeps these times, to 8 seconds; `w` tells idleness by them.
    """
    newest = 0.0
    for number in terminals:
        with contextlib.suppress(OSError):
            status = Path(f"/dev/pts/{number}").stat()
            newest = max(newest, status.st_atime, status.st_mtime)
    return newest
