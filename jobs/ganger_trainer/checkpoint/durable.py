"""Writes that are on the disk when they return.

fsync before rename, and fsync of the parent after it: a file system may commit a rename before the data it names.
Every call that touches the disk goes through `os` by name, so that tests can cut the power at each of them.
"""

import errno
import hashlib
import io
import os
import stat
from pathlib import Path
from typing import Final

CHUNK_BYTES: Final = 8 << 20  # large enough to be one system call per 8 MiB, small enough to hash while it is in cache


def write(path: Path, data: bytes | memoryview) -> str:
    """Write `data` to `path`, fsync it, and return its SHA-256. Raises OSError."""
    view = memoryview(data).cast("B")
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        for start in range(0, len(view), CHUNK_BYTES):
            chunk = view[start : start + CHUNK_BYTES]
            digest.update(chunk)  # releases the GIL, and so does the write
            while chunk:
                chunk = chunk[os.write(descriptor, chunk) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return digest.hexdigest()


def sync_directory(path: Path) -> None:
    """Make the entries of the directory `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename(source: Path, target: Path) -> None:
    """Rename and make it durable. On one file system this is atomic: readers see the old state or the new one."""
    os.rename(source, target)  # noqa: PTH104 - through `os`, see above
    sync_directory(target.parent)


def replace_file(path: Path, data: bytes) -> None:
    """Put `data` at `path` atomically and durably."""
    temporary = path.with_name(f"{path.name}.new-{os.getpid()}")
    try:
        write(temporary, data)
        os.replace(temporary, path)  # noqa: PTH105 - through `os`, see above
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def open_regular(path: Path) -> io.BufferedReader:
    """Open the regular file at `path` for reading.

    Raises OSError for anything else: a link may lead out of the checkpoint, and a pipe has no end.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def sha256(path: Path) -> str:
    """Return the SHA-256 of the regular file at `path`. Raises OSError."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
