"""Which checkpoints stay: the newest, the best, every so many steps, and never fewer than one. Pure but for `prune`."""

from pathlib import Path

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
    scores: dict[int, float | None] = {}
    for step in listing.steps:
        try:
            scores[step] = manifest.read(directory / layout.committed(step)).score if policy.keep_best else None
        except manifest.InvalidError:
            scores[step] = None  # the loader judges it, when it matters
    kept = keep(scores, policy)
    for step in listing.steps:
        if step not in kept:
            layout.discard(directory, layout.committed(step))
    for name in listing.leaving:
        layout.discard(directory, name)
    return len(kept)
