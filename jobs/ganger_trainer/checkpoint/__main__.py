"""`python -m ganger_trainer.checkpoint DIRECTORY`: list the checkpoints, each verified; exits 1 if one is not whole.

It reads every byte and changes nothing, so it may run beside the job. torch is not imported.
"""

import sys
from pathlib import Path
from typing import Final

from ganger_trainer.checkpoint import layout, manifest

USAGE: Final = "usage: python -m ganger_trainer.checkpoint DIRECTORY   lists and verifies its checkpoints"


def table(directory: Path) -> tuple[list[str], bool]:
    """Return one line for each checkpoint, newest first, and whether all of them are whole. Raises OSError."""
    listing = layout.look(directory)
    lines, whole = [], True
    for step in listing.steps:
        try:
            found = manifest.verify(directory / layout.committed(step))
        except manifest.InvalidError as error:
            lines.append(f"{layout.committed(step):<14} NOT VALID: {error}")
            whole = False
            continue
        score = "" if found.score is None else f"  score {found.score:.4g}"
        lines.append(
            f"{layout.committed(step):<14} {found.bytes / 1e6:9.2f} MB  {found.world_size} ranks  "
            f"attempt {found.attempt}  saved {found.saved_at}  verified{score}"
        )
    lines += [f"{name:<14} quarantined, never loaded" for name in listing.corrupt]
    return lines, whole


def main(arguments: list[str]) -> int:
    """Print the table of the directory in `arguments` and return the exit code."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(USAGE, file=sys.stderr)
        return 0 if arguments in (["-h"], ["--help"]) else 2
    try:
        lines, whole = table(Path(arguments[0]))
    except OSError as error:
        print(f"{arguments[0]} cannot be read: {error.strerror}; name a job's checkpoint directory", file=sys.stderr)
        return 2
    print("\n".join(lines) or "no checkpoints")
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
