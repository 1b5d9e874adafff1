"""The names inside a checkpoint directory, and what is there now.

A name states what its directory is worth: only a bare `step_N` is a checkpoint. Times are never compared, steps are.
"""

import re
import shutil
from pathlib import Path
from typing import Final

from msgspec import Struct

from ganger_trainer.checkpoint import durable

MANIFEST: Final = "manifest.json"
LOCK: Final = "LOCK"
FENCE: Final = "FENCE"

_COMMITTED: Final = re.compile(r"step_(\d{1,18})")
_TEMPORARY: Final = re.compile(r"step_\d{1,18}\.tmp-(\d{1,9})")
_CORRUPT: Final = re.compile(r"step_\d{1,18}\.corrupt(-\d+)?")
_LEAVING: Final = re.compile(r"step_\d{1,18}\.(removed|superseded)")


class Listing(Struct, frozen=True):
    """What one look at the directory found. `steps` are committed ones, newest first."""

    steps: tuple[int, ...]
    temporary: tuple[tuple[str, int], ...]  # name, attempt
    corrupt: tuple[str, ...]
    leaving: tuple[str, ...]


def committed(step: int) -> str:
    """Return the name of the committed checkpoint of `step`."""
    return f"step_{step}"


def temporary(step: int, attempt: int) -> str:
    """Return the name under which `attempt` writes the checkpoint of `step`."""
    return f"step_{step}.tmp-{attempt}"


def shard(rank: int) -> str:
    """Return the name of the file that `rank` writes."""
    return f"rank-{rank:05d}.safetensors"


def look(directory: Path) -> Listing:
    """Return what lies in `directory`; unknown names are ignored. One directory read."""
    names = sorted(entry.name for entry in directory.iterdir())
    known = set(names)
    steps = {int(match[1]) for name in names if (match := _COMMITTED.fullmatch(name))}  # step_007 is none of ours
    return Listing(
        steps=tuple(sorted((step for step in steps if committed(step) in known), reverse=True)),
        temporary=tuple((name, int(match[1])) for name in names if (match := _TEMPORARY.fullmatch(name))),
        corrupt=tuple(name for name in names if _CORRUPT.fullmatch(name)),
        leaving=tuple(name for name in names if _LEAVING.fullmatch(name)),
    )


def sweep(directory: Path, attempt: int) -> None:
    """Remove what earlier attempts, and an earlier life of this one, left half written or half removed."""
    listing = look(directory)
    mine = [name for name, owner in listing.temporary if owner <= attempt]
    removed = [name for name in listing.leaving if name.endswith(".removed")]
    for name in (*mine, *removed):
        shutil.rmtree(directory / name, ignore_errors=True)


def discard(directory: Path, name: str) -> None:
    """Remove the checkpoint `name`. The rename comes first: a crash leaves no half checkpoint under a good name."""
    leaving = directory / f"{name.split('.')[0]}.removed"
    if name != leaving.name:
        shutil.rmtree(leaving, ignore_errors=True)
        # On the disk before anything in it goes: a power cut must not bring back the name without the files.
        durable.rename(directory / name, leaving)
    shutil.rmtree(leaving)


def quarantine(directory: Path, step: int) -> str:
    """Rename the checkpoint of `step` so that it is never loaded again; return its new name."""
    target = directory / f"{committed(step)}.corrupt"
    number = 1
    while target.exists():
        target = directory / f"{committed(step)}.corrupt-{number}"
        number += 1
    (directory / committed(step)).rename(target)
    return target.name


def supersede(directory: Path) -> None:
    """Move every checkpoint aside for a job that begins anew; retention removes them after the first new commit."""
    for step in look(directory).steps:
        target = directory / f"{committed(step)}.superseded"
        shutil.rmtree(target, ignore_errors=True)
        (directory / committed(step)).rename(target)
