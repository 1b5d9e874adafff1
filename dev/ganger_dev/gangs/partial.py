"""For how long a gang held nodes for some of its workers while others of it had none. Pure.

A worker counts as placed while it holds a node, and still after it has ended well. So a gang whose workers end one
after the other is whole, and one of which a worker was deleted, or failed, or never got a node, is in part.
"""

from __future__ import annotations

from msgspec import Struct

from ganger_dev.gangs.facts import PodFact


class Span(Struct, frozen=True, kw_only=True):
    """A time in which a gang was in part. placed: the most workers that were placed meanwhile, of `size`.

    whole: it ended because all workers were placed; else because none held a node any more, or the run was over.
    """

    began: float
    ended: float
    placed: int
    size: int
    whole: bool

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return self.ended - self.began


class Attempt:
    """The workers of one attempt of a gang of `size`."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.live: set[str] = set()
        self.done: set[str] = set()
        self._began: float | None = None
        self._most = 0

    @property
    def placed(self) -> int:
        """How many workers hold a node or have ended well."""
        return len(self.live | self.done)

    def see(self, pod: PodFact, now: float) -> Span | None:
        """Take an event of one of its pods; return the span that it ended."""
        for names, belongs in ((self.live, pod.is_live), (self.done, pod.phase == "Succeeded" and not pod.gone)):
            if belongs:
                names.add(pod.name)
            else:
                names.discard(pod.name)
        if self.live and self.placed < self._size:
            if self._began is None:
                self._began, self._most = now, 0
            self._most = max(self._most, self.placed)
            return None
        return self.end(now)

    def end(self, now: float) -> Span | None:
        """Return the span that the gang is in, as if it ended now."""
        if self._began is None:
            return None
        whole = self.placed >= self._size
        span = Span(began=self._began, ended=now, placed=self._most, size=self._size, whole=whole)
        self._began = None
        return span
