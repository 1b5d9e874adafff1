"""Standard input and output as bytes: pieces of what is typed or piped, and the raw mode of a terminal.

What a command in a container writes goes to the terminal as it is: a shell is of no use otherwise.
"""

import asyncio
import os
import signal
import sys
import termios
import tty
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

PIECE_BYTES = 32 * 1024


def is_terminal() -> bool:
    """Whether a person sits at both ends."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def size() -> tuple[int, int]:
    """Return columns and rows of the terminal."""
    try:
        found = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        return 80, 24
    return found.columns, found.lines


@contextmanager
def raw(wanted: bool) -> Iterator[None]:
    """Hand every key on as it is pressed, Ctrl-C too, and put the terminal back afterwards."""
    if not wanted:
        yield
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor, termios.TCSANOW)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)


@contextmanager
def resized(call: Callable[[], None]) -> Iterator[None]:
    """Call when the size of the terminal changes."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, call)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)


async def pieces(descriptor: int) -> AsyncIterator[bytes]:
    """Yield what comes, as it comes, until its end. Leaves the descriptor as blocking as it was.

    It is shared with whoever started us: set to non-blocking it would break the shell behind.
    """
    loop = asyncio.get_running_loop()
    while True:
        ready = asyncio.Event()
        try:
            loop.add_reader(descriptor, ready.set)
        except PermissionError:
            pass  # a file, which is always ready
        else:
            try:
                await ready.wait()
            finally:
                loop.remove_reader(descriptor)
        try:
            data = os.read(descriptor, PIECE_BYTES)
        except OSError:
            return  # a terminal that was hung up
        if not data:
            return
        yield data


def write(data: bytes, *, to_stderr: bool = False) -> None:
    """Write bytes at once. Raises BrokenPipeError where the reader is gone."""
    stream = (sys.stderr if to_stderr else sys.stdout).buffer
    stream.write(data)
    stream.flush()
