"""Where everything lives that is built or run: one cache outside the source tree."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ganger_dev.errors import DevError

GIB = 1 << 30


def repository() -> Path:
    """Return the root of the source tree that this package belongs to."""
    return Path(__file__).resolve().parents[2]


def cache() -> Path:
    """Return the cache root, `$GANGER_CACHE` or `~/.cache/ganger`, created when missing."""
    root = Path(os.environ.get("GANGER_CACHE") or Path.home() / ".cache" / "ganger").expanduser().resolve()
    root.mkdir(parents=True, exist_ok=True)
    return root


def below_cache(*parts: str) -> Path:
    """Return a folder below the cache root, created when missing."""
    path = cache().joinpath(*parts)
    path.mkdir(parents=True, exist_ok=True)
    return path


def write(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write `text` unless the file says so already: some programs end when their configuration is written again."""
    if path.exists() and path.read_text() == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=mode)
    path.write_text(text)


def require_free(path: Path, gib: float, purpose: str) -> None:
    """Raise DevError unless the disk that holds `path` has `gib` GiB free for `purpose`."""
    free = shutil.disk_usage(path).free / GIB
    if free < gib:
        raise DevError(
            f"not enough disk for {purpose}",
            f"{path} has {free:.1f} GiB free and about {gib:g} GiB are needed",
            "Free some space, or point GANGER_CACHE at a larger disk.",
        )


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the machine-wide lock `name`, so that two makes never do the same work at once.

    Waits for the holder and says so; the kernel drops the lock when its holder dies.
    """
    with (below_cache("locks") / f"{name}.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another make that holds the {name} lock", flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
