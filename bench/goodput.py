"""Effective training time under a seeded plan of faults, on simulated time: `make bench ONLY=goodput`.

Every decision is the operator's own (`plan.decide`), and so are class, count, backoff, rung and accounts of each fault;
simulated are the clock, the kubelet and the workers. `COSTS` says what each takes, and which of it was measured. The
same seed gives the same plan and the same result.
"""

from collections import Counter

import msgspec

from bench.faultcosts import COSTS, STEP_SECONDS, Costs
from bench.faultworld import World

HOURS = 24


def simulate(seed: int, hours: float, costs: Costs = COSTS) -> dict:
    """Return what became of one plan: the ratio by the simulated truth and by the operator's account, and its parts."""
    world = World(seed, hours, costs)
    world.run()
    goodput = world.job.status.goodput
    truth = world.step * STEP_SECONDS / world.end
    reasons = Counter(
        f"{reason}, {rung}, {'counted' if counted else 'free'}" for _, reason, rung, counted in world.restarts
    )
    return {
        "seed": seed,
        "hours": hours,
        "faults": dict(Counter(kind for _, kind in world.faults)),
        "effectiveRatio": round(truth, 4),
        "ratioByOperator": goodput.ratio,
        "seconds": msgspec.structs.asdict(goodput.seconds),
        "lostSteps": goodput.lost_steps,
        "restarts": dict(sorted(reasons.items())),
        "secondsToNextStep": {kind: round(sum(all_) / len(all_), 2) for kind, all_ in sorted(world.out.items())},
        "attempt": world.job.status.attempt,
    }


def measure() -> dict:
    """Five plans of a day each."""
    found = [simulate(seed, HOURS) for seed in range(5)]
    ratios = [each["effectiveRatio"] for each in found]
    return {
        "effectiveRatio": {"min": min(ratios), "mean": round(sum(ratios) / len(ratios), 4)},
        "costs": msgspec.structs.asdict(COSTS),
        "plans": found,
    }
