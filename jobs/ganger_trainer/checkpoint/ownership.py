"""Whose checkpoint directory this is, and which attempt may write to it.

LOCK holds the job (namespace, name, UID): another job is refused, a successor of the same name takes over.
FENCE holds the highest attempt seen: a worker that comes back from a lost node finds a higher one there and writes
nothing. Both are read again before each commit, under flock, which closes the gap between check and rename where flock
works.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from ganger_trainer.checkpoint import durable, layout
from ganger_trainer.failures import FencedError, UserError

MUTEX: Final = ".mutex"


class Owner(Struct, frozen=True, kw_only=True, rename="camel"):
    """One attempt of one job. Serialised into LOCK (without attempt) and FENCE."""

    namespace: str
    job: str
    job_uid: str
    attempt: int = 0


def acquire(directory: Path, mine: Owner) -> None:
    """Make `mine` the owner of `directory`.

    Raises UserError (BAD_CONFIG, CheckpointDirInUse) if it belongs to another job, FencedError if a later attempt of
    the same job has been here, OSError if the directory cannot be written.
    """
    with _mutex(directory):
        holder = _read(directory / layout.LOCK)
        if holder is not None and (holder.namespace, holder.job) != (mine.namespace, mine.job):
            raise UserError(
                "CheckpointDirInUse",
                f"{directory} belongs to job {holder.namespace}/{holder.job} (UID {holder.job_uid}): give this job "
                f"a path of its own, or delete the file {layout.LOCK} there if that job is gone and its "
                "checkpoints are wanted",
            )
        if holder is not None and holder.job_uid == mine.job_uid:
            _check_fence(directory, mine)
        else:
            durable.replace_file(directory / layout.LOCK, msgspec.json.encode(mine))
        durable.replace_file(directory / layout.FENCE, msgspec.json.encode(mine))


@contextlib.contextmanager
def held(directory: Path, mine: Owner) -> Iterator[None]:
    """Hold the directory for one commit. Raises FencedError if `mine` no longer owns it."""
    with _mutex(directory):
        holder = _read(directory / layout.LOCK)
        if holder is None or holder.job_uid != mine.job_uid:
            found = "no job" if holder is None else f"UID {holder.job_uid}"
            raise FencedError(f"{directory} is now owned by {found}, this is UID {mine.job_uid}: nothing was written")
        _check_fence(directory, mine)
        yield


def _check_fence(directory: Path, mine: Owner) -> None:
    fence = _read(directory / layout.FENCE)
    if fence is not None and fence.job_uid == mine.job_uid and fence.attempt > mine.attempt:
        raise FencedError(
            f"attempt {fence.attempt} owns {directory}, this is attempt {mine.attempt}: nothing was written"
        )


def _read(path: Path) -> Owner | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Owner)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        raise UserError(
            "CheckpointDirInUse", f"{path} cannot be read ({error}): delete it if no other job writes to this directory"
        ) from None


@contextlib.contextmanager
def _mutex(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory / MUTEX, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        # A file system without locks keeps the order of checks, which leaves a gap of one rename.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
