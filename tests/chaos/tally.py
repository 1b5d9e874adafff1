"""How many watch events the invariants were checked at in this session, for the last lines of its report."""

from collections import Counter

events: Counter[str] = Counter()


def add(where: str, count: int) -> None:
    """Count events that were checked."""
    events[where] += count
