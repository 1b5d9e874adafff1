"""Where the time of this attempt goes on this worker: four causes that add up to the time passed. Pure.

Each second belongs to the phase that the worker was in when it passed, so no cause ever shrinks and nothing is counted
twice. Times are seconds of one monotonic clock.
"""

from typing import Final

from ganger.contract import REPORT_CAUSES

# An evaluation is work that the job asked for; whoever waits for a save does not train.
_CAUSES: Final = {
    "Starting": "starting",
    "Restoring": "restoring",
    "Training": "productive",
    "Evaluating": "productive",
    "Checkpointing": "checkpointing",
}


class Ledger:
    """The account of one worker since `began`. Not thread-safe."""

    def __init__(self, began: float) -> None:
        self.phase = "Starting"
        self._since = began
        self._seconds = dict.fromkeys(REPORT_CAUSES, 0.0)

    def enter(self, phase: str, now: float) -> None:
        """Close the account of the present phase and open that of `phase`. An unknown phase changes nothing."""
        if phase not in _CAUSES:
            return
        self._seconds = self.seconds(now)
        self._since = max(self._since, now)
        self.phase = phase

    def seconds(self, now: float) -> dict[str, float]:
        """Return the seconds so far by cause; their sum is `now` less the beginning."""
        passed = max(0.0, now - self._since)
        return self._seconds | {_CAUSES[self.phase]: self._seconds[_CAUSES[self.phase]] + passed}
