"""The API server's clock against ours, learnt from the Date headers of its answers.

A header is cut to whole seconds, so one answer tells the offset to about a second; many answers narrow it down.
"""

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime


class ServerDate:
    """An interval in which the server's clock minus ours must lie."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self.wall = wall
        self._low = float("-inf")
        self._high = float("inf")
        self._text = ""
        self._seconds = 0.0

    def observe(self, text: str, *, sent: float) -> None:
        """Take the Date header of an answer to a request that was sent at `sent` of our clock; nonsense is ignored."""
        if text != self._text:
            try:
                self._seconds = parsedate_to_datetime(text).timestamp()
            except ValueError:
                return
            self._text = text
        low, high = self._seconds - self.wall(), self._seconds + 1.0 - sent
        if low > high:
            return  # our own clock was set back while the call was under way
        if low > self._high or high < self._low:
            self._low, self._high = low, high  # one of the clocks was set: what we knew is void
        else:
            self._low, self._high = max(low, self._low), min(high, self._high)

    @property
    def offset_seconds(self) -> float:
        """Return the best guess; 0.0 before the first answer."""
        return (self._low + self._high) / 2 if self._text else 0.0
