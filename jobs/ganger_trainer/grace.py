"""How long this worker would take from SIGTERM to its end, by what it has measured.

The worst moment counts: a save has just begun, an evaluation is due, and the step that runs is the longest seen.
"""

from collections.abc import Mapping
from typing import Final

INTERVAL_SECONDS: Final = 0.25  # between two agreements of the ranks; half of it is the mean delay of a stop
EXIT_SECONDS: Final = 1.0  # from the commit to the end of the container: a guess, on the safe side


def seconds_needed(longest: Mapping[str, float], save: float) -> float:
    """Return the seconds of a stop with a checkpoint.

    longest: seconds of the longest step, evaluation, and checkpoint (how long one held the steps up), 0.0 for what was
    never done. save: seconds of the longest save from copy to commit; the save in flight is waited for, then the last
    one is made.
    """
    until_agreed = INTERVAL_SECONDS + longest["step"] + longest["evaluation"]
    return until_agreed + save + longest["checkpoint"] + save + EXIT_SECONDS
