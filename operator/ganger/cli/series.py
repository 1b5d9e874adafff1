"""A figure over the steps of a job, as far as it was seen, in bounded memory."""

import bisect
import math

POINTS_MAX = 2000  # of a curve that has some hundred columns at most


class Series:
    """Points (step, value) in the order of their steps. A step that is done again replaces what came after it."""

    def __init__(self) -> None:
        self.points: list[tuple[int, float]] = []

    def add(self, step: int, value: float) -> None:
        """Take a point; one that is no finite number is left out."""
        if not math.isfinite(value):
            return
        # After a restart the steps since the checkpoint come again: the old ones did not count.
        del self.points[bisect.bisect_left(self.points, (step, -math.inf)) :]
        self.points.append((step, value))
        if len(self.points) > POINTS_MAX:
            # Every other point of the older part goes: the newest stay exact.
            half = POINTS_MAX // 2
            self.points = self.points[:half:2] + self.points[half:]

    @property
    def values(self) -> list[float]:
        """The values alone."""
        return [value for _, value in self.points]
