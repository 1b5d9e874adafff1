"""Output of workers, line by line, each with the worker in front: the same for `run` and for `logs`."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from ganger.cli.terminal import WORKER_COLOURS, Terminal, log_line

LINE_BYTES_MAX = 64 * 1024  # a longer line is cut in pieces; a program that writes no line ends must not fill memory


async def lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Yield the lines of a stream without their ends; the last one too where its end is missing."""
    rest = b""
    async for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")
        while len(rest) > LINE_BYTES_MAX:
            yield rest[:LINE_BYTES_MAX].decode(errors="replace")
            rest = rest[LINE_BYTES_MAX:]
    if rest:
        yield rest.decode(errors="replace")


class Printer:
    """Writes lines of workers to the terminal. workers: how many there are, for the width of the prefix.

    timed: each with its time, where it has one. only: those that this finds something in.
    """

    def __init__(
        self,
        terminal: Terminal,
        workers: int,
        *,
        prefixed: bool = True,
        timed: bool = False,
        only: re.Pattern[str] | None = None,
    ) -> None:
        self._terminal = terminal
        self._width = len(f"worker-{max(0, workers - 1)}")
        self._prefixed = prefixed
        self._timed = timed
        self._only = only

    def line(self, worker: int, text: str, time: int = 0) -> None:
        """Write one line; what a terminal would obey is shown, not sent.

        worker: below 0 for an export. time: nanoseconds since 1970, 0 unknown.
        """
        shown = log_line(text.removesuffix("\r"))
        if self._only is None or self._only.search(shown):
            self._terminal.data(self._prefix(worker) + (self._time(time) if self._timed else "") + shown)

    def _time(self, time: int) -> str:
        if not time:
            return ""
        seconds, rest = divmod(time, 1_000_000_000)
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1_000_000:03d}Z "

    def _prefix(self, worker: int) -> str:
        if not self._prefixed:
            return ""
        name = (f"worker-{worker}" if worker >= 0 else "export").ljust(self._width)
        return self._terminal.paint(f"{name} |", WORKER_COLOURS[worker % len(WORKER_COLOURS)]) + " "
