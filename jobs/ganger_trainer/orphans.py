"""Collect processes that lost their parent, where the supervisor itself is PID 1.

The trainer image starts an init process in front of it; an image of the user's own may not. A zombie that nobody has
collected for a while is an orphan: the elastic agent looks after its own workers ten times a second, so they are never
that old.
"""

import os
from typing import Final

AGE_SECONDS: Final = 2.0


class Orphans:
    """The zombie that was seen first, and since when. Not thread-safe."""

    def __init__(self) -> None:
        self._pid = 0
        self._since = 0.0

    def reap(self, now: float) -> int | None:
        """Collect the oldest zombie if it was there AGE_SECONDS ago; return its PID. `now` is monotonic seconds.

        Never waits. At most one is collected per AGE_SECONDS: a leak faster than that is no trainer's.
        """
        try:
            zombie = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return None
        if zombie is None:
            return None
        if zombie.si_pid != self._pid:
            self._pid, self._since = zombie.si_pid, now
            return None
        if now - self._since < AGE_SECONDS:
            return None
        try:
            os.waitpid(zombie.si_pid, os.WNOHANG)
        except ChildProcessError:
            return None  # its parent came after all
        return zombie.si_pid
