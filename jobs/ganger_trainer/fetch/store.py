"""The cache of what was fetched: one folder for each key, which is there whole or not at all.

    KEY/files/...    what a worker sees           KEY/record.json   what it is and where it came from
    KEY.work.N/      of the holder of lease N, who took it over from N-1 with all that was there
    KEY.lease.N      see `lease`                   KEY.bad/          what did not have the promised digest

A file counts only with its note, which is written after it is on the disk: whatever dies when, what is noted is there.
"""

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from ganger_trainer.checkpoint import durable
from ganger_trainer.fetch import order
from ganger_trainer.fetch.order import Order
from ganger_trainer.fetch.remote import Object

_RESERVE_BYTES: Final = 64 << 20  # of a volume that others write to as well


class Note(Struct, kw_only=True):
    """What is known of one object here. bytes: so many of it are safely on the disk. sha256: of all, "" until then."""

    path: str
    version: str
    bytes: int = 0
    sha256: str = ""


class Work:
    """The folder in which one order is put together."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = root / "files"
        self._parts = root / "parts"
        self._notes = root / "notes"
        for folder in (self.files, self._parts, self._notes):
            folder.mkdir(parents=True, exist_ok=True)

    def part(self, path: str) -> Path:
        """Where the bytes of an object go that is not whole."""
        return self._parts / _short(path)

    def note(self, path: str) -> Note | None:
        """Return what was noted of an object, None for nothing."""
        try:
            return msgspec.json.decode((self._notes / _short(path)).read_bytes(), type=Note)
        except (OSError, msgspec.MsgspecError):
            return None

    def write_note(self, note: Note) -> None:
        """Note it. Raises OSError."""
        durable.replace_file(self._notes / _short(note.path), msgspec.json.encode(note))

    def forget(self, path: str) -> None:
        """Begin anew with an object."""
        (self._notes / _short(path)).unlink(missing_ok=True)
        self.part(path).unlink(missing_ok=True)
        self.target(path).unlink(missing_ok=True)

    def target(self, path: str) -> Path:
        """Where an object goes that is whole."""
        return self.files / path

    def finished(self, found: Object) -> Note | None:
        """Return the note of an object that is here whole, in the version that is there now."""
        note = self.note(found.path)
        if note is None or not note.sha256 or (found.version and note.version and note.version != found.version):
            return None
        try:
            return note if self.target(found.path).stat().st_size == note.bytes else None
        except OSError:
            return None

    def finish(self, note: Note) -> None:
        """Give the part, which is whole and on the disk, its place. Raises OSError."""
        target = self.target(note.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        durable.rename(self.part(note.path), target)
        self.write_note(note)

    def clear(self) -> None:
        """Remove what only the making needed."""
        for folder in (self._parts, self._notes):
            shutil.rmtree(folder, ignore_errors=True)


class Store:
    """The cache at one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def record(self, wanted: Order) -> dict[str, Any] | None:
        """Return what is said of an order that is here whole, None where it is not."""
        try:
            found = msgspec.json.decode((self.root / wanted.key / "record.json").read_bytes(), type=dict[str, Any])
        except (OSError, msgspec.MsgspecError):
            return None
        return found

    def work(self, wanted: Order, number: int) -> Work:
        """Return the folder of the holder of lease `number`, with all that its predecessors had. Raises OSError."""
        mine = self.root / f"{wanted.key}.work.{number}"
        others = sorted(self._works(wanted), key=lambda path: int(path.suffix[1:]))
        if others and others[-1] != mine:
            os.rename(others.pop(), mine)  # noqa: PTH104 -- as `durable` has it
        for path in others:
            if path != mine:
                shutil.rmtree(path, ignore_errors=True)
        return Work(mine)

    def commit(self, wanted: Order, work: Work, digest: str, sources: int) -> None:
        """Make it the folder of its key, in one rename. Raises OSError, and TrainerError where that place is taken."""
        files, size = 0, 0
        for path in walk(work.files):
            files, size = files + 1, size + path.stat().st_size
        said = {
            "url": wanted.url.partition("?")[0],
            "sha256": digest,
            "sources": sources,
            "files": files,
            "bytes": size,
        }
        work.clear()
        durable.replace_file(work.root / "record.json", msgspec.json.encode(said))
        durable.sync_directory(work.files)
        try:
            durable.rename(work.root, self.root / wanted.key)
        except OSError:
            if self.record(wanted) is None:
                why = f"{wanted.key} in the cache is there and was not made by a fetch: remove it"
                raise order.no_room(wanted.name, why) from None

    def quarantine(self, wanted: Order, work: Work) -> Path:
        """Put what is not as promised where nobody reads it, in the place of the one before. Raises OSError."""
        bad = self.root / f"{wanted.key}.bad"
        shutil.rmtree(bad, ignore_errors=True)
        durable.rename(work.root, bad)
        return bad

    def require_room(self, wanted: Order, size: int) -> None:
        """Raise TrainerError where `size` further bytes have no room."""
        try:
            free = shutil.disk_usage(self.root).free - _RESERVE_BYTES
        except OSError:
            return
        if size > free:
            why = f"{size} further bytes are needed and {max(0, free)} are free: use a larger volume, or remove from it"
            raise order.no_room(wanted.name, why)

    def _works(self, wanted: Order) -> Iterator[Path]:
        pattern = re.compile(rf"{re.escape(wanted.key)}\.work\.\d+")
        return (path for path in self.root.iterdir() if pattern.fullmatch(path.name))


def walk(folder: Path) -> Iterator[Path]:
    """Yield every file below a folder; links are not followed."""
    for at, _, names in os.walk(folder):
        yield from (Path(at, name) for name in names if not os.path.islink(os.path.join(at, name)))  # noqa: PTH114, PTH118


def listed(notes: list[Note]) -> str:
    """Return the SHA-256 of the list that `sha256sum` writes of these files, sorted by name in the C locale."""
    lines = sorted((note.path.encode(), note.sha256) for note in notes)
    return hashlib.sha256(b"".join(b"%s  %s\n" % (digest.encode(), path) for path, digest in lines)).hexdigest()


def sync_tree(folder: Path, check: Callable[[], None]) -> None:
    """Make every file and folder durable. Raises OSError, and what `check` raises."""
    for at, _, names in os.walk(folder, topdown=False):
        for name in names:
            check()
            with contextlib.suppress(FileNotFoundError):
                path = Path(at, name)
                if path.is_symlink():
                    continue
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        durable.sync_directory(Path(at))


def _short(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()[:32]
