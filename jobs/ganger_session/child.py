"""One of the two servers of a session: started, started anew with growing pauses when it dies, ended in time."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final

PAUSE_SECONDS: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
SETTLED_SECONDS: Final = 60.0  # a server that lived so long begins again with the shortest pause
STARTS_MAX: Final = 5  # in a row without having been ready once: it will never be


class Child:
    """A server that is kept running. Times are monotonic seconds. Not thread-safe.

    ready: set by whoever asked it. starts: how often it was started.
    """

    def __init__(self, name: str, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self.name = name
        self.ready = False
        self.starts = 0
        self._command = list(command)
        self._environ = dict(environ)
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._again = 0.0
        self._failures = 0
        self._ever_ready = False

    @property
    def pid(self) -> int | None:
        """Its process id, None while there is none."""
        return self._process.pid if self._process is not None else None

    @property
    def hopeless(self) -> bool:
        """Whether it died STARTS_MAX times in a row and never answered."""
        return not self._ever_ready and self._failures >= STARTS_MAX

    def tend(self, now: float) -> None:
        """Start it if it is time to. Says when it died, and when it is started anew."""
        self._ever_ready |= self.ready
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                return
            self._process, self.ready = None, False
            self._failures = 1 if now - self._started >= SETTLED_SECONDS else self._failures + 1
            pause = PAUSE_SECONDS[min(self._failures, len(PAUSE_SECONDS)) - 1]
            self._again = now + pause
            print(f"{self.name} ended ({_said(code)}), it starts again in {pause:.0f} s", file=sys.stderr, flush=True)
        if now >= self._again and not self.hopeless:
            self._process = subprocess.Popen(self._command, env=self._environ, stdin=subprocess.DEVNULL)
            self._started = now
            self.starts += 1

    def end(self, number: int = signal.SIGTERM) -> None:
        """Send the signal, if there is a process to take it."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def gone(self) -> bool:
        """Return whether no process of its own is left; collects its exit code."""
        return self._process is None or self._process.poll() is not None


def _said(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
