"""A pod like a worker of a job that need not be in the cluster, for a shell. Pure.

Made by the pieces that make workers, so that image, mounts, resources and placement are those of a worker by
construction. It has nothing of a gang, and none of the labels and owners by which workers are known.
"""

from typing import Any

import msgspec

from ganger import contract
from ganger.api.types import TrainingJob, encode
from ganger.plan import data, environment, pods, sessionpod, volumes

LABEL_SHELL = "ganger.dev/shell-of"  # the job's name
_CHECKPOINTS = "ganger-checkpoints"


def pod(job: TrainingJob, name: str, *, seconds: int, has_checkpoints: bool, fetcher: str) -> dict[str, Any]:
    """Return the manifest of the pod. It does nothing but wait, and ends by itself after so many seconds.

    `job` is filled: its image is set, and its profile's values are in it. has_checkpoints: whether the claim of its
    checkpoints is there, which is mounted for reading; else an empty folder stands in its place. fetcher: the image
    that fetches data where the job runs a command, whose own image may be any.
    """
    job = _with_own_data(job)
    assert job.spec.image is not None, "fill the job before building its pods"
    pod_volumes, mounts = volumes.of_worker(job)
    pod_volumes = [
        {"name": _CHECKPOINTS, "emptyDir": {}} if one["name"] == _CHECKPOINTS and not has_checkpoints else one
        for one in pod_volumes
    ]
    mounts = [one | {"readOnly": True} if one["name"] == _CHECKPOINTS and has_checkpoints else one for one in mounts]
    container = {
        "name": contract.CONTAINER,
        "image": job.spec.image,
        "command": ["sleep", str(seconds)],
        "env": _environment(job),
        "volumeMounts": mounts,
        "securityContext": pods.CONTAINER_SECURITY,
    } | pods.supplies(job)
    spec = pods.frame(job, name, container, pod_volumes)
    image = fetcher if job.spec.command is not None else job.spec.image
    if (fetching := data.container(job, name, image, pods.CONTAINER_SECURITY)) is not None:
        spec["initContainers"] = [fetching]
    spec["tolerations"] = [encode(toleration) for toleration in job.spec.tolerations]
    if job.spec.affinity:
        spec["affinity"] = job.spec.affinity
    # `sleep` as the first process of a container hears no TERM, and there is nothing to be saved.
    spec |= {"activeDeadlineSeconds": seconds, "terminationGracePeriodSeconds": 1}
    labels = {contract.LABEL_MANAGED_BY: "ganger-cli", LABEL_SHELL: job.metadata.name}
    metadata = {"name": name, "namespace": job.metadata.namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _environment(job: TrainingJob) -> list[dict[str, Any]]:
    of_worker = environment.worker_environment(
        job, 0, 0, rendezvous_host="", checkpoint_dir=volumes.checkpoint_dir(job)
    )
    env = {name: of_worker[name] for name in sessionpod.FROM_JOB if name in of_worker}
    names_set = {variable.name for variable in job.spec.env}
    # A library that writes to its home must not meet the read-only root.
    defaults = {"HOME": "/tmp", "PYTHONPATH": contract.CODE_MOUNT if job.spec.code else ""}  # noqa: S108
    env |= {name: value for name, value in defaults.items() if value and name not in names_set}
    return environment.as_entries(env) + [encode(variable) for variable in job.spec.env]


def _with_own_data(job: TrainingJob) -> TrainingJob:
    """Return the job with a cache of the pod's own where data has no digest: nobody else may have it, or clear it."""
    if all(source.sha256 for source in data.fetched(job)):
        return job
    return msgspec.structs.replace(job, spec=msgspec.structs.replace(job.spec, data_cache=None))
