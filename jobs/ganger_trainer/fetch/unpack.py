"""Archives, unpacked so that nothing of them lies outside of their folder.

Regular files, folders, and links that stay inside; devices, pipes and absolute or climbing paths are refused. Nothing
is written through a link: links are made when every file is there, and then each must lead to something inside. Owners
and modes of the archive mean nothing here, but for the bit that makes a file a program.
"""

import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from lzma import LZMAError
from pathlib import Path
from typing import IO, Final

from ganger_trainer.checkpoint.durable import CHUNK_BYTES
from ganger_trainer.fetch import order

_TAR: Final = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_ENTRIES_MAX: Final = 10_000_000
_BROKEN: Final = (tarfile.TarError, zipfile.BadZipFile, zlib.error, LZMAError, EOFError, NotImplementedError)


def is_archive(name: str) -> bool:
    """Whether a file of this name is unpacked."""
    return name.lower().endswith((*_TAR, ".zip"))


class Unpacking:
    """One archive into one new folder.

    what: its name, for people. max_bytes: of all files together. check: raises where it is to stop; called for every
    piece.
    """

    def __init__(self, what: str, folder: Path, max_bytes: int, check: Callable[[], None]) -> None:
        self._what = what
        self._root = folder
        self._max = max_bytes
        self._check = check
        self._bytes = 0
        self._entries = 0
        self._links: list[tuple[str, str]] = []

    def unpack(self, archive: Path) -> None:
        """Unpack it. Raises UserError for what is no archive or must not be unpacked, OSError for the disk's sake."""
        shutil.rmtree(self._root, ignore_errors=True)
        self._root.mkdir(parents=True)
        try:
            if archive.name.lower().endswith(".zip"):
                self._zip(archive)
            else:
                self._tar(archive)
            self._make_links()
        except _BROKEN as error:
            raise order.invalid(self._what, f"the archive is damaged ({type(error).__name__}: {error})") from None
        except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
            why = f"two members of the archive stand in each other's way, at {Path(error.filename or '').name!r}"
            raise order.invalid(self._what, why) from None

    def _tar(self, archive: Path) -> None:
        with tarfile.open(archive, "r:*") as tar:
            for member in tar:
                path = self._place(member.name)
                if member.isdir():
                    path.mkdir(parents=True, exist_ok=True)
                elif member.issym():
                    self._links.append((member.name, member.linkname))
                elif member.islnk():
                    self._copy(self._place(member.linkname), path)
                elif member.isreg():
                    source = tar.extractfile(member)
                    assert source is not None
                    self._write(path, source, executable=bool(member.mode & 0o100))
                else:
                    raise self._unsafe(member.name, "it is a device or a pipe")

    def _zip(self, archive: Path) -> None:
        with zipfile.ZipFile(archive) as found:
            for member in found.infolist():
                path, mode = self._place(member.filename), member.external_attr >> 16
                if member.flag_bits & 1:
                    raise order.invalid(self._what, "the archive has a password: unpack it, or set unpack: None")
                if member.is_dir():
                    path.mkdir(parents=True, exist_ok=True)
                elif stat.S_ISLNK(mode):
                    self._links.append((member.filename, found.read(member).decode(errors="surrogateescape")))
                else:
                    with found.open(member) as source:
                        self._write(path, source, executable=bool(mode & 0o100))

    def _place(self, name: str) -> Path:
        """Return where a member goes."""
        self._check()
        self._entries += 1
        if self._entries > _ENTRIES_MAX:
            raise self._unsafe(name, f"the archive has more than {_ENTRIES_MAX} members")
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts or "\0" in name:
            raise self._unsafe(name, "its path leads out of the archive")
        return self._root.joinpath(*parts)

    def _write(self, path: Path, source: IO[bytes], *, executable: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # a later member of the same name stands for the earlier one
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "wb") as target:
            while chunk := source.read(CHUNK_BYTES):
                self._check()
                self._bytes += len(chunk)
                if self._bytes > self._max:
                    raise order.too_large(f"{self._what}, unpacked,", self._bytes, self._max)
                target.write(chunk)
        if executable:
            path.chmod(0o755)

    def _copy(self, source: Path, path: Path) -> None:
        """A hard link is another copy: of what was unpacked before it, and of nothing else."""
        if not source.is_file():
            raise self._unsafe(path.name, "it is a link to what is not in the archive before it")
        with source.open("rb") as file:
            self._write(path, file, executable=bool(source.stat().st_mode & 0o100))

    def _make_links(self) -> None:
        root = os.path.realpath(self._root)
        made: list[tuple[str, Path]] = []
        for name, target in self._links:
            path = self._place(name)
            if target.startswith("/"):
                raise self._unsafe(name, f"it is a link to {target:.200}")
            if os.path.realpath(path.parent) != os.path.join(root, *path.relative_to(self._root).parent.parts):  # noqa: PTH118
                raise self._unsafe(name, "it lies below a link")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.symlink_to(target)
            made.append((name, path))
        for name, path in made:
            end = os.path.realpath(path)
            if end != root and not end.startswith(f"{root}/"):
                raise self._unsafe(name, "it is a link that leads out of the archive")

    def _unsafe(self, name: str, why: str) -> Exception:
        fix = "pack it anew without, or set unpack: None"
        return order.invalid(self._what, f"{name!r:.200} is not unpacked: {why}; {fix}")
