"""The last lines of standard error: what a process said that could say nothing else, such as one that aborted.

The supervisor puts a pipe in the place of its own descriptor 2, which the workers inherit, and a thread passes every
byte on to the real one. The bytes are the same and in the same order; a worker waits only where it would have waited
for the real descriptor too.
"""

import contextlib
import fcntl
import os
import re
import select
import struct
import termios
import threading
import time
from typing import Final

LINES_MAX: Final = 10
CHARACTERS_MAX: Final = 400
KEPT_BYTES: Final = 256 << 10  # so much, because a crash writes all stacks after what was said last
FRAMES_MAX: Final = 2  # of the thread that crashed
PIPE_BYTES: Final = 1 << 20  # the most that a user may have; a dump of all stacks fits
_CHUNK: Final = 64 << 10
_UNPRINTABLE: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")  # colours and other controls
_THREAD: Final = re.compile(r"(Current t|T)hread 0x[0-9a-f]+.* \(most recent call first\):")
_FRAME: Final = re.compile(r'  (File ".*", line \d+ in |\.\.\.$)')


class LastLines:
    """Stands in front of `descriptor` until it is closed. Raises OSError where no pipe can be had."""

    def __init__(self, descriptor: int = 2) -> None:
        self._descriptor = descriptor
        self._real = os.dup(descriptor)
        self._pipe, end = os.pipe()
        with contextlib.suppress(OSError):
            fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.dup2(end, descriptor)
        os.close(end)
        self._tail = bytearray()
        self._busy = False
        self._open = True
        # A fork must not keep the reading end: once the supervisor is gone, a write has to fail and not to hang.
        os.register_at_fork(after_in_child=self._forked)
        threading.Thread(target=self._forward, name="stderr", daemon=True).start()

    def lines(self) -> list[str]:
        """Return the last LINES_MAX lines that are not blank, the oldest first, each cut to CHARACTERS_MAX.

        Of a line that was written over (a progress bar) the newest state counts. Bytes that are not UTF-8 are replaced.
        Of the stacks that Python writes when it crashes, FRAMES_MAX of the thread at fault are left: all of them would
        hide what was said before.
        """
        said: list[str] = []
        frames = 0  # that may still follow
        for raw in bytes(self._tail).decode("utf-8", "replace").split("\n"):
            line = _UNPRINTABLE.sub("", raw.rstrip("\r").rpartition("\r")[2]).rstrip()
            if thread := _THREAD.fullmatch(line):
                frames = FRAMES_MAX if thread[1] == "Current t" else 0
                wanted = frames > 0
            elif _FRAME.match(line):
                frames -= 1
                wanted = frames >= 0
            else:
                wanted = bool(line) and not line.startswith("Extension modules: ")
            if wanted:
                said.append(line[:CHARACTERS_MAX])
        return said[-LINES_MAX:]

    def forget(self) -> None:
        """Begin anew: what was said so far is of processes that are gone."""
        del self._tail[:]

    def settle(self, seconds: float = 1.0) -> None:
        """Return when everything written so far was passed on, or after `seconds`. Takes no lock."""
        deadline = time.monotonic() + seconds
        while (self._waiting() or self._busy) and time.monotonic() < deadline:
            time.sleep(0.002)

    def close(self, seconds: float = 1.0) -> None:
        """Put the real descriptor back, and settle. Processes that still have the pipe are passed on as before."""
        if not self._open:
            return
        os.dup2(self._real, self._descriptor)
        self.settle(seconds)
        self._open = False

    def _waiting(self) -> int:
        try:
            return int(struct.unpack("i", fcntl.ioctl(self._pipe, termios.FIONREAD, b"\0" * 4))[0])
        except OSError:
            return 0  # every writer is gone and so is the thread

    def _forward(self) -> None:
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        while True:
            poll.poll()
            self._busy = True  # before the read: whoever finds the pipe empty must find this set
            chunk = os.read(self._pipe, _CHUNK)
            if not chunk:
                break
            self._tail += chunk
            if len(self._tail) > 2 * KEPT_BYTES:
                del self._tail[:-KEPT_BYTES]
            _write(self._real, chunk)
            self._busy = False
        self._busy = self._open = False
        os.close(self._pipe)
        os.close(self._real)

    def _forked(self) -> None:
        if self._open:
            os.close(self._pipe)
            os.close(self._real)


def _write(descriptor: int, data: bytes) -> None:
    """Write all of `data`. A descriptor that is broken takes it away: who writes to the pipe must not find it full."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            select.select([], [descriptor], [], 1.0)
        except OSError:
            return
