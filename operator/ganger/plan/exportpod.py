"""The pod that makes model files: a worker without devices and without a gang (docs/adr/0027-exports.md). Pure."""

from typing import Any

import msgspec

from ganger import contract
from ganger.api.types import TrainingJob
from ganger.api.workload import Resources
from ganger.plan import names, pods
from ganger.plan.edition import edition
from ganger.plan.gang import Gang, gang
from ganger.plan.site import NOWHERE, Site

PROGRAM = ("python", "-m", "ganger_trainer.export")
SECONDS_MAX = 3600  # guessed: a tracer takes minutes, and one that hangs must not hold a volume for ever
# A node may show all of its GPUs to a container that asked for none.
_NO_DEVICES = {"CUDA_VISIBLE_DEVICES": "", "NVIDIA_VISIBLE_DEVICES": "void"}
_KINDS = ("cpu", "memory", "ephemeral-storage")


def alone(job: TrainingJob) -> TrainingJob:
    """Return the job as one worker that computes on the CPU: what its pod and its process are built from. Pure."""
    resources = job.spec.resources
    spec = msgspec.structs.replace(
        job.spec,
        workers=1,
        elastic=None,
        processes_per_worker=1,
        resources=Resources(requests=_plain(resources.requests), limits=_plain(resources.limits)),
        required_topology_key=None,
        topology_spread_constraints=(),
        live_config={},
    )
    return msgspec.structs.replace(job, spec=spec)


def export_environment(job: TrainingJob, members: Gang) -> dict[str, str]:
    """Return what the program reads beside the environment of a worker: what the training came to. Pure."""
    env = dict(_NO_DEVICES)
    progress, trained_by = job.status.progress, _image_id(members)
    if progress is not None and progress.step is not None:
        metrics = {metric.name: metric.value for metric in progress.metrics}
        said = {"step": progress.step, "metrics": metrics}
        env[contract.ENV_EXPORT_METRICS] = msgspec.json.encode(said).decode()
    if trained_by:
        env[contract.ENV_IMAGE_ID] = trained_by
    return env


def export_pod(job: TrainingJob, number: int, members: Gang, *, made_from: str = "") -> dict[str, Any]:
    """Return the manifest of the pod that makes the job's model files in its try of that number. Pure.

    `job` is filled. made_from: the edition of the stored spec, "" for that of `job`. It reports to nobody: its last
    word says everything.
    """
    one = alone(job)
    # In a pod of its own no attempt of the gang is meant by the number: it tells the tries apart.
    manifest = pods.pod(one, number, 0, made_from=made_from or edition(job))
    metadata, spec = manifest["metadata"], manifest["spec"]
    metadata["name"] = spec["hostname"] = names.export(job.metadata.name, number)
    metadata["labels"] = names.export_labels(job, number)
    metadata["annotations"] = {key: value for key, value in metadata["annotations"].items() if key not in pods.SCRAPE}
    spec["activeDeadlineSeconds"] = SECONDS_MAX
    container = spec["containers"][0]
    container["args"] = list(PROGRAM)
    del container["ports"]
    written = {variable.name for variable in job.spec.env}
    container["env"] += [
        {"name": name, "value": value}
        for name, value in export_environment(job, members).items()
        if name not in written
    ]
    return manifest


def objects(job: TrainingJob, attempt: int = 0, site: Site = NOWHERE) -> list[dict[str, Any]]:
    """Return every object that the controller creates for one attempt that ends well, in that order."""
    found = pods.objects(job, attempt, site)
    if job.spec.export:
        found.append(export_pod(job, 0, gang((), attempt, job.spec.workers)))
    return found


def _image_id(members: Gang) -> str:
    """Return the digest of the image that trained, as the kubelet tells it; "" where no worker is left to ask."""
    statuses = (one for pod in members.present.values() for one in pod.status.container_statuses)
    return next((one.image_id for one in statuses if one.name == contract.CONTAINER and one.image_id), "")


def _plain(amounts: dict[str, int | str]) -> dict[str, int | str]:
    return {kind: amount for kind, amount in amounts.items() if kind in _KINDS}
