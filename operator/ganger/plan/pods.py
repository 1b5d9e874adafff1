"""The pod of a worker.

Every pod passes the Pod Security level `restricted`, has a read-only root file system and no API token. What the user
may shape is what `TrainingJobSpec` names; nothing else reaches the pod.
"""

from typing import Any

from ganger.api.types import TrainingJob, encode
from ganger.contract import (
    ANNOTATION_CONTROL_CA,
    ANNOTATION_EDITION,
    ANNOTATION_EXCLUDED,
    CODE_MOUNT,
    CONTAINER,
    LABEL_JOB_UID,
    LABEL_WORKER,
    METRICS_PORT,
    RESTART_CONTAINER_EXIT_CODE,
)
from ganger.plan import avoid, claims, data, elastic, names, placement, tolerations, volumes
from ganger.plan import site as sites
from ganger.plan.edition import edition, values_mark
from ganger.plan.environment import as_entries, worker_environment
from ganger.plan.service import rendezvous_host, service
from ganger.plan.site import NOWHERE, Site

USER_ID = 1000  # of the pytorch-cuda image; fsGroup lets it write to the volumes
SUPERVISOR = ("python", "-m", "ganger_trainer")

POD_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": USER_ID,
    "runAsGroup": USER_ID,
    "fsGroup": USER_ID,
    # Without this the kubelet walks every checkpoint at each start.
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
# How a Prometheus without its operator finds pods, by a wide-spread convention.
SCRAPE = {
    "prometheus.io/scrape": "true",
    "prometheus.io/port": str(METRICS_PORT),
    "prometheus.io/path": "/metrics",
}
# The supervisor alone ends with this code, and only when it is asked to.
_RESTARTABLE = {
    "restartPolicy": "Never",
    "restartPolicyRules": [
        {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [RESTART_CONTAINER_EXIT_CODE]}}
    ],
}
_PLACEMENT = ("priority_class_name", "scheduler_name", "service_account_name", "runtime_class_name")


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def _environment(job: TrainingJob, attempt: int, worker: int, site: Site) -> list[dict[str, Any]]:
    entries = as_entries(
        worker_environment(
            job,
            attempt,
            worker,
            rendezvous_host=rendezvous_host(job, attempt),
            checkpoint_dir=volumes.checkpoint_dir(job),
        )
    )
    names_set = {variable.name for variable in job.spec.env}
    # A user who reports to Kubeflow's own server goes on doing so.
    control = {
        name: value for name, value in sites.environment(site, job.metadata.uid).items() if name not in names_set
    }
    entries += as_entries(control)
    # A library that writes to its home must not meet the read-only root.
    defaults = {"HOME": "/tmp", "PYTHONPATH": CODE_MOUNT if job.spec.code else ""}  # noqa: S108
    entries += [{"name": name, "value": value} for name, value in defaults.items() if value and name not in names_set]
    return entries + [encode(variable) for variable in job.spec.env]


def _container(job: TrainingJob, attempt: int, worker: int, site: Site, mounts: list[dict[str, Any]]) -> dict[str, Any]:
    spec = job.spec
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": spec.image,
        "env": _environment(job, attempt, worker, site),
        "ports": [{"name": "metrics", "containerPort": METRICS_PORT}],
        "volumeMounts": mounts,
        "securityContext": CONTAINER_SECURITY,
        # A container that dies before the supervisor wrote its last word still says something.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if spec.command is not None:
        container["command"] = list(spec.command)
    else:
        container["args"] = list(SUPERVISOR)  # the image's entry point, an init process, stays in front
        if site.listens and site.restarts_containers:
            container |= _RESTARTABLE
    return container | supplies(job)


def supplies(job: TrainingJob) -> dict[str, Any]:
    """Return what the container of a worker, or of a session, gets from its job: resources, Secrets and ConfigMaps."""
    spec = job.spec
    found: dict[str, Any] = {}
    resources = encode(spec.resources)
    if spec.resources.claims:
        resources["claims"] = claims.of_container(spec.resources)
    if resources:
        found["resources"] = resources
    if spec.env_from:
        found["envFrom"] = [encode(source) for source in spec.env_from]
    return found


