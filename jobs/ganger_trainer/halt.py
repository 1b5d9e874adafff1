"""The end without a last checkpoint: the ranks are killed and nothing half written is left."""

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterable
from typing import Final

from ganger_trainer.checkpoint import layout
from ganger_trainer.environment import Worker

KILLED_WITHIN_SECONDS: Final = 1.0  # a process in a call to a dead disk or GPU may not go at all


def now(spec: Worker, pids: Iterable[int]) -> None:
    """Kill the processes, and remove the checkpoint that they were writing. Never raises.

    Only the pod of rank 0 removes anything, once rank 0 is gone: it alone commits, so nothing that could still become a
    checkpoint is lost. What stays because of a process that does not die is swept by the next attempt.
    """
    killed = [_kill(pid) for pid in pids]
    deadline = time.monotonic() + KILLED_WITHIN_SECONDS
    gone = [_is_gone(descriptor, deadline) for descriptor in killed if descriptor is not None]
    if spec.worker == 0 and spec.task is not None and spec.checkpoint_dir is not None and all(gone):
        with contextlib.suppress(OSError):
            layout.sweep(spec.checkpoint_dir, spec.attempt)


def _kill(pid: int) -> int | None:
    """Kill a process and return a descriptor of it, None where there is none any more."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return None
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    return descriptor


def _is_gone(descriptor: int, deadline: float) -> bool:
    """Wait for the end of a process; its parent, the elastic agent, reaps it."""
    try:
        return bool(select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0])
    finally:
        os.close(descriptor)
