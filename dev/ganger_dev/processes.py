"""Start, find and stop the long-running programs of a cluster.

Each runs in a session of its own, so that the shell that started it may end; a pid file carries the kernel's start time
beside the pid, so that a pid that was used again is never mistaken for ours, and never stopped.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ganger_dev.errors import DevError


@dataclass(frozen=True, kw_only=True)
class Service:
    """One program of a cluster, known by its name within `folder`, which holds its pid file and its log."""

    name: str
    folder: Path

    @property
    def log(self) -> Path:
        """Return the log file, which outlives the program."""
        return self.folder / f"{self.name}.log"

    @property
    def pid_file(self) -> Path:
        """Return the file that holds the pid and the start time."""
        return self.folder / f"{self.name}.pid"

    def pid(self) -> int | None:
        """Return the pid of the running program, or None."""
        try:
            pid, started = map(int, self.pid_file.read_text().split())
        except (FileNotFoundError, ValueError):
            return None
        return pid if start_time(pid) == started else None

    def start(self, command: Sequence[str], *, env: Mapping[str, str] | None = None, tied: bool = False) -> None:
        """Start `command` unless it runs already.

        tied: the program dies with the process that started it (tests use this: a killed pytest leaves nothing behind).
        """
        if self.pid() is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        words = ["setpriv", "--pdeathsig", "KILL", *command] if tied else list(command)
        with self.log.open("a") as log:
            child = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                cwd=self.folder, env=dict(os.environ) | dict(env or {}),
            )  # fmt: skip
        self.pid_file.write_text(f"{child.pid} {start_time(child.pid) or 0}\n")

    def stop(self, *, grace_seconds: float = 10.0) -> None:
        """Stop the program if it runs: politely, and after `grace_seconds` for certain."""
        pid = self.pid()
        if pid is not None:
            for number, patience in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, 5.0)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
                if _wait_gone(self, patience):
                    break
        self.pid_file.unlink(missing_ok=True)

    def wait_ready(self, check: Callable[[], bool], *, timeout_seconds: float = 60.0) -> None:
        """Return once `check` is true; raise DevError when the program ends or the time is over."""
        deadline = time.monotonic() + timeout_seconds
        while not check():
            if self.pid() is None:
                raise DevError(f"{self.name} ended while starting", self.last_words(), f"Its log is {self.log}.")
            if time.monotonic() > deadline:
                raise DevError(f"{self.name} was not ready within {timeout_seconds:g} s", self.last_words(),
                               f"Its log is {self.log}.")  # fmt: skip
            time.sleep(0.05)

    def last_words(self) -> str:
        """Return the end of the log's last line."""
        lines = self.log.read_text(errors="replace").strip().splitlines() if self.log.exists() else []
        return lines[-1][-300:] if lines else "it logged nothing"


def start_time(pid: int) -> int | None:
    """Return the kernel's start time of a live process in clock ticks, or None when it is gone (or a zombie)."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        # The command in parentheses may hold blanks: count the fields from behind it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in {"Z", "X"} else int(fields[19])


def free_ports(count: int) -> list[int]:
    """Return `count` different loopback TCP ports that nothing listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for entry in sockets:
            entry.bind(("127.0.0.1", 0))
        return [int(entry.getsockname()[1]) for entry in sockets]
    finally:
        for entry in sockets:
            entry.close()


def accepts(address: str, port: int) -> bool:
    """Return whether something accepts TCP connections there."""
    try:
        with socket.create_connection((address, port), timeout=0.5):
            return True
    except OSError:
        return False


def _wait_gone(service: Service, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while service.pid() is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
