"""`python -m ganger_trainer.export`: make model files of a checkpoint; `... verify PATH`: prove that they are as made.

What to make comes from the environment of a worker (`ganger.contract`); options win over it. `verify` loads nothing.
"""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

from ganger import contract
from ganger_trainer.export import card

USAGE: Final = """usage: python -m ganger_trainer.export verify PATH [--sha256 DIGEST]
           proves that the model below PATH, a folder or a file, is as it was made
       python -m ganger_trainer.export --task MODULE:NAME --checkpoints DIR --exports JSON
           [--config JSON] [--to DIR] [--job NAME]
           makes model files, such as --exports '[{"format": "onnx"}]'; without options, what the environment says"""
OPTIONS: Final = {
    "--task": contract.ENV_TASK,
    "--config": contract.ENV_CONFIG,
    "--checkpoints": contract.ENV_CHECKPOINT_DIR,
    "--exports": contract.ENV_EXPORTS,
    "--to": contract.ENV_EXPORT_DIR,
    "--job": contract.ENV_JOB,
}


def verify(arguments: list[str]) -> int:
    """Print one line for each export below a path and return the exit code: 0 if all are as made, 1 if one is not."""
    digest = None
    if len(arguments) == 3 and arguments[1] == "--sha256":
        arguments, digest = arguments[:1], arguments[2]
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(USAGE, file=sys.stderr)
        return 2
    path = Path(arguments[0])
    found = [path] if path.is_file() else sorted(one.parent for one in path.rglob(card.NAME))
    found = [one for one in found if ".part-" not in one.name and not one.name.endswith(".old")]
    if not found:
        print(f"{path}: no {card.NAME} there: name the folder of an export", file=sys.stderr)
        return 2
    whole = True
    for one in found:
        try:
            right = card.verify(one, digest)
        except card.InvalidError as error:
            print(f"{one}  NOT VALID: {error}")
            whole = False
            continue
        print(
            f"{one}  {right.format}  {right.files[0].bytes / 1e6:.2f} MB  step {right.checkpoint.step}  "
            f"max abs diff {right.parity.max_abs_diff:.3g}  verified"
        )
    return 0 if whole else 1


def environ(arguments: list[str]) -> Mapping[str, str] | None:
    """Return the environment that the options in `arguments` change, None if they are wrong."""
    given = dict(zip(arguments[::2], arguments[1::2], strict=False))
    if len(arguments) % 2 or given.keys() - OPTIONS.keys():
        return None
    changed = dict(os.environ) | {OPTIONS[name]: value for name, value in given.items()}
    if "--task" in given:
        changed.pop(contract.ENV_SCRIPT, None)
    return changed


def main(arguments: list[str]) -> NoReturn:
    """Do what `arguments` say, and end the process with a code of the contract."""
    if arguments[:1] in (["-h"], ["--help"]):
        print(USAGE)
        sys.exit(0)
    if arguments[:1] == ["verify"]:
        sys.exit(verify(arguments[1:]))
    changed = environ(arguments)
    if changed is None:
        print(USAGE, file=sys.stderr)
        sys.exit(2)
    from ganger_trainer.export.run import Run  # loads nothing of torch yet: SIGTERM is heard first

    run = Run(changed)
    signal.signal(signal.SIGTERM, lambda *_: run.stopped())
    run.end()


if __name__ == "__main__":
    main(sys.argv[1:])
