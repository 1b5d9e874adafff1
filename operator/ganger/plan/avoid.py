"""How a gang avoids the nodes that its job excludes, and how it gets them back when there are no others. Pure.

A pod's affinity cannot be changed, so the pod carries in an annotation which nodes it avoids: one that finds no place
and avoids a node that is no longer excluded is made anew.
"""

from datetime import datetime, timedelta
from typing import Any

from ganger.api.observed import Condition, Pod
from ganger.api.status import TrainingJobStatus
from ganger.api.types import TrainingJob
from ganger.contract import ANNOTATION_EXCLUDED
from ganger.plan.gang import Gang, is_leaving
from ganger.plan.suspicion import decayed, lifted

LIFT_SECONDS = 120.0  # guessed: longer than a scheduler needs, shorter than people wait
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def affinity(user: dict[str, Any], nodes: tuple[str, ...]) -> dict[str, Any]:
    """Return the user's affinity with the nodes taken out of what it requires.

    Terms are alternatives, so each of them gets the requirement. One that is empty matches no node and stays so.
    What is no affinity at all is left to the API server to refuse.
    """
    if not nodes:
        return user
    away = {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": list(nodes)}
    of_nodes = user.get("nodeAffinity") or {}
    required = of_nodes.get(_REQUIRED) or {} if isinstance(of_nodes, dict) else None
    terms = required.get("nodeSelectorTerms") or [] if isinstance(required, dict) else None
    if not isinstance(terms, list) or not all(isinstance(term, dict) for term in terms):
        return user
    new = [
        term | {"matchExpressions": [*(term.get("matchExpressions") or []), away]} if term else term for term in terms
    ]
    required = {"nodeSelectorTerms": new or [{"matchExpressions": [away]}]}
    return user | {"nodeAffinity": of_nodes | {_REQUIRED: required}}


def outdated(job: TrainingJob, gang: Gang) -> tuple[Pod, ...]:
    """Return the pods that find no place and avoid a node that the job no longer excludes."""
    waiting = (pod for pod in gang.present.values() if _unplaced(pod) is not None and not is_leaving(pod))
    return tuple(pod for pod in waiting if not _avoids(pod) <= set(job.status.excluded_nodes))


def released(job: TrainingJob, gang: Gang, now: datetime) -> tuple[TrainingJobStatus, str] | None:
    """Return the status without the decayed exclusions, and a sentence, while a worker still looks for a place.

    A gang that has its places needs no write for it: the next one that is due leaves them out as well.
    """
    status = decayed(job.status, now)
    looks = gang.missing or any(_unplaced(pod) is not None for pod in gang.present.values())
    if not looks or status == job.status:
        return None
    nodes = ", ".join(node for node in job.status.excluded_nodes if node not in status.excluded_nodes)
    return status, f"avoided no longer, for the suspicion has decayed: {nodes}"


def lift(job: TrainingJob, gang: Gang, now: datetime) -> tuple[TrainingJobStatus, str] | None:
    """Return the status without one exclusion, and a sentence, when pods have waited too long because of them."""
    left = lift_seconds(job, gang, now)
    if left is None or left > 0:
        return None
    status, least = lifted(job.status, now)
    text = f"node {least.node} ({least.reason}) is avoided no longer: the gang found no place in {LIFT_SECONDS:.0f} s"
    return status, text


def lift_seconds(job: TrainingJob, gang: Gang, now: datetime) -> float | None:
    """Return the seconds until an exclusion is lifted, None while no pod waits that avoids the present ones."""
    old = outdated(job, gang)  # they are about to be made anew, and those that leave are on the way to it
    waiting = (pod for pod in gang.present.values() if pod not in old and not is_leaving(pod))
    refused = (_unplaced(pod) for pod in waiting if _avoids(pod))
    times = (found.last_transition_time for found in refused if found is not None)
    since = min((time for time in times if time is not None), default=None)
    return None if since is None else (since + timedelta(seconds=LIFT_SECONDS) - now).total_seconds()


def _unplaced(pod: Pod) -> Condition | None:
    conditions = pod.status.conditions
    return next((each for each in conditions if each.type == "PodScheduled" and each.status == "False"), None)


def _avoids(pod: Pod) -> set[str]:
    return set(pod.metadata.annotations.get(ANNOTATION_EXCLUDED, "").split(",")) - {""}
