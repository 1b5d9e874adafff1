"""200 gangs of 16 workers in two queues of a real Kueue, on 1,000 simulated nodes, with priorities.

Everything but the nodes and the training is real. A judge sees every event of the pods, the Workloads and the jobs,
from one watch each: the quota of a queue is never exceeded, no gang is in part for longer than it may, all finish.
"""

import asyncio
import tempfile
from pathlib import Path

from bench import audit
from ganger_dev.gangs.play import play
from ganger_dev.gangs.scale import FULL
from ganger_dev.gangs.summary import table
from ganger_dev.gangs.world import KUEUE, OPERATOR, opened

GOAL = "all gangs Complete, no violation"
SETTLE_SECONDS = 1.0  # the audit log is written behind the answers


def measure() -> dict:
    """Run it, print the table, and return the figures; `failed` where the run did not keep its rules."""
    scale = FULL
    with tempfile.TemporaryDirectory(prefix="ganger-gangs-") as name, opened(scale, Path(name)) as world:
        since = audit.position(world.plane.audit_log)
        outcome = asyncio.run(_played(world, scale))
        found = audit.requests(world.plane.audit_log, since)
    writes = {
        who: round(sum(audit.writes(found, who).values()) / scale.gangs, 2)
        for who in (OPERATOR, KUEUE, "system:kube-scheduler")
    }
    for line in [*table(outcome.figures), *outcome.trouble]:
        print(f"  {line}", flush=True)
    print(f"  writes for each job: {', '.join(f'{who} {count}' for who, count in writes.items())}", flush=True)
    return outcome.figures | {
        "bench": "gangs",
        "nodes": scale.nodes,
        "workers": scale.workers,
        "events": len(outcome.facts),
        "trouble": outcome.trouble,
        "writesPerJob": writes,
        "writesOfOperator": audit.writes(found, OPERATOR),
        "refused": {
            f"{code} {verb} {resource}": count
            for (who, verb, resource, code), count in sorted(found.items())
            if who == OPERATOR and verb in audit.WRITES and code >= 400
        },
        "failed": not outcome.is_good,
        "goal": GOAL,
    }


async def _played(world, scale):
    outcome = await play(world, scale, lambda text: print(text, flush=True))
    await asyncio.sleep(SETTLE_SECONDS)
    return outcome
