"""The folder of one export: written under another name, and renamed when everything in it is proved.

`onnx.part-2` is being written by try 2, or is what it left; `onnx` is complete, with its card. An export that was there
before stays until the new one is ready. Every try has a name of its own: one that is still alive on a lost node
disturbs no other.
"""

import os
import re
import shutil
from pathlib import Path

from ganger_trainer.checkpoint import durable
from ganger_trainer.export import card


class Folder:
    """Where one file is made. target: its name when it is complete."""

    def __init__(self, target: Path, attempt: int) -> None:
        self.target = target
        self.part = target.with_name(f"{target.name}.part-{attempt}")
        self._old = target.with_name(f"{target.name}.old")
        self._attempt = attempt

    def begin(self) -> Path:
        """Return the empty folder to write to; what this and earlier tries left there is gone. Raises OSError."""
        self.target.parent.mkdir(parents=True, exist_ok=True)
        if self._old.exists():  # a try ended between the two renames of `publish`
            if self.target.exists():
                shutil.rmtree(self._old)
            else:
                durable.rename(self._old, self.target)
        for path in self.target.parent.iterdir():
            left = re.fullmatch(rf"{re.escape(self.target.name)}\.part-(\d+)", path.name)
            if left is not None and int(left[1]) <= self._attempt:
                shutil.rmtree(path)
        self.part.mkdir()
        return self.part

    def files(self, first: str) -> tuple[card.File, ...]:
        """Return every file that was written, `first` first, after it is on the disk. Raises OSError."""
        names = sorted((path.name for path in self.part.iterdir()), key=lambda name: (name != first, name))
        return tuple(self._sealed(self.part / name) for name in names)

    def publish(self, complete: card.Card) -> None:
        """Put the card beside the file and give the folder its name. Raises OSError."""
        durable.write(self.part / card.NAME, card.encode(complete))
        durable.write(self.part / card.PEOPLE, card.for_people(complete).encode())
        durable.sync_directory(self.part)
        if self.target.exists():
            durable.rename(self.target, self._old)
        durable.rename(self.part, self.target)
        shutil.rmtree(self._old, ignore_errors=True)

    def _sealed(self, path: Path) -> card.File:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return card.File(name=path.name, bytes=path.stat().st_size, sha256=durable.sha256(path))
