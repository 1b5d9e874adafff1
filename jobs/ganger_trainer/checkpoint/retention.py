"""Which checkpoints stay: the newest, the best, every so many steps, and never fewer than one."""

from pathlib import Path

import msgspec

from ganger_trainer.checkpoint import layout, manifest
from ganger_trainer.environment import CheckpointPolicy


def keep(scores: dict[int, float | None], policy: CheckpointPolicy) -> set[int]:
    """Return the steps to keep. `scores` maps each committed step to its score, lower is better, None is unknown."""
    newest = sorted(scores, reverse=True)[: policy.keep_last]
    known = sorted((score, -step) for step, score in scores.items() if score is not None)
    best = [-step for _, step in known[: policy.keep_best]]
    every = [step for step in scores if policy.keep_every and step % policy.keep_every == 0]
    return {*newest, *best, *every}


def prune(directory: Path, policy: CheckpointPolicy) -> int:
    """Remove what `policy` does not keep and what a new beginning superseded; return how many are left.

    Called after a commit only, so that the newest checkpoint is one that was just written whole.
    """
    listing = layout.look(directory)
    kept = keep(_scores(directory, listing, policy), policy)
    for step in listing.steps:
        if step not in kept:
            layout.discard(directory, layout.committed(step))
    for name in listing.leaving:
        layout.discard(directory, name)
    return len(kept)


def make_room(directory: Path, policy: CheckpointPolicy) -> int:
    """Remove checkpoints for a save that found the volume full; return how many.

    First those that `policy` would remove after that save. Where it would remove none, the volume is too small for
    keep.last, and the oldest goes that only keep.last keeps: a new checkpoint is worth more. The newest that can be
    read whole always stays; without one nothing is removed. Raises OSError.
    """
    listing = layout.look(directory)
    valid = next((step for step in listing.steps if _is_whole(directory / layout.committed(step))), None)
    if valid is None:
        return 0
    scores = _scores(directory, listing, policy)

    def surplus(last: int) -> list[int]:
        kept = keep(scores, msgspec.structs.replace(policy, keep_last=last))
        return [step for step in listing.steps if step not in kept and step != valid]

    doomed = surplus(max(1, policy.keep_last - 1)) or surplus(1)[-1:]
    for name in (*listing.leaving, *map(layout.committed, doomed)):
        layout.discard(directory, name)
    return len(doomed)


def _scores(directory: Path, listing: layout.Listing, policy: CheckpointPolicy) -> dict[int, float | None]:
    scores: dict[int, float | None] = {}
    for step in listing.steps:
        try:
            scores[step] = manifest.read(directory / layout.committed(step)).score if policy.keep_best else None
        except manifest.InvalidError:
            scores[step] = None  # the loader judges it, when it matters
    return scores


def _is_whole(checkpoint: Path) -> bool:
    try:
        manifest.verify(checkpoint)
    except manifest.InvalidError:
        return False
    return True
