"""Few combinations in which any two factors take every pair of their values.

Most faults of a configuration come from one value or from two that meet (D. R. Kuhn et al., "Software Fault
Interactions and Implications for Software Testing", IEEE TSE 30(6), 2004). Twenty switches have a million combinations,
and a dozen rows hold all their pairs.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

Pair = tuple[tuple[str, int], tuple[str, int]]


def pairs(factors: Mapping[str, Sequence[Any]]) -> set[Pair]:
    """Return every pair of values of two different factors; a value is its factor's name and its position."""
    return {
        ((one, a), (other, b))
        for one, other in itertools.combinations(factors, 2)
        for a, b in itertools.product(range(len(factors[one])), range(len(factors[other])))
    }


def covering(factors: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return rows, each with a value of every factor, that hold every pair. Pure: the same factors, the same rows.

    Greedy, so not always the fewest. Needs two factors; each must have a value.
    """
    wanted, rows = pairs(factors), []
    while wanted:
        row = _row(factors, wanted)
        wanted -= _held(row)
        rows.append({name: factors[name][position] for name, position in row.items()})
    return rows


def _row(factors: Mapping[str, Sequence[Any]], wanted: set[Pair]) -> dict[str, int]:
    """Return a row that begins with a pair that is wanted, and takes for each further factor what holds most others."""
    row = dict(min(wanted))
    for name, values in factors.items():
        if name not in row:
            row[name] = max(range(len(values)), key=lambda position: _gain(name, position, row, wanted))
    return {name: row[name] for name in factors}


def _gain(name: str, position: int, row: Mapping[str, int], wanted: set[Pair]) -> tuple[int, int]:
    """Return how many wanted pairs the value completes, then how many it stands in at all."""
    mine = [pair for pair in wanted if (name, position) in pair]
    return sum(all(entry == (name, position) or entry in row.items() for entry in pair) for pair in mine), len(mine)


def _held(row: Mapping[str, int]) -> set[Pair]:
    return set(itertools.combinations(row.items(), 2))
