"""What a NaN or an infinity does: fail, or go back to the last checkpoint and train on with other data.

Going back takes no restart: every rank loads the checkpoint in its process. The global batches between the checkpoint
and the step at which the number was seen are skipped for good; the count of steps goes on from the checkpoint. What
was skipped is part of every later checkpoint, so data order stays arithmetic (docs/adr/0013-non-finite.md).
"""

from ganger_trainer import loop
from ganger_trainer.agreement import Agreement
from ganger_trainer.environment import NonFinitePolicy
from ganger_trainer.keeper import Keeper
from ganger_trainer.observer import Observer
from ganger_trainer.ranks import Ranks
from ganger_trainer.reports import RolledBack, Sender
from ganger_trainer.soundness import NonFiniteError


def train(
    parts: loop.Parts, ranks: Ranks, keeper: Keeper, observer: Observer, sender: Sender, policy: NonFinitePolicy
) -> bool:
    """Train as `loop.train` does, going back as often as `policy` allows.

    Raises NonFiniteError where it does not, or where there is no checkpoint to go back to.
    """
    while True:
        try:
            return loop.train(parts, Agreement(ranks, step=parts.step), keeper, observer)
        except NonFiniteError as error:
            if policy.action != "Rollback":
                raise
            _roll_back(parts, keeper, error.step, policy)
            observer.rolled_back()
            if ranks.is_first:
                skips = parts.order.skips
                sender.send(RolledBack(count=skips.rollbacks, step=error.step, to_step=parts.step), surely=True)
                first, count = parts.order.position(parts.step) - skips.windows[-1][1], skips.windows[-1][1]
                print(
                    f"step {error.step}: a NaN or an infinity; back to the checkpoint of step {parts.step}, global "
                    f"batches {first} .. {first + count - 1} ({parts.order.samples(first, count)} samples) are skipped "
                    f"(rollback {skips.rollbacks} of at most {policy.max_rollbacks})",
                    flush=True,
                )


def _roll_back(parts: loop.Parts, keeper: Keeper, bad_step: int, policy: NonFinitePolicy) -> None:
    """Put the newest valid checkpoint into `parts` and skip the data since. A collective call."""
    rollbacks, position = parts.order.skips.rollbacks, parts.order.position(bad_step)
    if rollbacks >= policy.max_rollbacks:
        raise NonFiniteError(bad_step, f", and {rollbacks} rollbacks are spent (failurePolicy.maxRollbacks)")
    if keeper.roll_back(parts) is None:
        raise NonFiniteError(bad_step, ", and there is no checkpoint to go back to")
    parts.order.skip(parts.step, position - parts.order.position(parts.step), rollbacks + 1)
    parts.soundness.reset()
