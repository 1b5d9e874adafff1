"""Volumes of a worker, and the claim for its checkpoints.

Everything a worker may write to is a volume: its root file system is read-only.
"""

from typing import Any

from ganger.api import quantity
from ganger.api.types import TrainingJob
from ganger.api.workload import ClaimVolume, Code, ImageVolume, ObjectVolume, Volume
from ganger.contract import CHECKPOINT_MOUNT, CODE_MOUNT
from ganger.plan import data, names


def checkpoint_dir(job: TrainingJob) -> str | None:
    """Return the folder of the job's checkpoints inside the worker, or None when it keeps none.

    A claim that others may share gets a folder for each job; a volume of the job's own is used from its root.
    """
    checkpoint = job.spec.checkpoint
    if checkpoint is None:
        return None
    if checkpoint.volume.claim_name is None:
        return CHECKPOINT_MOUNT
    return f"{CHECKPOINT_MOUNT}/{checkpoint.volume.path or job.metadata.name}"


def claim(job: TrainingJob) -> dict[str, Any] | None:
    """Return the claim that is made for the job's checkpoints, or None when it brings one or keeps none.

    whenDeleted Delete makes the job its owner; Retain leaves it without one, so that it outlives the job and a job of
    the same name goes on from it.
    """
    checkpoint = job.spec.checkpoint
    if checkpoint is None or checkpoint.volume.claim_name is not None:
        return None
    volume = checkpoint.volume
    mode = volume.access_mode or ("ReadWriteMany" if job.spec.most_workers > 1 else "ReadWriteOnce")
    metadata: dict[str, Any] = {
        "name": names.claim(job.metadata.name),
        "namespace": job.metadata.namespace,
        "labels": names.labels(job),
    }
    if volume.when_deleted == "Delete":
        metadata["ownerReferences"] = [names.owner_reference(job)]
    spec: dict[str, Any] = {"accessModes": [mode], "resources": {"requests": {"storage": volume.size}}}
    if volume.storage_class_name is not None:
        spec["storageClassName"] = volume.storage_class_name
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def _claim_source(claim: ClaimVolume) -> dict[str, Any]:
    return {"persistentVolumeClaim": {"claimName": claim.claim_name, "readOnly": claim.read_only}}


def _config_map_source(source: ObjectVolume) -> dict[str, Any]:
    return {"configMap": {"name": source.name, "optional": source.optional}}


def _image_source(image: ImageVolume) -> dict[str, Any]:
    return {"image": {"reference": image.reference, "pullPolicy": image.pull_policy}}


def _source(volume: Volume) -> dict[str, Any]:
    if volume.claim is not None:
        return _claim_source(volume.claim)
    if volume.config_map is not None:
        return _config_map_source(volume.config_map)
    if volume.secret is not None:
        return {"secret": {"secretName": volume.secret.name, "optional": volume.secret.optional}}
    if volume.image is not None:
        return _image_source(volume.image)
    if volume.ephemeral is not None:
        claim_spec: dict[str, Any] = {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": volume.ephemeral.size}},
        }
        if volume.ephemeral.storage_class_name is not None:
            claim_spec["storageClassName"] = volume.ephemeral.storage_class_name
        return {"ephemeral": {"volumeClaimTemplate": {"spec": claim_spec}}}
    empty: dict[str, Any] = {}
    if volume.empty_dir is not None and volume.empty_dir.medium:
        empty["medium"] = volume.empty_dir.medium
    if volume.empty_dir is not None and volume.empty_dir.size_limit is not None:
        empty["sizeLimit"] = volume.empty_dir.size_limit
    return {"emptyDir": empty}


def _code_source(code: Code) -> dict[str, Any]:
    if code.config_map is not None:
        return _config_map_source(code.config_map)
    if code.image is not None:
        return _image_source(code.image)
    assert code.claim is not None
    return _claim_source(code.claim)


def _shared_memory(job: TrainingJob) -> dict[str, Any]:
    """Shared memory is a tmpfs, since the container default of 64 MiB breaks data loaders and NCCL."""
    size = job.spec.shared_memory
    if size != "auto":
        return {"medium": "Memory", "sizeLimit": size}
    memory = job.spec.resources.limits.get("memory")
    if memory is None:
        return {"medium": "Memory"}
    return {"medium": "Memory", "sizeLimit": str(int(quantity.parse(memory) / 2))}


def of_worker(job: TrainingJob) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the volumes of a worker's pod and the mounts of its container."""
    spec = job.spec
    volumes: list[dict[str, Any]] = [
        {"name": "ganger-tmp", "emptyDir": {}},
        {"name": "ganger-shm", "emptyDir": _shared_memory(job)},
    ]
    mounts: list[dict[str, Any]] = [
        {"name": "ganger-tmp", "mountPath": "/tmp"},  # noqa: S108 -- the path inside the pod, a volume of its own
        {"name": "ganger-shm", "mountPath": "/dev/shm"},  # noqa: S108
    ]
    if spec.checkpoint is not None:
        claim_name = spec.checkpoint.volume.claim_name or names.claim(job.metadata.name)
        volumes.append({"name": "ganger-checkpoints", "persistentVolumeClaim": {"claimName": claim_name}})
        mounts.append({"name": "ganger-checkpoints", "mountPath": CHECKPOINT_MOUNT})
    if spec.code is not None:
        volumes.append({"name": "ganger-code", **_code_source(spec.code)})
        mounts.append({"name": "ganger-code", "mountPath": CODE_MOUNT, "readOnly": True})
    for found, kept in zip(data.of_worker(job), (volumes, mounts), strict=True):
        kept.extend(found)
    volumes.extend({"name": volume.name, **_source(volume)} for volume in spec.volumes)
    for mount in spec.volume_mounts:
        entry: dict[str, Any] = {"name": mount.name, "mountPath": mount.mount_path}
        if mount.sub_path is not None:
            entry["subPath"] = mount.sub_path
        if mount.read_only:
            entry["readOnly"] = True
        mounts.append(entry)
    return volumes, mounts
