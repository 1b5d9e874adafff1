"""Test data in words: jobs and pods as the tests speak of them."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from ganger.api.observed import Pod
from ganger.api.status import TrainingJobStatus
from ganger.api.types import TrainingJob, decode
from ganger.contract import CONTAINER, LABEL_ATTEMPT, LABEL_JOB, LABEL_JOB_UID, LABEL_MANAGED_BY, LABEL_WORKER
from ganger.plan import names

T0 = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """So many seconds after the creation of every job here."""
    return T0 + timedelta(seconds=seconds)


def job(*, name: str = "digits", uid: str = "uid-1", generation: int = 1, **spec: Any) -> TrainingJob:
    """A filled job with two workers and a task, changed by `spec` in the words of the manifest."""
    return decode(
        {
            "metadata": {
                "name": name,
                "namespace": "team",
                "uid": uid,
                "generation": generation,
                "creationTimestamp": T0,
            },
            "spec": {"image": "pytorch-cuda:v2.15", "task": "m:t", "workers": 2} | spec,
        }
    )


def with_status(job_: TrainingJob, status: TrainingJobStatus | None) -> TrainingJob:
    """The job with that status; unchanged where there is none."""
    return job_ if status is None else msgspec.structs.replace(job_, status=status)


def with_spec(job_: TrainingJob, **spec: Any) -> TrainingJob:
    """The job after an edit of its spec."""
    edited = msgspec.structs.replace(job_.spec, **spec)
    metadata = msgspec.structs.replace(job_.metadata, generation=job_.metadata.generation + 1)
    return msgspec.structs.replace(job_, spec=edited, metadata=metadata)


def pod(
    job_: TrainingJob,
    worker: int,
    *,
    attempt: int = 0,
    phase: str = "Running",
    exit_code: int | None = None,
    reason: str = "",
    said: dict[str, Any] | str | None = None,
    ended: float = 10.0,
    leaving: bool = False,
    waiting: tuple[str, str] | None = None,
    conditions: list[dict[str, str]] | None = None,
    owner_uid: str | None = None,
    devices: dict[str, str] | None = None,
) -> Pod:
    """A pod of the job as the kubelet would report it. `ended` in seconds after T0. devices: health of each GPU."""
    state: dict[str, Any] = {"running": {"startedAt": at(1)}} if phase == "Running" else {}
    if waiting is not None:
        state = {"waiting": {"reason": waiting[0], "message": waiting[1]}}
    if exit_code is not None:
        message = said if isinstance(said, str) else json.dumps(said) if said is not None else ""
        state = {
            "terminated": {
                "exitCode": exit_code,
                "reason": reason or ("Completed" if exit_code == 0 else "Error"),
                "message": message,
                "finishedAt": at(ended),
            }
        }
        phase = "Succeeded" if exit_code == 0 else "Failed"
    uid = owner_uid or job_.metadata.uid
    health = [{"resourceID": name, "health": word} for name, word in (devices or {}).items()]
    resources = msgspec.Raw(json.dumps([{"name": "nvidia.com/gpu", "resources": health}]).encode() if health else b"")
    return msgspec.convert(
        {
            "metadata": {
                "name": names.pod(job_.metadata.name, attempt, worker),
                "namespace": job_.metadata.namespace,
                "uid": f"pod-{attempt}-{worker}",
                "creationTimestamp": at(0.5),
                "deletionTimestamp": at(5) if leaving else None,
                "labels": {
                    LABEL_MANAGED_BY: "ganger",
                    LABEL_JOB: job_.metadata.name,
                    LABEL_JOB_UID: uid,
                    LABEL_ATTEMPT: str(attempt),
                    LABEL_WORKER: str(worker),
                },
                "ownerReferences": [{"uid": uid, "kind": "TrainingJob", "controller": True}],
            },
            "spec": {"nodeName": "node-1" if phase != "Pending" else ""},
            "status": {
                "phase": phase,
                "podIP": "10.0.0.1" if phase != "Pending" else "",
                "conditions": conditions or [],
                "containerStatuses": [
                    {
                        "name": CONTAINER,
                        "image": "registry/trainer:v1",
                        "state": state,
                        "allocatedResourcesStatus": resources,
                    }
                ],
            },
        },
        Pod,
    )


def running_gang(job_: TrainingJob, *, attempt: int = 0) -> tuple[Pod, ...]:
    """All pods of the attempt, running."""
    return tuple(pod(job_, worker, attempt=attempt) for worker in range(job_.spec.workers))
