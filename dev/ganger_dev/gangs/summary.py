"""What a run says at its end: figures, a table, and where it stood still the last states. Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ganger_dev.gangs.expected import Expected
from ganger_dev.gangs.facts import JobFact, PodFact, WorkloadFact
from ganger_dev.gangs.judge import COMPLETE, Judge

_SHOWN_MAX = 8


def figures(judge: Judge, expected: Expected) -> dict[str, Any]:
    """Return what was counted, in base units, by the names of the bench's JSON."""
    held = {
        queue: {
            resource: {
                "quota": float(quota),
                "mostAdmitted": float(judge.admitted.most.get((queue, resource), 0)),
                "mostOnNodes": float(judge.on_nodes.most.get((queue, resource), 0)),
            }
            for resource, quota in of.items()
        }
        for queue, of in expected.quota.items()
    }
    return {
        "gangs": len(expected.gangs),
        "complete": len(judge.completed),
        "secondsToFinish": round(max(judge.completed.values(), default=0.0), 1),
        "medianSecondsUrgent": _median(judge, expected, urgent=True),
        "medianSecondsOthers": _median(judge, expected, urgent=False),
        "evictions": dict(judge.evictions),
        "requeues": sum(judge.admissions.values()) - len(judge.admissions),
        "restarts": dict(judge.restarts),
        "partialSecondsAllowed": expected.partial_seconds,
        "partialSecondsWhileStarting": round(_longest(judge, whole=True), 2),
        "partialSecondsWhileStopping": round(_longest(judge, whole=False), 2),
        "queues": held,
        "violations": [str(one) for one in judge.violations],
    }


def table(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the table of these figures."""
    yield f"{found['complete']} of {found['gangs']} gangs Complete, the last after {found['secondsToFinish']:.0f} s"
    yield (
        f"from submission to Complete: {found['medianSecondsUrgent']:.0f} s for urgent gangs, "
        f"{found['medianSecondsOthers']:.0f} s for the others (medians)"
    )
    yield f"{'queue':<8}{'resource':<18}{'quota':>7}{'most admitted':>16}{'most on nodes':>16}"
    for queue, of in found["queues"].items():
        for resource, one in of.items():
            row = f"{one['quota']:>7g}{one['mostAdmitted']:>16g}{one['mostOnNodes']:>16g}"
            yield f"{queue:<8}{resource:<18}{row}"
    yield f"evictions by Kueue: {_counted(found['evictions'])}; admissions after the first: {found['requeues']}"
    yield f"new attempts: {_counted(found['restarts'])}"
    yield (
        f"longest time in part: {found['partialSecondsWhileStarting']:.2f} s while starting, "
        f"{found['partialSecondsWhileStopping']:.2f} s while stopping; allowed {found['partialSecondsAllowed']:g} s"
    )
    for text in found["violations"]:
        yield f"VIOLATION {text}"


def last_states(
    expected: Expected,
    jobs: Mapping[str, JobFact],
    workloads: Iterable[WorkloadFact],
    pods: Iterable[PodFact],
) -> Iterator[str]:
    """Yield how things stand where a run does not go on: counts of all, and the first gangs that are not Complete."""
    by_gang: dict[str, list[PodFact]] = {}
    for pod in pods:
        by_gang.setdefault(pod.gang, []).append(pod)
    of = {workload.gang: workload for workload in workloads}
    phases = Counter(jobs[name].phase or "no phase" if name in jobs else "not submitted" for name in expected.gangs)
    yield f"gangs: {_counted(phases)}"
    states = Counter(_state(pod) for pods_ in by_gang.values() for pod in pods_)
    yield f"pods: {_counted(states)}"
    open_ = [name for name, job in jobs.items() if job.phase != COMPLETE]
    for name in sorted(open_)[:_SHOWN_MAX]:
        seen = _counted(Counter(_state(pod) for pod in by_gang.get(name, [])))
        told = of[name].told if name in of else "no Workload"
        yield f"  {name}: {jobs[name].phase or 'no phase'}, attempt {jobs[name].attempt}, {jobs[name].told}"
        yield f"    pods: {seen}; Workload: {told or 'no condition'}"
    if len(open_) > _SHOWN_MAX:
        yield f"  and {len(open_) - _SHOWN_MAX} more"


def _state(pod: PodFact) -> str:
    return pod.phase if pod.bound else f"{pod.phase} without a node"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) or "none"


def _median(judge: Judge, expected: Expected, *, urgent: bool) -> float:
    took = [at - judge.began[name] for name, at in judge.completed.items() if expected.gangs[name].urgent == urgent]
    return round(statistics.median(took), 1) if took else 0.0


def _longest(judge: Judge, *, whole: bool) -> float:
    return max((span.seconds for span in judge.spans if span.whole == whole), default=0.0)
