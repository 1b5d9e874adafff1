"""The pod of a session, its claim and its NetworkPolicy. Pure.

Made by the pieces that make workers: restricted, with a read-only root file system and no API token. It has nothing of
a gang: no rendezvous, no ports.
"""

import hashlib
from typing import Any

import msgspec

from ganger import contract
from ganger.api.session import DevSession
from ganger.api.types import TrainingJob, encode
from ganger.plan import data, pods, sessionfork, sessionkeys, sessionname, site, volumes
from ganger.plan.environment import as_entries, worker_environment
from ganger.plan.site import NOWHERE, Site

SUPERVISOR = ("python", "-m", "ganger_session")
DEADLINE_SLACK_SECONDS = 120  # the supervisor ends in time; this is for one that hangs
FROM_JOB = (
    contract.ENV_JOB,
    contract.ENV_TASK,
    contract.ENV_SCRIPT,
    contract.ENV_CONFIG,
    contract.ENV_CHECKPOINT_DIR,
    contract.ENV_DATA_DIR,
    "OMP_NUM_THREADS",
)
_SECRET_VOLUME, _WORKSPACE_VOLUME = "ganger-session", "ganger-workspace"
_DIGITS = 16  # of the digest: to tell two editions of one session apart, not to resist anybody


def edition(session: DevSession) -> str:
    """Return a digest of everything in the spec that cannot change in a pod that runs, for its annotation. Pure."""
    ssh = msgspec.structs.replace(session.spec.ssh, authorized_keys=()) if session.spec.ssh is not None else None
    spec = encode(msgspec.structs.replace(session.spec, suspend=False, ssh=ssh))
    return hashlib.sha256(msgspec.json.encode(spec, order="sorted")).hexdigest()[:_DIGITS]


def pod(
    session: DevSession,
    source: TrainingJob | None,
    image: str,
    *,
    seconds_left: int | None = None,
    channel: Site = NOWHERE,
) -> dict[str, Any]:
    """Return the manifest of the pod of the present start.

    source: the job of fromJob, with its profile's values. image: the operator's for sessions. seconds_left: of
    maxSeconds, all of them if None. channel: where it tells of its activity.
    """
    whole = sessionfork.blueprint(session, source, image)
    left = session.spec.max_seconds if seconds_left is None else seconds_left
    pod_volumes, mounts = _volumes(session, whole)
    annotations = {contract.ANNOTATION_EDITION: edition(session)}
    if channel.listens:
        pod_volumes.append(site.volume(session.metadata.uid))
        mounts.append(site.mount())
        annotations[contract.ANNOTATION_CONTROL_CA] = channel.authority
    container: dict[str, Any] = {
        "name": contract.SESSION_CONTAINER,
        "image": whole.spec.image,
        "args": list(SUPERVISOR),  # the image's entry point, an init process, stays in front
        "env": _environment(session, source, whole, left, channel),
        "volumeMounts": mounts,
        "securityContext": pods.CONTAINER_SECURITY,
        "readinessProbe": {
            "httpGet": {"path": contract.SESSION_HEALTH_PATH, "port": contract.SESSION_HEALTH_PORT},
            "periodSeconds": 5,
            "timeoutSeconds": 3,
        },
        # An image without the supervisor says what is missing on its standard error.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    } | pods.supplies(whole)
    name = sessionname.pod(session.metadata.name, session.status.start)
    spec = pods.frame(whole, name, container, pod_volumes)
    if (fetching := data.container(whole, name, container["image"], pods.CONTAINER_SECURITY)) is not None:
        spec["initContainers"] = [fetching]  # what the job has fetched already is found, in a cache that outlives it
    spec["activeDeadlineSeconds"] = left + DEADLINE_SLACK_SECONDS
    # The cluster's own patience with a node that does not answer: a kernel that is gone is a loss, and nobody waits.
    spec["tolerations"] = [encode(toleration) for toleration in whole.spec.tolerations]
    if affinity := sessionfork.affinity(whole, source):
        spec["affinity"] = affinity
    if session.spec.ssh is not None:
        annotations[contract.ANNOTATION_AUTHORIZED_KEYS] = sessionkeys.annotation(session)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(session, name) | {"annotations": annotations},
        "spec": spec,
    }


def claim(session: DevSession) -> dict[str, Any] | None:
    """Return the claim that is made for the session, None where it brings one or keeps nothing.

    It has no owner, so that it outlives the session: one of the same name goes on from it.
    """
    storage = session.spec.storage
    if storage is None or storage.size is None:
        return None
    metadata = _metadata(session, sessionname.claim(session.metadata.name))
    del metadata["ownerReferences"]
    spec: dict[str, Any] = {
        "accessModes": [storage.access_mode or "ReadWriteOnce"],
        "resources": {"requests": {"storage": storage.size}},
    }
    if storage.storage_class_name is not None:
        spec["storageClassName"] = storage.storage_class_name
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def network_policy(session: DevSession) -> dict[str, Any]:
    """Return the policy that lets nobody in; a port-forward comes from the pod's own node and needs no leave."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(session, sessionname.network_policy(session.metadata.name)),
        "spec": {
            "podSelector": {"matchLabels": {contract.LABEL_SESSION_UID: session.metadata.uid}},
            "policyTypes": ["Ingress"],
        },
    }


def secret(session: DevSession, token: str) -> dict[str, Any]:
    """Return the Secret with Jupyter's token. The caller draws the token, and forgets it."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(session, sessionname.secret(session.metadata.name)),
        "type": "Opaque",
        "immutable": True,
        "stringData": {contract.SESSION_TOKEN_FILE: token},
    }


