"""Run in a user namespace of its own, where it may mount: a full volume and a read-only one, real ones.

`python volumes.py full|last|readonly DIRECTORY`: train the tiny task there and print one line of JSON.
"""

import contextlib
import json
import subprocess
import sys
import types
from pathlib import Path

from ganger_trainer import worker
from ganger_trainer.failures import TrainerError
from unit.trainer import kit


class Wide(kit.Tiny):
    """Its checkpoints have some 180 kB; three of them fill the volume, and a file that may go away."""

    def model(self, config):
        from torch import nn

        return nn.Sequential(nn.Linear(4, 2500), nn.Tanh(), nn.Linear(2500, 1))


def mount(directory: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(directory)], check=True)


def train(directory: Path, task: kit.Tiny, attempt: int = 0, **policy) -> dict:
    module = types.ModuleType("kit_task")
    module.task = task
    sys.modules["kit_task"] = module
    config = json.dumps({"steps": 40, "batchSize": 8, "threads": 1})
    spec = kit.worker(directory, attempt=attempt, config=config, **({"every_steps": 5} | policy))
    sender = kit.ToBoard()
    ended = "Done"
    with contextlib.redirect_stdout(sys.stderr):
        try:
            worker._train(spec, sender)
        except TrainerError as error:
            ended = f"{error.exit_code} {error.reason}"
    trouble = sender.board.checkpoint_trouble()
    return {
        "ended": ended,
        "steps": kit.steps_in(directory),
        "left": sorted(path.name for path in directory.iterdir() if "tmp" in path.name),
        "failures": sender.board.checkpoint()[1],
        "trouble": trouble and [trouble[0].reason, trouble[1]],
        "resumed": sender.board.training()[0].resumed_from if sender.board.training() else None,
        "warned": sender.board.progress_by_rank()[0].step if sender.board.progress_by_rank() else None,
    }


def main(kind: str, directory: Path) -> dict:
    if kind == "full":  # keep.last asks for three, and only two have room
        mount(directory, "size=460k")
        return train(directory, Wide(), keep_last=3)
    if kind == "hopeless":
        mount(directory, "size=100k")
        return train(directory, Wide(), keep_last=3)
    mount(directory, "size=4m")
    train(directory, kit.Tiny())
    subprocess.run(["mount", "-o", "remount,ro", str(directory)], check=True)
    return train(directory, kit.Tiny(), attempt=1, resume="Required" if kind == "required" else "Auto")


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
