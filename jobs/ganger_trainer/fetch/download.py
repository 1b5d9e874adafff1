"""One object, from its source onto the disk: resumed where it broke, as long as it is still the same.

What the disk has for sure is noted every so many bytes; a resume cuts the file there and hashes it again, so that the
digest is of the bytes that are kept, whatever a crash left of the others.
"""

import hashlib
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from ganger_trainer.checkpoint.durable import CHUNK_BYTES
from ganger_trainer.fetch import order
from ganger_trainer.fetch.order import ChangedError, LaterError, Limits
from ganger_trainer.fetch.progress import Progress
from ganger_trainer.fetch.remote import Body, Object, Remote
from ganger_trainer.fetch.store import Note, Work

_CHANGES_MAX: Final = 5  # of what is fetched, while it is fetched


class Download:
    """Fetches one object after another into one folder. Threads may share it.

    check: raises where the fetch is to stop, room where so many bytes have none. trusted: a digest will be asked for,
    so the rest of what has no version may be taken as the rest. blind: the objects of which that was done.
    """

    def __init__(
        self,
        remote: Remote,
        work: Work,
        limits: Limits,
        progress: Progress,
        *,
        check: Callable[[], None],
        room: Callable[[int], None],
        trusted: bool,
    ) -> None:
        self.blind: set[str] = set()
        self._remote = remote
        self._work = work
        self._limits = limits
        self._progress = progress
        self._check = check
        self._room = room
        self._trusted = trusted

    def fetch(self, found: Object) -> Note:
        """Return the note of the object, which is then on the disk whole. Raises TrainerError, OSError.

        A server that fails, or a connection that breaks, is tried again, later and later; given up is when no byte came
        for `Limits.stall`.
        """
        kept = self._work.finished(found)
        if kept is not None:
            self._progress.at(found.path, kept.bytes)
            return kept
        last, tries, changes = time.monotonic(), 0, 0
        while True:
            self._check()
            before = self._have(found)
            try:
                return self._try(found)
            except ChangedError:
                self._work.forget(found.path)
                found = msgspec.structs.replace(found, version="", size=-1)
                changes += 1
                if changes > _CHANGES_MAX:
                    raise order.invalid(found.path, "it changes again and again while it is fetched") from None
            except LaterError as error:
                now = time.monotonic()
                if self._have(found) > before:
                    last, tries = now, 0
                if now - last > self._limits.stall:
                    raise order.unreachable(found.path, now - last, str(error)) from None
                pause = min(self._limits.backoff_max, self._limits.backoff * 2.0 ** min(tries, 16))
                pause = max(error.seconds, pause * random.uniform(0.5, 1.0))  # noqa: S311 -- so that not all come at once
                print(f"{found.path}: {error}; again in {pause:.1f} s", flush=True)
                tries += 1
                self._sleep(pause)

    def _have(self, found: Object) -> int:
        note = self._work.note(found.path)
        return note.bytes if note is not None else 0

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._check()
            time.sleep(min(left, 0.5))

    def _try(self, found: Object) -> Note:
        note, digest = self._resumable(found)
        self._progress.at(found.path, note.bytes)
        if note.bytes and note.bytes == found.size:
            return self._finish(note, digest)
        body = self._remote.open(found, note.bytes, note.version or found.version)
        try:
            if body.start != note.bytes:
                note, digest = Note(path=found.path, version=""), hashlib.sha256()
            elif note.bytes and not note.version:
                self.blind.add(found.path)
            note.version = body.version or note.version
            self._progress.expect(found.path, body.total)
            self._room(body.total - note.bytes)
            self._receive(body, note, digest)
        finally:
            body.close()
        return self._finish(note, digest)

    def _resumable(self, found: Object) -> tuple[Note, Any]:
        """Return what is here of the object, cut to what the disk has for sure, and its digest so far."""
        note, digest = self._work.note(found.path), hashlib.sha256()
        nothing = Note(path=found.path, version=found.version)
        if note is None or note.sha256 or not note.bytes or not (note.version or self._trusted):
            return nothing, digest
        if found.version and note.version != found.version:
            return nothing, digest
        part = self._work.part(found.path)
        if not part.exists() or part.stat().st_size < note.bytes:
            return nothing, digest
        with part.open("r+b") as file:
            file.truncate(note.bytes)
            while chunk := file.read(CHUNK_BYTES):
                self._check()
                digest.update(chunk)
        print(f"{found.path}: {note.bytes} bytes are here already", flush=True)
        return note, digest

    def _receive(self, body: Body, note: Note, digest: Any) -> None:
        here = note.bytes
        descriptor = _open(self._work.part(note.path), here)
        try:
            for chunk in body.chunks():
                self._check()
                digest.update(chunk)
                _write(descriptor, chunk)
                here += len(chunk)
                self._progress.at(note.path, here)
                if here - note.bytes >= self._limits.durable_bytes:
                    self._keep(descriptor, note, here)
            _require_end(body, here)
            os.fsync(descriptor)
            note.bytes = here
        except LaterError:
            self._keep(descriptor, note, here)
            raise
        finally:
            os.close(descriptor)

    def _keep(self, descriptor: int, note: Note, here: int) -> None:
        os.fsync(descriptor)
        note.bytes = here
        self._work.write_note(note)

    def _finish(self, note: Note, digest: Any) -> Note:
        note.sha256 = digest.hexdigest()
        self._work.finish(note)
        return note


def _require_end(body: Body, here: int) -> None:
    if 0 <= body.total < here:
        raise ChangedError
    if here < body.total:
        raise LaterError(f"the connection ended after {here} of {body.total} bytes")


def _open(path: Path, start: int) -> int:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    os.ftruncate(descriptor, start)
    os.lseek(descriptor, start, os.SEEK_SET)
    return descriptor


def _write(descriptor: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]
