"""How long to wait after something failed. All randomness of the runtime is here and in the reflector's time-outs."""

import random
from dataclasses import dataclass, field


@dataclass(kw_only=True, slots=True)
class Backoff:
    """A delay that doubles with each failure. Units are seconds.

    jitter: the share of a delay that chance takes away, so that many clients do not come back together.
    """

    base: float
    cap: float
    jitter: float = 0.2
    failures: int = 0
    rng: random.Random = field(default_factory=random.Random, repr=False)

    def next(self) -> float:
        """Return the delay after one more failure."""
        delay = delay_after(self.failures, base=self.base, cap=self.cap)
        self.failures += 1
        return self.rng.uniform(delay * (1 - self.jitter), delay)

    def reset(self) -> None:
        """Start again from the base."""
        self.failures = 0


def delay_after(failures: int, *, base: float, cap: float) -> float:
    """Return the delay without jitter after that many earlier failures; the exponent is bounded before it is used."""
    return min(cap, base * 2.0 ** min(failures, 60))
