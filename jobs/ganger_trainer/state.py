"""Everything that the next step depends on: taken from the parts of a training, and put back into them."""

from typing import TYPE_CHECKING, Any

import msgspec

from ganger_trainer import randomness
from ganger_trainer.batches import Skips
from ganger_trainer.checkpoint import loader
from ganger_trainer.ranks import Ranks

if TYPE_CHECKING:
    from ganger_trainer.loop import Parts


def capture(parts: "Parts") -> dict[str, Any]:
    """Return what is equal on all ranks, by name. Its tensors are those of the training, not copies."""
    state = {"model": parts.model.state_dict(), "optimizer": parts.optimizer.state_dict()}
    state["data"] = msgspec.to_builtins(parts.order.skips)
    if parts.scheduler is not None:
        state["scheduler"] = parts.scheduler.state_dict()
    if parts.scaler is not None:
        state["scaler"] = parts.scaler.state_dict()
    state["live"] = parts.live.state()
    return state


def restore(parts: "Parts", loaded: loader.Loaded, ranks: Ranks) -> None:
    """Put `loaded` into `parts`. At another world size the generators are seeded anew by (seed, step, rank).

    Raises UserError as `loader.load_model` does.
    """
    found = loaded.manifest
    loader.load_model(parts.model, loaded)
    parts.optimizer.load_state_dict(loaded.parts["optimizer"])
    for name, part in (("scheduler", parts.scheduler), ("scaler", parts.scaler)):
        if part is not None and name in loaded.parts:
            part.load_state_dict(loaded.parts[name])
    if found.world_size != ranks.world_size:  # new generators, that repeat no draw of the steps before
        randomness.seed_all(randomness.derive(parts.config.seed, found.step, ranks.rank))
    elif loaded.private:
        randomness.restore(loaded.private)
    parts.order.restore(msgspec.convert(loaded.parts.get("data", {}), Skips))
    parts.step = found.step
    parts.live.restore(parts, loaded.parts.get("live"))
