"""A pod that no cache shows may only not be shown yet: asked for before a gang is restarted for the lack of it.

A watch that fell silent is noticed after a minute. A standby that takes over within it, or starts on an old list, sees
a job whose gang was complete and no pods: a disruption, it would seem, and a healthy gang would be stopped for it.
"""

from ganger.api.observed import Metadata
from ganger.api.types import TrainingJob
from ganger.app.caches import Caches
from ganger.contract import LABEL_MANAGED_BY, MANAGED_BY
from ganger.kube.cluster import Cluster
from ganger.kube.errors import NotFound
from ganger.kube.resources import PODS
from ganger.plan import elastic, names
from ganger.plan.seen import Decision
from ganger.runtime import wire


async def hidden_pod(cluster: Cluster, caches: Caches, job: TrainingJob, decision: Decision) -> Metadata | None:
    """Return a live pod of the job that the cache lacks, if the decision ends its attempt. Costs one read at most.

    The first missing pod answers for all: if it is gone indeed, the gang has to start anew whatever the others do.
    Raises ApiError.
    """
    attempt = job.status.attempt
    if decision.status is None or decision.status.attempt <= attempt:
        return None
    wanted = (names.pod(job.metadata.name, attempt, worker) for worker in range(elastic.size(job)))
    missing = next((name for name in wanted if caches.pods.find(job.metadata.namespace, name) is None), None)
    if missing is None:
        return None
    try:
        found = wire.identity(await cluster.get(PODS, job.metadata.namespace, missing))
    except NotFound:
        return None
    # A pod without our label is in no list of ours either, and one that is being deleted is as good as gone.
    is_ours = found.controller_uid == job.metadata.uid and found.labels.get(LABEL_MANAGED_BY) == MANAGED_BY
    return found if is_ours and found.deletion_timestamp is None else None
