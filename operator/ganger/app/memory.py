"""What the controller remembers of a job between two passes. Losing all of it costs time, never correctness."""

from ganger.api.observed import Metadata
from ganger.plan.inquiry import HOLD_SECONDS, Answer, Question
from ganger.plan.seen import Refusal

REFUSAL_BASE_SECONDS = 10.0
REFUSAL_CAP_SECONDS = 300.0
SQUATTER_SECONDS = 10.0  # how long a foreign object outside our caches is believed to be there


class JobMemory:
    """Notes about one job, on the monotonic clock."""

    def __init__(self) -> None:
        self.status_since: float | None = None  # since when there is a status that waits for company
        self.status_due: float | None = None  # when a status write that waits for company must go out
        self.conflicts = 0  # writes of the status that met a newer job, in a row
        self.question: Question | None = None  # the newest about a node
        self.answer: Answer | None = None
        self._asked_at: float | None = None  # while it is not answered
        self._refusal: Refusal | None = None
        self._refusal_until = 0.0
        self._num_refusals = 0
        self._squatters: tuple[str, ...] = ()
        self._squatters_until = 0.0
        self._strangers: dict[str, tuple[Metadata, float]] = {}

    def ask(self, question: Question, now: float) -> None:
        """Remember a question about a node; what was answered before is forgotten."""
        self.question, self.answer, self._asked_at = question, None, now

    def answered(self, answer: Answer | None) -> None:
        """Remember the answer, None where there is none to be had."""
        self.answer, self._asked_at = answer, None

    def unasked(self) -> None:
        """Forget the question: nobody reads that node any more."""
        self.question = self._asked_at = None

    def asks(self, now: float) -> bool:
        """Whether an answer may come soon."""
        return self._asked_at is not None and now - self._asked_at < HOLD_SECONDS

    def refused(self, refusal: Refusal, now: float) -> None:
        """Remember a refused create; each one in a row is remembered for twice as long."""
        delay = min(REFUSAL_CAP_SECONDS, REFUSAL_BASE_SECONDS * 2.0 ** min(self._num_refusals, 10))
        self._refusal, self._refusal_until = refusal, now + delay
        self._num_refusals += 1

    def created(self) -> None:
        """Remember that every create of a pass succeeded."""
        self._refusal, self._num_refusals = None, 0

    def refusal(self, now: float) -> Refusal | None:
        """Return the refusal that is still fresh."""
        return self._refusal if now < self._refusal_until else None

    def met(self, squatters: tuple[str, ...], now: float) -> None:
        """Remember foreign pods that hold our names."""
        self._squatters, self._squatters_until = squatters, now + SQUATTER_SECONDS

    def squatters(self, now: float) -> tuple[str, ...]:
        """Return the foreign pods that may still be there."""
        return self._squatters if now < self._squatters_until else ()

    def met_stranger(self, kind: str, found: Metadata, now: float) -> None:
        """Remember an object of ours by name and of somebody else by its labels."""
        self._strangers[kind] = (found, now + SQUATTER_SECONDS)

    def stranger(self, kind: str, now: float) -> Metadata | None:
        """Return the foreign object of that kind that may still be there."""
        found, until = self._strangers.get(kind, (None, 0.0))
        return found if now < until else None

    def wake_seconds(self, now: float) -> float | None:
        """Return the seconds until a note runs out and the job must be looked at again."""
        notes = [self.status_due]
        if self._refusal is not None and self._refusal_until > now:
            notes.append(self._refusal_until)
        if self._squatters and self._squatters_until > now:
            notes.append(self._squatters_until)
        notes += [until for _, until in self._strangers.values() if until > now]
        times = [max(0.0, note - now) for note in notes if note is not None]
        return min(times, default=None)