def frame(job: TrainingJob, name: str, container: dict[str, Any], pod_volumes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the spec of a pod around one container: what is safe, and where its job wants it. Pure."""
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "hostname": name,
        "terminationGracePeriodSeconds": job.spec.termination_grace_period_seconds,
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "securityContext": POD_SECURITY,
        "containers": [container],
        "volumes": pod_volumes,
    }
    for field in _PLACEMENT:
        value = getattr(job.spec, field)
        if value is not None:
            spec[_camel(field)] = value
    if job.spec.node_selector:
        spec["nodeSelector"] = job.spec.node_selector
    spec["tolerations"] = tolerations.of_worker(job)
    if job.spec.resources.claims:
        spec["resourceClaims"] = claims.of_pod(job.spec.resources)
    if job.spec.image_pull_secrets:
        spec["imagePullSecrets"] = [encode(secret) for secret in job.spec.image_pull_secrets]
    return spec


def _data_image(job: TrainingJob, site: Site) -> str:
    """A command runs in any image, and only that of the operator is known to have what fetches."""
    assert job.spec.image is not None, "fill the job before building its pods"
    return (site.image if job.spec.command is not None else "") or job.spec.image


def pod(
    job: TrainingJob, attempt: int, worker: int, site: Site = NOWHERE, *, grouped: bool = False, made_from: str = ""
) -> dict[str, Any]:
    """Return the manifest of one worker's pod of one attempt. `job` is filled: its image is set. Pure.

    grouped: the scheduler places it together with the others of the attempt's PodGroup (plan/podgroup.py). made_from:
    the edition of the stored spec, "" for that of `job`.
    """
    assert job.spec.image is not None, "fill the job before building its pods"
    assert 0 <= worker < elastic.size(job), f"worker {worker} of {elastic.size(job)}"
    pod_volumes, mounts = volumes.of_worker(job)
    annotations = SCRAPE | {ANNOTATION_EDITION: made_from or edition(job)} | values_mark(job.status.profile)
    if site.listens:
        pod_volumes.append(sites.volume(job.metadata.uid))
        mounts.append(sites.mount())
        annotations[ANNOTATION_CONTROL_CA] = site.authority
    if job.status.excluded_nodes:
        annotations[ANNOTATION_EXCLUDED] = ",".join(job.status.excluded_nodes)
    holder = names.pod(job.metadata.name, attempt, worker)
    spec = frame(job, holder, _container(job, attempt, worker, site, mounts), pod_volumes)
    if (fetching := data.container(job, holder, _data_image(job, site), CONTAINER_SECURITY)) is not None:
        spec["initContainers"] = [fetching]
    if job.spec.most_workers > 1:
        spec["subdomain"] = names.service(job.metadata.name)
    if grouped:
        spec["schedulingGroup"] = {"podGroupName": names.pod_group(job.metadata.name, attempt)}
    if affinity := avoid.affinity(placement.affinity(job, attempt), job.status.excluded_nodes):
        spec["affinity"] = affinity
    if job.spec.topology_spread_constraints:
        spec["topologySpreadConstraints"] = list(job.spec.topology_spread_constraints)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": names.pod(job.metadata.name, attempt, worker),
            "namespace": job.metadata.namespace,
            "labels": names.worker_labels(job, attempt, worker),
            "annotations": annotations,
            "ownerReferences": [names.owner_reference(job)],
        },
        "spec": spec,
    }


def probe(job: TrainingJob, attempt: int, number: int) -> dict[str, Any]:
    """Return the manifest of a pod that takes the place of one more worker, and does nothing there. Pure.

    It asks for what a worker asks for, volumes too, so that it is placed where a worker would be. Without the label of
    the job's UID it is none of those whom the scale subresource, the Service and the CLI mean.
    """
    manifest = pod(job, attempt, 0)
    metadata, spec = manifest["metadata"], manifest["spec"]
    metadata["name"] = names.probe(job.metadata.name, attempt, number)
    metadata["labels"] = metadata["labels"] | {LABEL_WORKER: f"{names.PROBE_PREFIX}{number}"}
    del metadata["labels"][LABEL_JOB_UID]
    del metadata["annotations"], spec["hostname"]
    spec.pop("subdomain", None)
    spec["terminationGracePeriodSeconds"] = 1
    container = spec["containers"][0]
    for key in ("args", "env", "envFrom", "ports"):
        container.pop(key, None)
    container["command"] = ["sleep", "infinity"]
    data.without(spec)
    return manifest


def objects(job: TrainingJob, attempt: int = 0, site: Site = NOWHERE) -> list[dict[str, Any]]:
    """Return every object that the controller creates for one attempt, in the order in which it creates them."""
    shared = [manifest for manifest in (service(job), volumes.claim(job)) if manifest is not None]
    return shared + [pod(job, attempt, worker, site) for worker in range(elastic.size(job))]
