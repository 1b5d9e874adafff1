"""A wish for a checkpoint, from the supervisor to the loops of its pod.

The wishes are counted in the length of a file beside the reports' socket. A loop that looks pays for one system call
(a few microseconds) and no signal: a signal would break system calls of code that knows nothing of it, and end a
process that does not listen.
"""

import contextlib
import os
from pathlib import Path

from ganger_trainer.environment import HELPER_SOCKET


class SaveRequests:
    """One end of it, either one. `socket` is the path of the reports' socket; None or "" means that nobody asks."""

    def __init__(self, socket: str | None) -> None:
        self._path = str(Path(socket).with_name("saves")) if socket else None
        self._taken = 0

    @classmethod
    def from_environment(cls) -> "SaveRequests":
        """Return the end of a process that the supervisor started, deaf outside of Ganger."""
        return cls(os.environ.get(HELPER_SOCKET))

    def ask(self) -> None:
        """Ask every process of this pod, once. Raises OSError if the file cannot be written."""
        if self._path is not None:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
            os.ftruncate(descriptor, self._asked() + 1)  # a length without bytes: works on a full disk too
            os.close(descriptor)

    def take(self) -> bool:
        """Return True if there were requests since this end last looked. Never raises."""
        asked = self._asked()
        new, self._taken = asked > self._taken, asked
        return new

    def clear(self) -> None:
        """Forget all requests: the processes that come next have not been asked. Never raises."""
        if self._path is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._path)  # noqa: PTH108 - as below

    def _asked(self) -> int:
        if self._path is None:
            return 0
        try:
            return os.stat(self._path).st_size  # noqa: PTH116 - called at every step of a script
        except OSError:
            return 0
