"""A pod through which the files of a job are reached while none of its workers runs. Pure."""

from typing import Any

from ganger.api.types import TrainingJob
from ganger.contract import API_GROUP, API_VERSION, KIND, LABEL_MANAGED_BY
from ganger.plan import pods

LABEL_READER = "ganger.dev/files-of"  # the job's name; it has none of the labels by which workers are known
SECONDS_MAX = 3600  # it ends by itself should nobody be left to delete it
_KEPT = (
    "securityContext",
    "enableServiceLinks",
    "automountServiceAccountToken",
    "nodeSelector",
    "tolerations",
    "imagePullSecrets",
    "schedulerName",
)
_VOLUMES = ("persistentVolumeClaim", "emptyDir")


def reader(job: TrainingJob, name: str, *, writes: bool) -> dict[str, Any]:
    """Return the manifest of the pod: the job's image and claims, and nothing else of what a worker has or asks for.

    `job` is filled: its image is set. writes: whether the volumes are mounted for writing. It needs no GPU, no code and
    no environment, and is deleted with the job.
    """
    worker = pods.pod(job, job.status.attempt, 0)["spec"]
    volumes = [one for one in worker["volumes"] if any(kind in one for kind in _VOLUMES)]
    names = {one["name"] for one in volumes}
    claims = {one["name"] for one in volumes if "persistentVolumeClaim" in one}
    container = worker["containers"][0]
    mounts = [
        mount | ({"readOnly": True} if mount["name"] in claims and not writes else {})
        for mount in container["volumeMounts"]
        if mount["name"] in names
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": job.metadata.namespace,
            "labels": {LABEL_MANAGED_BY: "ganger-cli", LABEL_READER: job.metadata.name},
            "ownerReferences": [
                {
                    "apiVersion": f"{API_GROUP}/{API_VERSION}",
                    "kind": KIND,
                    "name": job.metadata.name,
                    "uid": job.metadata.uid,
                }
            ],
        },
        "spec": {key: worker[key] for key in _KEPT if key in worker}
        | {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": SECONDS_MAX,
            "terminationGracePeriodSeconds": 1,
            "volumes": volumes,
            "containers": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "command": ["sleep", str(SECONDS_MAX)],
                    "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
                    "volumeMounts": mounts,
                    "securityContext": container["securityContext"],
                }
            ],
        },
    }
