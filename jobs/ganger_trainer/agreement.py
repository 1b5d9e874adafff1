"""All ranks decide together, rarely: stop here? save here? change a setting here?

A rank that leaves its loop alone leaves the others waiting in a collective for ever. So requests are combined in one
tiny all-reduce, held at steps that all ranks know beforehand. Each meeting also fixes the next: as many steps ahead as
fit into INTERVAL_SECONDS at the pace rank 0 has seen. Cost: some 100 us per interval, whatever the step takes;
latency: one interval.
"""

from msgspec import Struct

from ganger_trainer.grace import INTERVAL_SECONDS
from ganger_trainer.ranks import Ranks
from ganger_trainer.soundness import NonFiniteError


class Wish(Struct, frozen=True):
    """What one rank asks for. stop: it was told to. save: a checkpoint is due or was asked for; rank 0's word counts.

    broken: it has seen a NaN or an infinity. change: live settings are asked for; rank 0's word counts.
    """

    stop: bool = False
    save: bool = False
    broken: bool = False
    change: bool = False


class Decision(Struct, frozen=True):
    """What all ranks do after this step."""

    stop: bool
    save: bool
    change: bool = False


class Agreement:
    """The meetings of one attempt. `next_step` is the step after which the next is held, equal on all ranks."""

    def __init__(self, ranks: Ranks, *, step: int) -> None:
        self._ranks = ranks
        self._interval = 1
        self.next_step = step + 1

    def meet(self, step: int, wish: Wish, *, step_seconds: float) -> Decision:
        """Combine the wishes of all ranks. A collective call, at `next_step` only.

        step_seconds: mean duration of recent steps; rank 0's counts. Raises NonFiniteError if one is broken.
        """
        assert step == self.next_step, f"meeting at step {step}, agreed on {self.next_step}"
        first = self._ranks.is_first
        # At most twice the last interval: one quick first step must not put the next meeting minutes away.
        proposal = max(1, min(int(INTERVAL_SECONDS / max(step_seconds, 1e-9)), 2 * self._interval)) if first else 0
        any_stop, due, self._interval, any_broken, change = self._ranks.maximum(
            [int(wish.stop), int(wish.save and first), proposal, int(wish.broken), int(wish.change and first)]
        )
        if any_broken:
            raise NonFiniteError(step)
        self.next_step = step + self._interval
        return Decision(stop=bool(any_stop), save=bool(due), change=bool(change))
