"""Where the workers of a gang run in relation to each other. Pure (docs/adr/0022-devices-and-racks.md)."""

from typing import Any

from ganger.api.types import TrainingJob
from ganger.contract import LABEL_ATTEMPT, LABEL_JOB_UID

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def affinity(job: TrainingJob, attempt: int) -> dict[str, Any]:
    """Return the user's affinity, and where the job asks for it that of an attempt's workers to each other.

    The first worker is let through by the scheduler, for it matches its own term. What is no affinity at all is left to
    the API server to refuse. A probe, which carries no UID of the job, is drawn to the gang as well.
    """
    user = job.spec.affinity
    if job.spec.required_topology_key is None or job.spec.most_workers == 1:
        return user
    of_pods = user.get("podAffinity") or {}
    terms = of_pods.get(_REQUIRED) or [] if isinstance(of_pods, dict) else None
    if not isinstance(terms, list):
        return user
    gang = {LABEL_JOB_UID: job.metadata.uid, LABEL_ATTEMPT: str(attempt)}
    term = {"labelSelector": {"matchLabels": gang}, "topologyKey": job.spec.required_topology_key}
    return user | {"podAffinity": of_pods | {_REQUIRED: [*terms, term]}}
