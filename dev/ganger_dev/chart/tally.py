"""Facts of the chart as they are found true or not, counted by kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Tally:
    """Counts what held, and keeps what did not. kinds are counted in the order in which they come first."""

    held: Counter[str] = field(default_factory=Counter)
    misses: list[str] = field(default_factory=list)

    def expect(self, kind: str, fact: str, held: bool, found: object = "", *, count: int = 1) -> None:
        """Count a fact, or several at once; one that does not hold is printed with what was found instead."""
        self.held[kind] += count if held else 0
        if not held:
            self.misses.append(f"{kind}: {fact}")
            print(f"MISS {kind}: {fact}\n     {' '.join(str(found).split())[-800:]}", flush=True)

    def lines(self) -> Iterable[str]:
        """Yield the counts, one line for each kind, and the sum of the misses."""
        yield from (f"{count:>5} {kind}" for kind, count in self.held.items())
        yield f"{len(self.misses):>5} misses"
