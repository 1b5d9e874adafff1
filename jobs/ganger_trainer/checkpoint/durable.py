"""Writes that are on the disk when they return.

fsync before rename, and fsync of the parent after it: a file system may commit a rename before the data it names.
Every call that touches the disk goes through `os` by name, so that tests can cut the power at each of them.
"""

import errno
import hashlib
import io
import os
import stat
import threading
from pathlib import Path
from typing import Final

CHUNK_BYTES: Final = 8 << 20  # of one system call; what is smaller is not worth a thread that hashes it


def write(path: Path, data: bytes | memoryview) -> str:
    """Write `data` to `path`, fsync it, and return its SHA-256. Raises OSError.

    Large data is hashed on a thread meanwhile: a core hashes no faster than a good disk writes.
    """
    view = memoryview(data).cast("B")
    digest = hashlib.sha256()
    hashing = threading.Thread(target=digest.update, args=(view,), name="hash", daemon=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        if len(view) > CHUNK_BYTES:
            hashing.start()  # releases the GIL, and so does the write
        else:
            digest.update(view)
        for start in range(0, len(view), CHUNK_BYTES):
            chunk = view[start : start + CHUNK_BYTES]
            while chunk:
                chunk = chunk[os.write(descriptor, chunk) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
        if hashing.ident is not None:
            hashing.join()  # after a failure too: the caller may reuse `data`
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
