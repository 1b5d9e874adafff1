"""The taints that a worker bears: the user's, and for a moment those of a node that does not answer."""

from typing import Any

from ganger.api.types import TrainingJob, encode
from ganger.api.workload import Toleration

# The cluster's default of 300 s leaves the whole gang waiting for one node that is gone.
UNREACHABLE_SECONDS = 30
_KEYS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def of_worker(job: TrainingJob) -> list[dict[str, Any]]:
    """Return the tolerations of every worker. One of the user's that bears such a taint stands for ours."""
    ours = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": UNREACHABLE_SECONDS}
        for key in _KEYS
        if not any(_bears(toleration, key) for toleration in job.spec.tolerations)
    ]
    return [encode(toleration) for toleration in job.spec.tolerations] + ours


def _bears(toleration: Toleration, key: str) -> bool:
    # These taints have no value, so that Equal matches them only with none.
    of_key = toleration.key in (None, key) and not toleration.value
    return of_key and toleration.effect in (None, "NoExecute")
