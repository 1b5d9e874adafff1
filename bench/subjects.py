"""What is measured side by side: who makes the pods, what a person submits for it, and when it is done."""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from bench.peers import jobset, trainer
from ganger.api.types import decode
from ganger.kube.resources import PODS, TRAINING_JOBS, Resource
from ganger.plan.pods import pod

IMAGE = "pytorch-cuda:v2.15"
RESOURCES = {"requests": {"cpu": "1", "memory": "1Gi"}}
NOBODY = "00000000-0000-0000-0000-000000000000"
JOBS = Resource(group="batch", version="v1", plural="jobs", kind="Job")
JOB_SETS = Resource(group="jobset.x-k8s.io", version="v1alpha2", plural="jobsets", kind="JobSet")
TRAIN_JOBS = Resource(group="trainer.kubeflow.org", version="v1alpha1", plural="trainjobs", kind="TrainJob")


class Subject(Struct, frozen=True, kw_only=True):
    """One of those that are compared.

    programs: the controllers that run for it, in the order in which they start; the controller manager, whose Job
    controller some need, always runs. objects: what is submitted for a job of that name and number of pods.
    """

    name: str
    title: str
    resource: Resource
    programs: tuple[str, ...]
    objects: Callable[[str, int], list[dict[str, Any]]]


def training_job(name: str, pods: int) -> list[dict[str, Any]]:
    """Ganger's."""
    spec = {"task": "m:t", "workers": pods, "image": IMAGE, "resources": RESOURCES}
    return [{"apiVersion": "ganger.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": name}, "spec": spec}]


def bare_pods(name: str, pods: int) -> list[dict[str, Any]]:
    """The pods that Ganger makes, with nobody behind them."""
    (manifest,) = training_job(name, pods)
    job = decode(manifest | {"metadata": {"name": name, "namespace": "default", "uid": NOBODY}})
    bodies = [pod(job, 0, worker) for worker in range(pods)]
    for body in bodies:
        del body["metadata"]["ownerReferences"]
        body["metadata"].pop("namespace", None)
        body["spec"].pop("schedulingGroup", None)
    return bodies


def job(name: str, pods: int) -> list[dict[str, Any]]:
    """A plain Job, indexed as training needs it."""
    return [{"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": _job_spec(pods)}]


def job_set(name: str, pods: int) -> list[dict[str, Any]]:
    """A JobSet of one Job."""
    spec = {"replicatedJobs": [{"name": "node", "replicas": 1, "template": {"spec": _job_spec(pods)}}]}
    api = f"{JOB_SETS.group}/{JOB_SETS.version}"
    return [{"apiVersion": api, "kind": "JobSet", "metadata": {"name": name}, "spec": spec}]


def train_job(name: str, pods: int) -> list[dict[str, Any]]:
    """A TrainJob of the published torch runtime."""
    spec = {
        "runtimeRef": {"name": trainer.RUNTIME},
        "trainer": {"numNodes": pods, "image": IMAGE, "resourcesPerNode": RESOURCES},
    }
    api = f"{TRAIN_JOBS.group}/{TRAIN_JOBS.version}"
    return [{"apiVersion": api, "kind": "TrainJob", "metadata": {"name": name}, "spec": spec}]


def _job_spec(pods: int) -> dict[str, Any]:
    container = {"name": "node", "image": IMAGE, "resources": RESOURCES}
    return {
        "parallelism": pods,
        "completions": pods,
        "completionMode": "Indexed",
        "template": {"spec": {"restartPolicy": "Never", "containers": [container]}},
    }


FLOOR = Subject(name="floor", title="bare pods", resource=PODS, programs=(), objects=bare_pods)
GANGER = Subject(name="ganger", title="Ganger", resource=TRAINING_JOBS, programs=("ganger",), objects=training_job)
JOB = Subject(name="job", title="Job", resource=JOBS, programs=(), objects=job)
JOB_SET = Subject(name="jobset", title="JobSet", resource=JOB_SETS, programs=(jobset.NAME,), objects=job_set)
TRAINER = Subject(
    name="trainer", title="Kubeflow Trainer", resource=TRAIN_JOBS, programs=(jobset.NAME, trainer.NAME),
    objects=train_job,
)  # fmt: skip
SUBJECTS = {one.name: one for one in (FLOOR, GANGER, JOB, JOB_SET, TRAINER)}
