"""Whether the numbers of the training are worth keeping: finite everywhere, and equal parameters on all ranks.

A NaN or an infinity stays in whatever it was added to. So each loss is added to one number on the device, which costs a
step a microsecond and no wait; that number is looked at whenever the ranks meet. A bad gradient needs no look of its
own: after the update it is in the parameters, and one step later in the loss. Those of a save are looked at as well,
in its copy, before the next update. What one rank sees all learn in the same collective, after the same step.
"""

from typing import Any, Final

import torch

from ganger.contract import ExitCode
from ganger_trainer.failures import TrainerError, UserError
from ganger_trainer.ranks import Ranks

_INTEGERS: Final = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_WORD: Final = 1 << 64


class NonFiniteError(UserError):
    """A loss, a gradient or a parameter of the steps before `step` is a NaN or an infinity. Raised on all ranks."""

    def __init__(self, step: int, more: str = "") -> None:
        super().__init__(
            "NonFiniteLoss",
            f"at step {step} a loss, a gradient or a parameter is a NaN or an infinity{more}: lower lr, set clipNorm, "
            "use precision bf16 or fp32, or check the data",
            ExitCode.USER_DATA,
        )
        self.step = step


class Soundness:
    """Looks at the numbers of one rank. `losses` is where the loop adds each loss, detached.

    compare_every: steps between two comparisons of the parameters across ranks, 0 for none.
    """

    def __init__(self, model: Any, ranks: Ranks, *, compare_every: int = 0) -> None:
        self._model = model
        self._ranks = ranks
        self.compare_every = compare_every if ranks.world_size > 1 else 0
        self.losses = torch.zeros((), device=ranks.device)

    def broken(self) -> bool:
        """Return whether a loss of this rank was a NaN or an infinity since `reset`. Waits for the device."""
        return not bool(torch.isfinite(self.losses))

    def _unfit(self) -> bool:
        """Return whether a loss or a parameter is a NaN or an infinity."""
        parameters = [parameter.detach() for parameter in self._model.parameters()]
        total = self.losses + torch.nn.utils.get_total_norm(parameters) if parameters else self.losses
        if bool(torch.isfinite(total)):
            return False
        # The norm of finite parameters may overflow: only now is it worth to look at each.
        return self.broken() or not all(bool(torch.isfinite(one).all()) for one in parameters)

    def check(self, step: int) -> None:
        """Raise NonFiniteError on every rank if one has a loss or a parameter that is not finite.

        A collective call; waits for the device.
        """
        self.agree(step, fit=not self._unfit())

    def check_losses(self, step: int) -> None:
        """Raise NonFiniteError on every rank if one has a loss that is not finite. A collective call, as `check` is."""
        self.agree(step, fit=not self.broken())

    def agree(self, step: int, *, fit: bool) -> None:
        """Raise NonFiniteError on every rank if one is not `fit`. A collective call."""
        if not self._ranks.agree(fit):
            raise NonFiniteError(step)

    def reset(self) -> None:
        """Forget what was seen: the training goes on from a checkpoint."""
        self.losses.zero_()

    def compare(self, step: int) -> None:
        """Compare the parameters of all ranks bit for bit; do nothing with `compare_every` 0. A collective call.

        Raises TrainerError (RETRYABLE) where they differ: ReplicaDivergence on the ranks that differ from the most,
        or on all where no value is in the majority; PeerLost on the others, which are not to blame.
        """
        if not self.compare_every:
            return
        names, sums = self._sums()
        votes = [hashes[0] for hashes in self._ranks.gather([_mixed(sums)])]
        if len(set(votes)) == 1:
            return
        by_rank = self._ranks.gather(sums)
        differing = [name for name, *values in zip(names, *by_rank, strict=True) if len(set(values)) > 1]
        common = max(set(votes), key=votes.count)
        odd = [rank for rank, vote in enumerate(votes) if vote != common]
        where = f"parameter {differing[0]}" + (f" and {len(differing) - 1} more" if len(differing) > 1 else "")
        if 2 * votes.count(common) <= len(votes):
            who = f"which of the {len(votes)} ranks is wrong cannot be told"
        else:
            who = f"rank {', '.join(map(str, odd))} differs from the {votes.count(common)} others"
            if self._ranks.rank not in odd:
                raise TrainerError("PeerLost", f"at step {step} {where}: {who}; the gang goes back to a checkpoint")
        raise TrainerError(
            "ReplicaDivergence",
            f"at step {step} the ranks no longer hold the same {where}: {who}. Memory or a GPU may be faulty, or the "
            "task changes parameters outside the optimizer; the next attempt goes back to the last checkpoint",
        )

    def _sums(self) -> tuple[list[str], list[int]]:
        """Return for each parameter the sum of its bit patterns: no copy of it is made, one flipped bit changes it."""
        named = dict(self._model.named_parameters())
        if not named:
            return [], []
        sums = torch.stack([_bits(parameter.detach()).sum(dtype=torch.int64) for parameter in named.values()])
        return list(named), sums.tolist()


def _bits(tensor: Any) -> Any:
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return tensor.view(_INTEGERS[tensor.element_size()])


def _mixed(sums: list[int]) -> int:
    """Return one signed 64-bit number of the sums in their order: a polynomial modulo 2^64. Pure.

    Its base is odd, so a change of one sum always shows.
    """
    mixed = 0
    for value in sums:
        mixed = (mixed * 6364136223846793005 + value + 1442695040888963407) % _WORD
    return mixed - _WORD if mixed >= _WORD // 2 else mixed
