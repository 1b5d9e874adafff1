"""The headless Service that gives the gang a stable meeting point.

It selects worker 0 alone: the others need no name, since torchrun's store lives with worker 0. Selecting every worker
makes the cluster's endpoint controllers write again and again while a gang comes up. `decide` creates it as soon as
worker 0 has an address; workers that ask for the name before that ask again.
"""

from typing import Any

from ganger.api.types import TrainingJob
from ganger.contract import LABEL_JOB_UID, LABEL_WORKER, RENDEZVOUS_PORT
from ganger.plan import names


def service(job: TrainingJob) -> dict[str, Any] | None:
    """Return the Service of the gang, or None for a job of one worker, which meets itself on loopback."""
    if job.spec.most_workers == 1:
        return None
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": names.service(job.metadata.name),
            "namespace": job.metadata.namespace,
            "labels": names.labels(job),
            "ownerReferences": [names.owner_reference(job)],
        },
        "spec": {
            "clusterIP": "None",
            # Workers look worker 0 up before it is ready, and there is no probe to wait for.
            "publishNotReadyAddresses": True,
            "selector": {LABEL_JOB_UID: job.metadata.uid, LABEL_WORKER: "0"},
            "ports": [{"name": "rendezvous", "port": RENDEZVOUS_PORT}],
        },
    }


def rendezvous_host(job: TrainingJob, attempt: int) -> str:
    """Return the name under which every worker of an attempt finds worker 0.

    Each attempt has its own: a worker 0 that is stuck on a lost node keeps its name in the cluster's DNS.
    """
    if job.spec.most_workers == 1:
        return "127.0.0.1"
    return f"{names.pod(job.metadata.name, attempt, 0)}.{names.service(job.metadata.name)}"
