"""The NetworkPolicy that lets nobody but the gang itself reach a job's workers (docs/adr/0025-isolated-jobs.md). Pure.

One for each job, since a selector compares with constants: no policy of a namespace can say "of the same job".
"""

from typing import Any

from ganger.api.types import TrainingJob
from ganger.contract import LABEL_JOB_UID, METRICS_PORT
from ganger.plan import names


def network_policy(job: TrainingJob) -> dict[str, Any]:
    """Return the policy: its workers at every port from each other, at the metrics port from anywhere, else nothing.

    Every port, since NCCL and gloo listen where the kernel lets them. What workers reach outside is not restricted.
    By the UID, so that a successor of the same name is another gang. Written as the API server stores it.
    """
    gang = {"matchLabels": {LABEL_JOB_UID: job.metadata.uid}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": names.network_policy(job.metadata.name),
            "namespace": job.metadata.namespace,
            "labels": names.labels(job),
            "ownerReferences": [names.owner_reference(job)],
        },
        "spec": {
            "podSelector": gang,
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [{"podSelector": gang}]},
                {"ports": [{"port": METRICS_PORT, "protocol": "TCP"}]},
            ],
        },
    }
