"""The job that makes model files from a checkpoint of another job (docs/adr/0027-exports.md). Pure.

One worker whose command is the program that the operator runs when a training is done: no second mechanism, so image,
code, data, limits, queue and security are those that the training had.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from ganger.api.types import TrainingJob
from ganger.contract import API_GROUP, API_VERSION, CHECKPOINT_MOUNT, EXPORT_PATH, KIND, LABEL_QUEUE
from ganger.plan import names, volumes
from ganger.plan.exportpod import PROGRAM, alone

SOURCE, TARGET = "export-from", "export-to"  # volumes
SOURCE_MOUNT, TARGET_MOUNT = "/export/from", "/export/to"
TIME_TO_LIVE_SECONDS = 86_400
_NAME_MAX = 28  # of the job's own: 40 characters are a name, and -export-xxxx are twelve
_KEPT = (
    "code",
    "sharedMemory",
    "env",
    "envFrom",
    "nodeSelector",
    "affinity",
    "tolerations",
    "priorityClassName",
    "schedulerName",
    "serviceAccountName",
    "imagePullSecrets",
    "runtimeClassName",
    "image",
    "resources",
)


class Wish(Struct, frozen=True, kw_only=True):
    """What is asked for. step: of which checkpoint; else the best or the newest. to: claim and folder, else beside."""

    formats: tuple[str, ...]
    tolerance: float
    opset: int | None = None
    step: int | None = None
    best: bool = False
    to: tuple[str, str] | None = None

    def path(self, job: TrainingJob) -> str:
        """Return the folder below which a folder for each format is made."""
        if self.to is not None and self.to[1]:
            return self.to[1]
        point = f"/step-{self.step}" if self.step is not None else "/best" if self.best else ""
        return f"{job.metadata.name if self.to is not None else EXPORT_PATH}{point}"

    def entries(self, job: TrainingJob) -> list[dict[str, Any]]:
        """Return them as the program reads them (contract.EXPORT_KEYS)."""
        return [
            {
                "format": one,
                "path": self.path(job),
                "from": "Best" if self.best else "Latest",
                "tolerance": self.tolerance,
                "opset": self.opset if one == "onnx" else None,
                "step": self.step,
            }
            for one in self.formats
        ]


def manifest(job: TrainingJob, wish: Wish, token: str) -> dict[str, Any]:
    """Return the manifest of the job that does it. `job` has a task and keeps checkpoints; token: four characters."""
    checkpoint, spec = job.spec.checkpoint, msgspec.json.decode(msgspec.json.encode(alone(job).spec))
    assert checkpoint is not None
    assert job.spec.task is not None
    claim = checkpoint.volume.claim_name or names.claim(job.metadata.name)
    folder = (volumes.checkpoint_dir(job) or "").replace(CHECKPOINT_MOUNT, SOURCE_MOUNT, 1)
    is_elsewhere = wish.to is not None and wish.to[0] != claim
    mounted = [{"name": SOURCE, "claim": {"claimName": claim, "readOnly": is_elsewhere}}]
    mounts: list[dict[str, Any]] = [{"name": SOURCE, "mountPath": SOURCE_MOUNT, "readOnly": is_elsewhere}]
    target = folder if wish.to is None else SOURCE_MOUNT
    if wish.to is not None and is_elsewhere:
        mounted.append({"name": TARGET, "claim": {"claimName": wish.to[0], "readOnly": False}})
        mounts.append({"name": TARGET, "mountPath": TARGET_MOUNT})
        target = TARGET_MOUNT
    command = [
        *PROGRAM,
        *("--task", job.spec.task),
        *("--config", msgspec.json.encode(job.spec.config, order="sorted").decode()),
        *("--checkpoints", folder),
        *("--exports", msgspec.json.encode(wish.entries(job)).decode()),
        *("--to", target),
        *("--job", job.metadata.name),
    ]
    queue = job.metadata.labels.get(LABEL_QUEUE)
    name = f"{job.metadata.name[:_NAME_MAX].rstrip('-')}-export-{token}"
    return {
        "apiVersion": f"{API_GROUP}/{API_VERSION}",
        "kind": KIND,
        "metadata": {"name": name} | ({"labels": {LABEL_QUEUE: queue}} if queue else {}),
        "spec": {
            **{field: spec[field] for field in _KEPT if field in spec},
            "command": command,
            "volumes": [*spec.get("volumes", ()), *mounted],
            "volumeMounts": [*spec.get("volumeMounts", ()), *mounts],
            "failurePolicy": {"maxRestarts": 1},
            "ttlSecondsAfterFinished": TIME_TO_LIVE_SECONDS,
        },
    }


def obstacle(job: TrainingJob, formats: Sequence[str]) -> tuple[str, str] | None:
    """Return why no model file of a job can be made, and what to do; None where one can."""
    if job.spec.task is None:
        return "it runs a script or a command, whose model nobody knows", "let the script write its model files itself"
    if job.spec.checkpoint is None:
        return "it keeps no checkpoints (spec.checkpoint is not set)", "train with spec.checkpoint, and export then"
    point = job.status.checkpoint
    if point is None or point.latest_step is None:
        fix = f"wait for the first one: 'ganger request {job.metadata.name} checkpoint' asks for it now"
        return "it has no checkpoint yet, as far as its status says", fix
    return None
