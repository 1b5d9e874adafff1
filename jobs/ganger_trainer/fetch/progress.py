"""How far a fetch came: for the log, for those who wait for it, and against what the manifest allows."""

import threading
import time
from collections.abc import Callable
from typing import Final

from ganger_trainer.fetch import order
from ganger_trainer.fetch.order import Order

_SAY_SECONDS: Final = 10.0


class Progress:
    """Bytes of one order, by object. Threads may share it. tell: is given each sentence, `say` one in ten seconds."""

    def __init__(self, wanted: Order, *, tell: Callable[[str], None], say: Callable[[str], None]) -> None:
        self._wanted = wanted
        self._tell = tell
        self._say = say
        self._here: dict[str, int] = {}
        self._sizes: dict[str, int] = {}
        self._sum = 0
        self._total = 0
        self._lock = threading.Lock()
        self._said = self._began = time.monotonic()

    def expect(self, path: str, size: int) -> None:
        """Count on so many bytes of an object; -1 for nobody knows. Raises UserError for more than is allowed."""
        with self._lock:
            self._total += max(size, 0) - self._sizes.get(path, 0)
            self._sizes[path] = max(size, 0)
            self._require(self._total)

    @property
    def left(self) -> int:
        """Bytes that are still to come, of what is known."""
        return max(0, self._total - self._sum)

    def at(self, path: str, count: int) -> None:
        """So many bytes of an object are here. Raises UserError for more than is allowed of all together."""
        with self._lock:
            self._sum += count - self._here.get(path, 0)
            self._here[path] = count
            self._require(self._sum)
            now, text = time.monotonic(), self._text()
            self._tell(text)
            if now - self._said >= _SAY_SECONDS:
                self._said = now
                self._say(text)

    def _text(self) -> str:
        if self._total:
            return f"{100 * self._sum // self._total} % of {_bytes(self._total)}"
        return f"{_bytes(self._sum)} so far"

    def _require(self, count: int) -> None:
        if count > self._wanted.max_bytes:
            raise order.too_large(self._wanted.name, count, self._wanted.max_bytes)


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
