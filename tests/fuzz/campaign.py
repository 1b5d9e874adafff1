"""Many cases, and what came of them: the table that `make fuzz` prints."""

from collections import Counter
from dataclasses import dataclass, field

from fuzz.cases import Case
from fuzz.verdicts import Verdict


@dataclass
class Campaign:
    """Counts cases by kind and by what is odd in them, and keeps what went wrong."""

    accepted: Counter[tuple[str, str]] = field(default_factory=Counter)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def take(self, case: Case, verdict: Verdict) -> None:
        """Count one case."""
        (self.accepted if verdict.accepted else self.refused)[case.kind, case.what] += 1
        if verdict.troubles:
            self.failures.append(f"{case}\n  " + "\n  ".join(ascii(trouble) for trouble in verdict.troubles[:8]))

    def table(self) -> str:
        """The table with its totals, and above it every case that went wrong."""
        rows = [(kind, what) for kind, what in sorted(self.accepted.keys() | self.refused.keys())]
        lines = [("kind", "what", "cases", "accepted", "refused")]
        for row in rows:
            accepted, refused = self.accepted[row], self.refused[row]
            lines.append((*row, str(accepted + refused), str(accepted), str(refused)))
        accepted, refused = self.accepted.total(), self.refused.total()
        lines.append(("all", "", str(accepted + refused), str(accepted), str(refused)))
        texts = [f"{kind:<15}{what:<27}{all_:>7}{yes:>10}{no:>10}" for kind, what, all_, yes, no in lines]
        return "\n".join((*self.failures, *texts, f"{len(self.failures)} cases went wrong"))
