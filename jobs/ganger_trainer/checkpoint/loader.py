"""Find the newest checkpoint that every rank can verify, and put it into model, optimizer and generators.

Rank 0 proposes, newest first; each rank reads and hashes every byte itself; one dissent quarantines the candidate for
all. So all ranks start from the same step, and nothing that fails a hash is ever parsed. What passes and is no
checkpoint all the same (somebody wrote a manifest to match) is refused where it is taken apart; nothing in it can run.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError, safe_open

from ganger.contract import ExitCode
from ganger_trainer.checkpoint import layout, manifest, tree
from ganger_trainer.environment import CheckpointPolicy
from ganger_trainer.failures import UserError
from ganger_trainer.ranks import Ranks

NONE: Final = -1
MISMATCHES_SHOWN: Final = 3


class Loaded:
    """A verified checkpoint in memory. `private` holds this rank's own tensors, {} at another world size.

    only: the one part that is read, all of them by default. Raises InvalidError if it is not what `Saver` writes.
    """

    def __init__(self, found: manifest.Manifest, checkpoint: Path, rank: int, only: str | None = None) -> None:
        tensors: dict[str, Any] = {}
        try:
            for file in found.files:
                with safe_open(checkpoint / file.name, framework="pt") as shard:
                    for name in shard.keys():  # noqa: SIM118 - not a dict
                        if only is None or name.startswith(f"{only}/"):
                            tensors[name] = shard.get_tensor(name)
            self.parts = {
                name: tree.unflatten(skeleton, tensors)
                for name, skeleton in found.trees.items()
                if only in (None, name)
            }
            if missing := ({"model", "optimizer"} if only is None else {only}) - self.parts.keys():
                raise KeyError(*missing)
        except (SafetensorError, OSError, LookupError, TypeError, ValueError, RecursionError) as error:
            raise manifest.InvalidError(f"it cannot be taken apart: {type(error).__name__}: {error}") from None
        self.manifest = found
        self.step = found.step
        mine = f"rank{rank}/"
        self.private = {name.removeprefix(mine): value for name, value in tensors.items() if name.startswith(mine)}


def choose(directory: Path, policy: CheckpointPolicy, ranks: Ranks, told: Callable[[str], None]) -> Loaded | None:
    """Return the checkpoint that this attempt resumes from, the same on every rank, or None to begin at step 0.

    Bad ones are renamed `.corrupt` and `told` in a sentence. Raises UserError: NoValidCheckpoint (USER_DATA) if there
    are checkpoints but none is valid and the policy says Fail; CheckpointMissing (USER_INPUT_MISSING) if one is
    required and there is none. A collective call.
    """
    if policy.resume == "Never":
        return None
    listing = layout.look(directory) if ranks.is_first else layout.Listing((), (), (), ())
    candidates = iter(listing.steps)
    bad = len(listing.corrupt)
    while (step := ranks.from_first(next(candidates, NONE))) != NONE:
        checkpoint = directory / layout.committed(step)
        found, complaint = _load(checkpoint, ranks.rank)
        if ranks.agree(found is not None):
            assert found is not None
            return found
        bad += 1
        if ranks.is_first:
            why = complaint or "another rank could not verify it"
            told(f"checkpoint of step {step} is not valid ({why:.300}), {_set_aside(directory, step)}")
    bad = ranks.from_first(bad)
    if bad and policy.on_no_valid_checkpoint == "Fail":
        raise UserError(
            "NoValidCheckpoint",
            f"{directory} holds {bad} checkpoints and none is valid: restore one from a backup, or set "
            "checkpoint.onNoValidCheckpoint: Restart to begin again at step 0",
            ExitCode.USER_DATA,
        )
    if policy.resume == "Required":
        raise UserError(
            "CheckpointMissing",
            f"checkpoint.resume is Required and {directory} holds no valid checkpoint: check the volume and its "
            "path, or set resume: Auto",
            ExitCode.USER_INPUT_MISSING,
        )
    return None


def load_model(model: Any, loaded: Loaded) -> None:
    """Put the model's part into `model`.

    Raises UserError (USER_DATA, CheckpointMismatch) naming the first keys that differ.
    """
    saved, wanted = loaded.parts["model"], model.state_dict()
    if problems := mismatches(saved, wanted):
        shown = "; ".join(problems[:MISMATCHES_SHOWN])
        more = f"; and {len(problems) - MISMATCHES_SHOWN} more" if len(problems) > MISMATCHES_SHOWN else ""
        raise UserError(
            "CheckpointMismatch",
            f"the checkpoint of step {loaded.step} is of another model: {shown}{more}. Use the code and config it "
            "was written with, or give this job a checkpoint path of its own",
            ExitCode.USER_DATA,
        )
    model.load_state_dict(saved)


def mismatches(saved: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Return one phrase for each key that is missing, unexpected, or of another shape or type; model order. Pure."""
    problems = []
    for name, value in wanted.items():
        if name not in saved:
            problems.append(f"{name} is missing in the checkpoint")
        elif hasattr(value, "shape") and tuple(value.shape) != tuple(saved[name].shape):
            problems.append(f"{name} is {_shape(saved[name])} in the checkpoint, {_shape(value)} in the model")
    problems.extend(f"{name} is unknown to the model" for name in saved if name not in wanted)
    return problems


def _load(checkpoint: Path, rank: int) -> tuple[Loaded | None, str]:
    try:
        return Loaded(manifest.verify(checkpoint), checkpoint, rank), ""
    except manifest.InvalidError as error:
        return None, str(error)


def _set_aside(directory: Path, step: int) -> str:
    try:
        return f"now {layout.quarantine(directory, step)}"
    except OSError as error:
        return f"left where it is: {error.strerror}"


def _shape(tensor: Any) -> str:
    return "x".join(str(size) for size in tensor.shape) or "scalar"