def _metadata(session: DevSession, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": session.metadata.namespace,
        "labels": sessionname.labels(session),
        "ownerReferences": [sessionname.owner_reference(session)],
    }


def _environment(
    session: DevSession, source: TrainingJob | None, whole: TrainingJob, left: int, channel: Site
) -> list[dict[str, Any]]:
    spec = session.spec
    env = {
        contract.ENV_SESSION: session.metadata.name,
        contract.ENV_NAMESPACE: session.metadata.namespace,
        contract.ENV_SESSION_WORKSPACE: contract.WORKSPACE_MOUNT,
        contract.ENV_SESSION_HEALTH_PORT: str(contract.SESSION_HEALTH_PORT),
        contract.ENV_SESSION_IDLE_SECONDS: str(spec.idle_seconds),
        contract.ENV_SESSION_MAX_SECONDS: str(left),
        contract.ENV_TERMINATION_LOG: contract.TERMINATION_LOG,
        contract.ENV_GRACE_SECONDS: str(spec.termination_grace_period_seconds),
    }
    if spec.jupyter:
        env[contract.ENV_SESSION_JUPYTER_PORT] = str(contract.SESSION_JUPYTER_PORT)
    if spec.ssh is not None:
        env[contract.ENV_SESSION_SSH_PORT] = str(contract.SESSION_SSH_PORT)
    if spec.jupyter or spec.ssh is not None:
        env[contract.ENV_SESSION_SECRET_DIR] = contract.SESSION_SECRET_MOUNT
    if channel.listens:
        env[contract.ENV_SESSION_REPORT_URL] = f"{channel.control_url}/v1/sessions/{session.metadata.uid}/report"
    of_worker = worker_environment(whole, 0, 0, rendezvous_host="", checkpoint_dir=volumes.checkpoint_dir(whole))
    # Of a session without a job there is nothing but the threads to be known.
    kept = FROM_JOB if source is not None else FROM_JOB[-1:]
    env |= {name: of_worker[name] for name in kept if name in of_worker}
    defaults = {"HOME": contract.WORKSPACE_MOUNT, "PYTHONPATH": contract.CODE_MOUNT if whole.spec.code else ""}
    names_set = {variable.name for variable in whole.spec.env}
    env |= {name: value for name, value in defaults.items() if value and name not in names_set}
    return as_entries(env) + [encode(variable) for variable in whole.spec.env]


def _volumes(session: DevSession, whole: TrainingJob) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    pod_volumes, mounts = volumes.of_worker(whole)
    if session.spec.checkpoint_access == "ReadOnly":
        mounts = [
            mount | {"readOnly": True} if mount["mountPath"] == contract.CHECKPOINT_MOUNT else mount for mount in mounts
        ]
    sources: list[dict[str, Any]] = []
    if session.spec.jupyter:
        token = contract.SESSION_TOKEN_FILE
        name = sessionname.secret(session.metadata.name)
        sources.append({"secret": {"name": name, "items": [{"key": token, "path": token}]}})
    if session.spec.ssh is not None:
        annotation = {"fieldPath": f"metadata.annotations['{contract.ANNOTATION_AUTHORIZED_KEYS}']"}
        sources.append({"downwardAPI": {"items": [{"path": contract.SESSION_KEYS_FILE, "fieldRef": annotation}]}})
    if sources:
        pod_volumes.append({"name": _SECRET_VOLUME, "projected": {"defaultMode": 0o440, "sources": sources}})
        mounts.append({"name": _SECRET_VOLUME, "mountPath": contract.SESSION_SECRET_MOUNT, "readOnly": True})
    taken = any(mount["mountPath"] == contract.WORKSPACE_MOUNT for mount in mounts)
    if session.spec.storage is not None or not taken:
        volume, mount = _workspace(session)
        pod_volumes.append(volume)
        mounts = [each for each in mounts if each["mountPath"] != contract.WORKSPACE_MOUNT] + [mount]
    return pod_volumes, mounts


def _workspace(session: DevSession) -> tuple[dict[str, Any], dict[str, Any]]:
    storage = session.spec.storage
    mount = {"name": _WORKSPACE_VOLUME, "mountPath": contract.WORKSPACE_MOUNT}
    if storage is None:
        return {"name": _WORKSPACE_VOLUME, "emptyDir": {}}, mount
    if storage.path is not None:
        mount["subPath"] = storage.path
    name = storage.claim_name or sessionname.claim(session.metadata.name)
    return {"name": _WORKSPACE_VOLUME, "persistentVolumeClaim": {"claimName": name}}, mount
