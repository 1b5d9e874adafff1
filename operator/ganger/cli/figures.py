"""Numbers for people: ages, sizes, durations, tables."""

import re
from collections.abc import Sequence
from datetime import datetime

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s?)?$", re.ASCII)
_PAINT = re.compile("\x1b\\[[0-9;]*m")
GAP = "   "


def duration(seconds: float) -> str:
    """Return a duration as kubectl writes ages: two units at most, one from ten of a unit on."""
    left = max(0, int(seconds))
    if left < 120:
        return f"{left}s"
    minutes, rest = divmod(left, 60)
    if minutes < 10:
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    if hours < 8:
        return f"{hours}h{minutes}m" if minutes else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    days, hours = divmod(hours, 24)
    return f"{days}d{hours}h" if days < 8 and hours else f"{days}d"


def age(since: datetime | None, now: datetime) -> str:
    """Return how long ago that was, "" where it is not known; a clock that is ahead makes it 0s, never negative."""
    return "" if since is None else duration((now - since).total_seconds())


def seconds_of(text: str) -> int | None:
    """Return the seconds of `90`, `90s`, `30m`, `1h30m` or `2d`, or None for anything else."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def size(num_bytes: int) -> str:
    """Return a size in binary units, three digits at most."""
    value = float(num_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def number(value: float) -> str:
    """Return a metric in four significant digits."""
    return f"{value:.4g}"


def rate(value: float) -> str:
    """Return a number per second without an exponent: three digits below 100, whole above."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return aligned lines as kubectl prints them; colours in a cell take no width."""
    lines = [list(header), *(list(row) for row in rows)] if header else [list(row) for row in rows]
    widths = [max(_width(cell) for cell in column) for column in zip(*lines, strict=True)]
    return [
        GAP.join(cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def _width(cell: str) -> int:
    return len(_PAINT.sub("", cell))
