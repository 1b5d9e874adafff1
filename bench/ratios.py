"""Ratios of rounds, and how sure they are: medians with a bootstrap interval, rounds on an uneven machine left out."""

import math
import random
import statistics
from collections.abc import Sequence

from msgspec import Struct

FLOOR_TOLERANCE = 0.3  # a round whose floor is further from the median of all floors says more of the machine
DRAWS = 5000


class Ratio(Struct, frozen=True, kw_only=True):
    """A median of per-round ratios. low, high: its 95 % bootstrap interval. rounds: how many it is of."""

    median: float
    low: float
    high: float
    rounds: int

    def words(self) -> str:
        """The median with its interval."""
        return f"{self.median:.3g} ({self.low:.3g} to {self.high:.3g}, n {self.rounds})"


def ratio(of: Sequence[float], to: Sequence[float]) -> Ratio:
    """Return the median of `of[i] / to[i]` with its interval. Raises ValueError for none, unequal numbers, a zero."""
    if not of or len(of) != len(to):
        raise ValueError(f"a ratio of {len(of)} to {len(to)} rounds; give as many of both, one at least")
    if not all(to):
        raise ValueError("a ratio to 0; leave that round out")
    found = [mine / theirs for mine, theirs in zip(of, to, strict=True)]
    low, high = interval(found)
    return Ratio(median=statistics.median(found), low=low, high=high, rounds=len(found))


def interval(values: Sequence[float], draws: int = DRAWS) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the median; the same values give the same interval."""
    chance = random.Random(0)
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(draws))
    return medians[int(0.025 * draws)], medians[math.ceil(0.975 * draws) - 1]


def even(floors: Sequence[float], tolerance: float = FLOOR_TOLERANCE) -> list[bool]:
    """Return for each round whether its floor is within `tolerance` of the median floor."""
    if not floors:
        return []
    middle = statistics.median(floors)
    return [abs(floor - middle) <= tolerance * middle for floor in floors]


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` per cent of the values do not exceed. Raises ValueError."""
    if not values:
        raise ValueError("a percentile of no values")
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Return b of cost = a * size^b, by least squares of the logarithms. Raises ValueError for fewer than two sizes."""
    if len(sizes) != len(costs) or len(set(sizes)) < 2:
        raise ValueError("an exponent needs costs at two different sizes at least")
    return statistics.linear_regression([math.log(x) for x in sizes], [math.log(y) for y in costs]).slope
