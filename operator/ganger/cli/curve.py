"""Curves in characters: a line of braille dots, a row of blocks. Pure."""

from collections.abc import Sequence
from itertools import pairwise

BLOCKS = "▁▂▃▄▅▆▇█"
_BRAILLE = 0x2800
# The bit of a dot by column and row of its cell, as Unicode numbers them.
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_COLUMNS, _ROWS = 2, 4


def braille(points: Sequence[tuple[float, float]], width: int, height: int) -> list[str]:
    """Return `height` lines of `width` characters with the line through the points, the highest value on top.

    points: (x, y) in the order of x. Several in one dot column are averaged; gaps are bridged by straight lines.
    Without points the lines are blank; a level line runs through the middle.
    """
    cells = [[0] * width for _ in range(height)]
    if points and width > 0 and height > 0:
        heights = _columns(points, width * _COLUMNS)
        low, high = min(heights), max(heights)
        rows = height * _ROWS
        before = None
        for column, value in enumerate(heights):
            share = (value - low) / (high - low) if high > low else 0.5
            row = round((1 - share) * (rows - 1))
            # A steep line stays connected: the dots between the last row and this one are set too.
            for dot in _from(before, row):
                cells[dot // _ROWS][column // _COLUMNS] |= _DOTS[column % _COLUMNS][dot % _ROWS]
            before = row
    return ["".join(chr(_BRAILLE + cell) if cell else " " for cell in line) for line in cells]


def _from(before: int | None, row: int) -> range:
    """Return the rows after `before` up to and with `row`; `row` alone where they are the same."""
    if before is None or before == row:
        return range(row, row + 1)
    return range(before + 1, row + 1) if before < row else range(row, before)


def _columns(points: Sequence[tuple[float, float]], count: int) -> list[float]:
    """Return the value of each dot column: the mean of its points, or what lies on the line between its neighbours."""
    first, last = points[0][0], points[-1][0]
    span = last - first
    sums: dict[int, list[float]] = {}
    for x, y in points:
        column = round((x - first) / span * (count - 1)) if span > 0 else 0
        sums.setdefault(column, []).append(y)
    known = sorted((column, sum(found) / len(found)) for column, found in sums.items())
    heights = [known[0][1]] * count
    for (left, start), (right, end) in pairwise(known):
        for column in range(left, right + 1):
            heights[column] = start + (end - start) * (column - left) / (right - left)
    return heights


def blocks(values: Sequence[float], width: int) -> str:
    """Return the newest `width` values as a row of blocks, from nothing to the largest."""
    shown = list(values)[-width:] if width > 0 else []
    top = max(shown, default=0.0)
    if top <= 0:
        return BLOCKS[0] * len(shown)
    return "".join(BLOCKS[min(len(BLOCKS) - 1, int(max(0.0, value) / top * len(BLOCKS)))] for value in shown)


def shares(parts: Sequence[float], width: int) -> list[int]:
    """Return how many of `width` characters each part takes; they sum to width where any part is positive.

    A part that is there takes at least one character while there are enough, the rest goes by largest remainder.
    """
    total = sum(parts)
    if total <= 0 or width <= 0:
        return [0] * len(parts)
    exact = [part / total * width for part in parts]
    taken = [max(int(size), 1) if part > 0 else 0 for part, size in zip(parts, exact, strict=True)]
    while sum(taken) > width:
        taken[max(range(len(taken)), key=lambda index: (taken[index], exact[index]))] -= 1
    order = sorted(range(len(parts)), key=lambda index: exact[index] - taken[index], reverse=True)
    for index in order[: width - sum(taken)]:
        taken[index] += 1
    return taken
