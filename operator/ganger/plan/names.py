"""Names and labels of everything that Ganger makes, each a function of the job alone.

Deterministic names make a duplicate impossible by construction: two controllers, a stale cache or a crash meet in a
harmless 409. The CRD bounds the job's name to 40 characters, so that every name stays within a DNS label of 63.
"""

from ganger.api.types import TrainingJob
from ganger.contract import (
    API_GROUP,
    API_VERSION,
    KIND,
    LABEL_ATTEMPT,
    LABEL_JOB,
    LABEL_JOB_UID,
    LABEL_MANAGED_BY,
    LABEL_WORKER,
    MANAGED_BY,
)

PROBE_PREFIX = "probe-"  # of the worker label and of the name
EXPORT_PREFIX = "export-"  # the same


def pod(job_name: str, attempt: int, worker: int) -> str:
    """Return the name of a worker's pod, its hostname too; no two (job, attempt, worker) of a namespace share one."""
    return f"{job_name}-{attempt}-{worker}"


def probe(job_name: str, attempt: int, number: int) -> str:
    """Return the name of a probe, a pod that looks for room beside the workers; no worker has such a name."""
    return f"{job_name}-{attempt}-{PROBE_PREFIX}{number}"


def export(job_name: str, number: int) -> str:
    """Return the name of the pod that makes model files in its try of that number; no worker has such a name."""
    return f"{job_name}-{EXPORT_PREFIX}{number}"


def service(job_name: str) -> str:
    """Return the name of the headless Service, which is also the subdomain of the workers."""
    return f"{job_name}-gang"


def network_policy(job_name: str) -> str:
    """Return the name of the NetworkPolicy of a job whose workers nobody else may reach."""
    return f"{job_name}-gang"


def pod_group(job_name: str, attempt: int) -> str:
    """Return the name of an attempt's PodGroup. A group is used once: its first scheduling is never taken back."""
    return f"{job_name}-{attempt}"


def claim(job_name: str) -> str:
    """Return the name of the claim that is made for the job's checkpoints."""
    return f"{job_name}-checkpoints"


def labels(job: TrainingJob) -> dict[str, str]:
    """Return the labels of every object of the job."""
    return {
        LABEL_MANAGED_BY: MANAGED_BY,
        LABEL_JOB: job.metadata.name,
        LABEL_JOB_UID: job.metadata.uid,
    }


def worker_labels(job: TrainingJob, attempt: int, worker: int) -> dict[str, str]:
    """Return the labels of a worker's pod."""
    return labels(job) | {LABEL_ATTEMPT: str(attempt), LABEL_WORKER: str(worker)}


def export_labels(job: TrainingJob, number: int) -> dict[str, str]:
    """Return the labels of the pod that makes model files, of the attempt that has ended the training."""
    return labels(job) | {LABEL_ATTEMPT: str(job.status.attempt), LABEL_WORKER: f"{EXPORT_PREFIX}{number}"}


def selector(job: TrainingJob) -> str:
    """Return the label selector of all workers, for the scale subresource."""
    return f"{LABEL_JOB_UID}={job.metadata.uid}"


def owner_reference(job: TrainingJob) -> dict[str, object]:
    """Return the reference that makes the job the controller of an object, so that deletion cascades."""
    return {
        "apiVersion": f"{API_GROUP}/{API_VERSION}",
        "kind": KIND,
        "name": job.metadata.name,
        "uid": job.metadata.uid,
        "controller": True,
    }
