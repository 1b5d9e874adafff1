"""Which nodes a job has reason to avoid, and for how long (docs/adr/0009). Pure.

Each piece of evidence adds to a node's score, which halves every HALF_LIFE_SECONDS. From EXCLUDE_FROM on the node is
excluded, and it stays so until the score is below RELEASE_BELOW; both are looked at when a new attempt is decided on.
"""

import math
from datetime import datetime

import msgspec
from msgspec import Struct

from ganger.api.status import Failure, Suspicion, TrainingJobStatus
from ganger.plan.gang import Gang
from ganger.plan.hardware import broken_devices
from ganger.plan.remedy import CLASSES

HALF_LIFE_SECONDS = 6 * 3600.0  # guessed: a node that is repaired or drained is so within a shift
EXCLUDE_FROM, RELEASE_BELOW = 1.0, 0.5
REPEATED = 2 / 3  # of one failure: two within a half-life exclude the node
SCORE_MAX = 4.0  # so that the longest exclusion is three half-lives after the last evidence
FORGET_BELOW = 1 / 32
KEPT_MAX, EXCLUDED_MAX = 16, 8
UNHEALTHY = "DeviceUnhealthy"


class Evidence(Struct, frozen=True, kw_only=True):
    """Why one node is suspected. weight: EXCLUDE_FROM excludes it at once."""

    node: str
    reason: str
    weight: float = EXCLUDE_FROM


def score(suspicion: Suspicion, now: datetime) -> float:
    """Return what is left of the suspicion. A clock that was set back does not make it grow."""
    age = max(0.0, (now - suspicion.time).total_seconds()) if suspicion.time is not None else 0.0
    return suspicion.score * math.pow(0.5, age / HALF_LIFE_SECONDS)


def of_attempt(gang: Gang, cause: Failure, *, counted: bool, exclude: bool) -> tuple[Evidence, ...]:
    """Return the evidence that the end of an attempt gives, at most one piece for each node.

    A failure that may be the node's own tells something only where the gang had other nodes as well: on its only node
    everything fails.
    """
    found: dict[str, Evidence] = {}
    nodes = {pod.spec.node_name for pod in gang.present.values() if pod.spec.node_name}
    of_node = cause.reason in CLASSES and CLASSES[cause.reason].of_node
    if counted and of_node and len(nodes) > 1:
        found[cause.node] = Evidence(node=cause.node, reason=cause.reason, weight=REPEATED)
    for pod in gang.present.values():
        if broken_devices(pod):
            found[pod.spec.node_name] = Evidence(node=pod.spec.node_name, reason=UNHEALTHY)
    if exclude or cause.reason == "NodeLost":
        found[cause.node] = Evidence(node=cause.node, reason=cause.reason)
    found.pop("", None)
    return tuple(found.values())


def remember(
    status: TrainingJobStatus, evidence: tuple[Evidence, ...], now: datetime, *, renew: bool = False
) -> TrainingJobStatus:
    """Return the status with the evidence and with the nodes that are to be avoided from now on.

    renew: the evidence is that an old suspicion still holds; it is not added to it.
    """
    known = {one.node: one for one in status.node_suspicions if score(one, now) >= FORGET_BELOW}
    for new in evidence:
        before = score(known[new.node], now) if new.node in known else 0.0
        after = max(before, new.weight) if renew else min(SCORE_MAX, before + new.weight)
        known[new.node] = Suspicion(node=new.node, score=round(after, 3), reason=new.reason, time=now)
    kept = sorted(known.values(), key=lambda one: (-score(one, now), one.node))[:KEPT_MAX]
    excluded = [
        one.node
        for one in kept
        if score(one, now) >= (RELEASE_BELOW if one.node in status.excluded_nodes else EXCLUDE_FROM)
    ]
    return msgspec.structs.replace(
        status,
        node_suspicions=tuple(sorted(kept, key=lambda one: one.node)),
        excluded_nodes=tuple(sorted(excluded[:EXCLUDED_MAX])),
    )


def decayed(status: TrainingJobStatus, now: datetime) -> TrainingJobStatus:
    """Return the status without the exclusions of which too little is left; the same status where there is none."""
    left = {one.node: score(one, now) for one in status.node_suspicions}
    kept = tuple(node for node in status.excluded_nodes if left.get(node, 0.0) >= RELEASE_BELOW)
    return status if kept == status.excluded_nodes else msgspec.structs.replace(status, excluded_nodes=kept)


def lifted(status: TrainingJobStatus, now: datetime) -> tuple[TrainingJobStatus, Suspicion]:
    """Return the status without the exclusion that has the least reason left, and that suspicion."""
    excluded = [one for one in status.node_suspicions if one.node in status.excluded_nodes]
    least = min(excluded, key=lambda one: (score(one, now), one.time or now, one.node))
    weaker = msgspec.structs.replace(least, score=min(RELEASE_BELOW / 2, score(least, now)), time=now)
    return msgspec.structs.replace(
        status,
        node_suspicions=tuple(weaker if one == least else one for one in status.node_suspicions),
        excluded_nodes=tuple(node for node in status.excluded_nodes if node != least.node),
    ), least
