"""Who fetches, of all who want the same: one, until it is done or dead.

A lease is a file of the cache whose number grows with each holder. Creating the next number is atomic, so of two that
take over one wins; and a holder that was only slow sees a greater number than its own and stops. No clock of another
machine is read: whoever waits measures how long the file says the same. flock is not used: not every shared file system
has it between nodes.
"""

import contextlib
import json
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from ganger_trainer.fetch.order import Limits

_BYTES: Final = 512  # of the file, always: to beat needs no room on a disk that is full


class LostError(Exception):
    """Somebody else fetches now."""


class Lease:
    """A lease that is held. Use it in a `with`: it says that its holder lives, and is given back at the end.

    progress: what those who wait are told.
    """

    def __init__(self, path: Path, number: int, who: str, limits: Limits) -> None:
        self.number = number
        self.progress = ""
        self._path = path
        self._who = who
        self._limits = limits
        self._beats = 0
        self._last = time.monotonic()
        self._lost = False
        self._end = threading.Event()
        self._lock = threading.Lock()
        self._beating = threading.Thread(target=self._beat, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._beating.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end.set()
        self._beating.join()
        with contextlib.suppress(OSError):
            self._write(released=True)

    def check(self) -> None:
        """Raise LostError when the lease is not held any more. Cheap: it looks at the disk after a long silence alone.

        A process that was stopped for long is the case in question: it must not write before it has looked.
        """
        if self._lost:
            raise LostError(f"{self._path.name} is not the newest any more")
        if time.monotonic() - self._last > self._limits.lease / 2:
            self.confirm()

    def confirm(self) -> None:
        """Look, and say that the holder lives: before a step that cannot be taken back. Raises LostError, OSError."""
        with self._lock:
            folder, key = self._path.parent, self._path.name.rpartition(".lease.")[0]
            if max(numbers(folder, key), default=-1) != self.number:
                self._lost = True
                raise LostError(f"{self._path.name} is not the newest any more")
            self._write(released=False)
            self._last = time.monotonic()

    def is_held(self) -> bool:
        """Whether it is still held, as far as the disk tells."""
        with contextlib.suppress(OSError):
            try:
                self.confirm()
            except LostError:
                return False
        return True

    def _beat(self) -> None:
        while not self._end.wait(self._limits.beat) and not self._lost:
            with contextlib.suppress(OSError, LostError):  # a disk that does not answer: `check` judges by the time
                self.confirm()

    def _write(self, *, released: bool) -> None:
        self._beats += 1
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(descriptor, _text(self._who, self._beats, self.progress, released=released), 0)
        finally:
            os.close(descriptor)


def _text(who: str, beats: int, progress: str, *, released: bool) -> bytes:
    said = {"who": who[:128], "beats": beats, "progress": progress[:200], "released": released}
    return json.dumps(said).encode().ljust(_BYTES)[:_BYTES]


def numbers(folder: Path, key: str) -> list[int]:
    """Return the numbers of all leases of `key` that lie in the folder."""
    names = (re.fullmatch(rf"{re.escape(key)}\.lease\.(\d+)", name) for name in os.listdir(folder))  # noqa: PTH208
    return sorted(int(name[1]) for name in names if name)


def acquire(
    folder: Path, key: str, who: str, limits: Limits, *, done: Callable[[], bool], say: Callable[[str], None]
) -> Lease | None:
    """Wait for the lease of `key`. Returns None when what it is for is done. Raises OSError.

    A lease of the same holder is one of an earlier life of it, and taken over at once.
    """
    seen: tuple[int, bytes] = (-1, b"")
    since = time.monotonic()
    told = ""
    while not done():
        newest = max(numbers(folder, key), default=-1)
        content = _read(folder / f"{key}.lease.{newest}")
        if (newest, content) != seen:
            seen, since = (newest, content), time.monotonic()
        said = _said(content)
        is_free = newest < 0 or said.get("released") is True or said.get("who") == who
        if is_free or time.monotonic() - since > limits.lease:
            lease = _create(folder, key, newest + 1, who, limits)
            if lease is None:
                continue  # another one was faster
            if done():  # it was done, and the leases removed, between the two looks
                remove(folder, key)
                return None
            return lease
        progress = f"{said.get('who', 'another worker')} fetches it: {said.get('progress') or 'just begun'}"
        if progress != told:
            say(progress)
            told = progress
        time.sleep(min(limits.beat, 2.0) / 2)
    return None


def _create(folder: Path, key: str, number: int, who: str, limits: Limits) -> Lease | None:
    path = folder / f"{key}.lease.{number}"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        return None
    try:
        os.write(descriptor, _text(who, 0, "", released=False))
    finally:
        os.close(descriptor)
    for older in numbers(folder, key):
        if older < number:
            (folder / f"{key}.lease.{older}").unlink(missing_ok=True)
    return Lease(path, number, who, limits)


def remove(folder: Path, key: str) -> None:
    """Remove every lease of `key`: what they were for is done."""
    for number in numbers(folder, key):
        (folder / f"{key}.lease.{number}").unlink(missing_ok=True)


def _read(path: Path) -> bytes:
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""


def _said(content: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        said = json.loads(content)
        if isinstance(said, dict):
            return said
    return {}
