"""Who holds how much of each queue, and where all of them together hold more than the queue has. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from ganger_dev.gangs.facts import Amounts

Place = tuple[str, str]  # a queue and a resource


class Holdings:
    """What each holder has of a queue. `most`: the most that all of a queue ever had, by queue and resource."""

    def __init__(self, quota: Mapping[str, Amounts]) -> None:
        self._quota = {(queue, resource): amount for queue, of in quota.items() for resource, amount in of.items()}
        self._held: dict[str, tuple[str, Amounts]] = {}
        self._total: dict[Place, Fraction] = dict.fromkeys(self._quota, Fraction(0))
        self.most = dict(self._total)

    def hold(self, holder: str, queue: str, amounts: Amounts) -> list[tuple[Place, Fraction, Fraction]]:
        """Let `holder` have `amounts` of the queue, and nothing besides.

        Returns the place, the total and the quota where the total is over the quota now, and was not before. Who has
        anything of a queue or a resource that has no quota is over it: there it is 0.
        """
        before, exceeded = dict(self._total), []
        old_queue, old = self._held.pop(holder, ("", {}))
        for resource, amount in old.items():
            self._total[old_queue, resource] -= amount
        if amounts:
            self._held[holder] = (queue, amounts)
        for resource, amount in amounts.items():
            place = (queue, resource)
            total = self._total[place] = self._total.get(place, Fraction(0)) + amount
            quota = self._quota.get(place, Fraction(0))
            self.most[place] = max(self.most.get(place, Fraction(0)), total)
            if total > quota >= before.get(place, Fraction(0)):
                exceeded.append((place, total, quota))
        return exceeded
