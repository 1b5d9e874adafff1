"""A wish for other live settings, from the supervisor to rank 0.

The wish is a file beside the reports' socket, always whole. Rank 0 looks at it when the ranks meet: one system
call some four times a second, and none in between.
"""

import contextlib
import os
from pathlib import Path

from ganger_trainer.environment import HELPER_SOCKET


class LiveRequests:
    """One end of it, either one. `socket` is the path of the reports' socket; None or "" means that nobody asks."""

    def __init__(self, socket: str | None) -> None:
        self._path = Path(socket).with_name("live") if socket else None
        self._taken = (0, 0)

    @classmethod
    def from_environment(cls) -> "LiveRequests":
        """Return the end of a process that the supervisor started, deaf outside of Ganger."""
        return cls(os.environ.get(HELPER_SOCKET))

    def ask(self, text: str) -> None:
        """Ask for the settings in `text`, a JSON object. Raises OSError if the file cannot be written."""
        if self._path is not None:
            _replace(self._path, text)

    def asked(self) -> str | None:
        """Return what was asked for last, None if nothing was. Never raises."""
        return None if self._path is None else _read(self._path)

    def is_new(self) -> bool:
        """Return True if something was asked for since `take`. Never raises."""
        return self._seal() != self._taken

    def take(self) -> str | None:
        """Return what was asked for last, and take it as done. Never raises."""
        self._taken = self._seal()  # first: what is written meanwhile is new once more
        return self.asked()

    def bequeath(self, note: Path) -> None:
        """Leave what was asked for to the supervisor in the next container of this pod. Raises OSError."""
        text = self.asked()
        if text is not None:
            _replace(_beside(note), text)

    def inherit(self, note: Path) -> None:
        """Ask for what the supervisor before this one left. Never raises."""
        text = _read(_beside(note))
        if text is not None:
            with contextlib.suppress(OSError):
                self.ask(text)

    def _seal(self) -> tuple[int, int]:
        if self._path is None:
            return 0, 0
        try:
            found = os.stat(self._path)  # noqa: PTH116 - called in the loop
        except OSError:
            return 0, 0
        return found.st_ino, found.st_mtime_ns


def _beside(note: Path) -> Path:
    return note.with_name(f"{note.name}-live")


def _replace(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(text)
    part.replace(path)


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except (OSError, ValueError):
        return None
