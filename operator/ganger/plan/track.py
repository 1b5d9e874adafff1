"""Which rank is slower than the others at its own work, and has been for a while.

Ranks wait for each other in every step, so all steps take equally long; what differs is the time a rank works by
itself. A rank's score in a window is the median of the others' time per step over its own. It is slow after
WINDOWS windows in a row with a score below SLOW, and no longer after as many above FAST; what it costs the gang must
also be worth a word. Nothing is restarted for it.
"""

from datetime import datetime
from statistics import median

from msgspec import Struct

from ganger.plan.live import RankBeat

WINDOWS = 5
SLOW, FAST = 0.7, 0.8
WINDOW_SECONDS = 10.0  # at least; and at least one step of every rank
COST_RATIO_MIN = 0.1  # of the time of a step: less than that is no reason to look


class Slow(Struct, frozen=True, kw_only=True):
    """A rank that holds the others up. score: of the window that decided it, 0 to SLOW."""

    worker: int
    rank: int
    score: float


class Track(Struct, frozen=True, kw_only=True):
    """What is remembered of a gang between two reports: some numbers for each rank.

    began: when the window opened; steps, busy: what each rank had done by then. slow_for, fast_for: windows in a row of
    each kind. slow: the ranks that are slow now. windows: closed since this was begun.
    """

    began: datetime | None = None
    steps: dict[int, int] = {}
    busy: dict[int, float] = {}
    slow_for: dict[int, int] = {}
    fast_for: dict[int, int] = {}
    slow: tuple[Slow, ...] = ()

    @property
    def is_even(self) -> bool:
        """Whether every rank has kept up for so long that an earlier verdict is void."""
        return bool(self.fast_for) and all(count >= WINDOWS for count in self.fast_for.values())


def observe(track: Track, ranks: dict[int, tuple[int, RankBeat]], at: datetime) -> Track:
    """Return the track after news: `ranks` holds, by rank, its worker and where it is."""
    steps = {rank: beat.steps for rank, (_, beat) in ranks.items()}
    busy = {rank: beat.busy_seconds for rank, (_, beat) in ranks.items()}
    known = track.began is not None and track.steps.keys() == steps.keys()
    if not known or any(steps[rank] < track.steps[rank] for rank in steps):  # another gang, or it began anew
        return Track(began=at, steps=steps, busy=busy)
    assert track.began is not None
    done = {rank: steps[rank] - track.steps[rank] for rank in steps}
    elapsed = (at - track.began).total_seconds()
    if len(steps) < 2 or elapsed < WINDOW_SECONDS or min(done.values()) < 1:
        return track
    each = {rank: max(0.0, busy[rank] - track.busy[rank]) / done[rank] for rank in steps}
    step_seconds = elapsed / max(done.values())
    scores = {rank: _score(each, rank, step_seconds) for rank in each}
    slow_for = {rank: track.slow_for.get(rank, 0) + 1 if score < SLOW else 0 for rank, score in scores.items()}
    fast_for = {rank: track.fast_for.get(rank, 0) + 1 if score > FAST else 0 for rank, score in scores.items()}
    before = {each.rank: each for each in track.slow}
    slow = []
    for rank, (worker, _) in sorted(ranks.items()):
        if rank in before and fast_for[rank] < WINDOWS:
            slow.append(before[rank])
        elif slow_for[rank] >= WINDOWS:
            slow.append(Slow(worker=worker, rank=rank, score=round(scores[rank], 2)))
    return Track(began=at, steps=steps, busy=busy, slow_for=slow_for, fast_for=fast_for, slow=tuple(slow))


def _score(seconds: dict[int, float], rank: int, step_seconds: float) -> float:
    """Return how a rank does beside the others, 1.0 or more where it is not slower."""
    own, usual = seconds[rank], median(value for other, value in seconds.items() if other != rank)
    if own <= usual or own - usual < COST_RATIO_MIN * step_seconds:
        return 1.0
    return usual / own
