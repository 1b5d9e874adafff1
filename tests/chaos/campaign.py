"""Many plans, and what came of them: the table that `make chaos` prints."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from chaos import tally
from chaos.plans import MODES, plans, reference, run
from chaos.scenarios import SCENARIOS
from ganger.kube.gate import Mode

Plan = dict[int, Mode]


def text_of(plan: Plan) -> str:
    """A plan as the command line takes it: `7:lost`, `3:before,9:after`."""
    return ",".join(f"{number}:{mode}" for number, mode in plan.items())


def plan_of(text: str) -> Plan:
    """The plan of such a text. Raises ValueError."""
    plan: Plan = {}
    for part in filter(None, text.split(",")):
        number, _, mode = part.partition(":")
        if not number.isdigit() or mode not in MODES:
            raise ValueError(f"{part!r} is no fault: write NUMBER:MODE, MODE being one of {', '.join(MODES)}")
        plan[int(number)] = mode  # type: ignore[assignment]
    return plan


@dataclass
class Row:
    """One scenario's share of a campaign."""

    name: str
    writes: int
    plans: int = 0
    converged: int = 0
    crashes: int = 0
    events: int = 0


@dataclass
class Campaign:
    """Counts plans and keeps what went wrong. title: of the table."""

    title: str
    rows: dict[str, Row] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def take(self, name: str, writes: int, plan: str, differences: list[str], *, crashes: int, events: int) -> None:
        """Count one plan."""
        row = self.rows.setdefault(name, Row(name, writes))
        row.plans += 1
        row.crashes += crashes
        row.events += events
        row.converged += not differences
        if differences:
            self.failures.append(f"{name} under {plan}:\n  " + "\n  ".join(differences[:8]))

    @property
    def plans(self) -> int:
        """All plans."""
        return sum(row.plans for row in self.rows.values())

    @property
    def events(self) -> int:
        """All watch events at which the invariants were checked."""
        return sum(row.events for row in self.rows.values())

    def table(self) -> str:
        """The table with its totals, and below it every plan that did not converge."""
        head = ("scenario", "writes", "plans", "converged", "deaths", "events")
        body = [(r.name, r.writes, r.plans, r.converged, r.crashes, r.events) for r in self.rows.values()]
        sums = [sum(int(line[n]) for line in body) for n in range(1, len(head))]
        lines = [head, *body, ("all", *sums)]
        texts = [f"{line[0]:<22}" + "".join(f"{cell:>11}" for cell in line[1:]) for line in lines]
        return "\n".join((self.title, *texts, *self.failures))


def singles(names: Iterable[str]) -> Iterator[tuple[str, Plan]]:
    """Every write of every scenario in every mode."""
    return ((name, plan) for name in names for plan in plans(name))


def doubles(names: Iterable[str], count: int, seed: int = 0) -> Iterator[tuple[str, Plan]]:
    """Pairs of faults, drawn evenly over scenarios; the second may hit the recovery from the first."""
    draw, pool = random.Random(seed), tuple(names)
    for _ in range(count):
        name = draw.choice(pool)
        writes = len(reference(name).outcome.writes)
        first = draw.randrange(writes)
        second = first + 1 + draw.randrange(max(1, writes - first))
        yield name, {first: draw.choice(MODES), second: draw.choice(MODES)}


def simulate(title: str, faults: Iterable[tuple[str, Plan]], *, has_standby: bool = False) -> Campaign:
    """Run plans on the server in memory. has_standby: another instance takes over instead of a restart."""
    campaign = Campaign(title)
    for name, plan in faults:
        expected = reference(name)
        outcome = run(SCENARIOS[name], plan, has_standby=has_standby)
        differences = expected.differences(outcome)
        count = len(expected.outcome.writes)
        if not outcome.crashes and "lost" not in plan.values():
            differences.append("the plan killed nobody")
        campaign.take(name, count, text_of(plan), differences, crashes=outcome.crashes, events=outcome.events)
    tally.add("the API server in memory", campaign.events)
    return campaign
