"""SIGTERM in a worker process: a flag, nothing else.

A handler runs between two bytecodes of whatever the loop is doing, so it must not save, log or exit by itself.
"""

import os
import signal
from types import FrameType

_requested = False


def install() -> None:
    """Turn SIGTERM into a request to stop, and SIGINT too unless it says that the supervisor has died."""
    parent = os.getppid()

    def on_terminate(_number: int, _frame: FrameType | None) -> None:
        global _requested
        _requested = True

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        if os.getppid() != parent:  # torch asks the kernel for SIGINT when the parent dies
            os._exit(128 + number)
        on_terminate(number, frame)

    signal.signal(signal.SIGTERM, on_terminate)
    signal.signal(signal.SIGINT, on_interrupt)


def uninstall() -> None:
    """Let SIGTERM and SIGINT end the process again: the work is done."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def stop_requested() -> bool:
    """Return True once this process was asked to stop."""
    return _requested
