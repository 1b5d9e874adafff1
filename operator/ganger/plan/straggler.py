"""What is told of ranks that are slower than the others (`track` finds them): a condition, and an event when it begins.

Nothing is restarted for it. A verdict is written when it changes; its score is that of the window that decided it.
"""

from datetime import datetime

from ganger.api.status import TrainingJobStatus
from ganger.api.types import TrainingJob
from ganger.plan.facts import state
from ganger.plan.gang import Gang
from ganger.plan.lifecycle import STRAGGLER
from ganger.plan.seen import Event
from ganger.plan.track import Slow, Track


def noted(
    job: TrainingJob, gang: Gang, track: Track, status: TrainingJobStatus, now: datetime
) -> tuple[TrainingJobStatus, tuple[Event, ...]]:
    """Return the status of a running job with the verdict where it changed, and the event that tells of a slow rank."""
    known, told = job.status.condition(STRAGGLER), job.status.is_true(STRAGGLER)
    if track.slow:
        message = "; ".join(_sentence(gang, each) for each in track.slow)
        if told and known is not None and {each.rank for each in track.slow} == _ranks(known.message):
            return status, ()  # a new leader measures another score of the same rank
        event = Event(reason=STRAGGLER, message=f"{message}; training goes on", warning=True)
        return state(status, job, now, (STRAGGLER, True, "SlowRank", message)), (event,)
    if told and track.is_even:
        return state(status, job, now, (STRAGGLER, False, "RanksEven", "all ranks keep up")), ()
    return status, ()


def _sentence(gang: Gang, slow: Slow) -> str:
    pod = gang.present.get(slow.worker)
    where = f" (pod {pod.metadata.name}, node {pod.spec.node_name})" if pod is not None else ""
    return f"rank {slow.rank}{where} is slower than the others at its own work: score {slow.score:.2f}"


def _ranks(message: str) -> set[int]:
    """Return the ranks that a message of `_sentence` names."""
    words = [part.split()[1] for part in message.split("; ") if part.startswith("rank ")]
    return {int(word) for word in words if word.isdigit()}
