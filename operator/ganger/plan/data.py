"""The data of a job in its pods: mounts, and the container that fetches before the worker (docs/adr/0029-data.md).

Pure. The folder of what is fetched has a name that says what it is: the mount is known before anything is there.
"""

import hashlib
from typing import Any

import msgspec

from ganger import contract
from ganger.api import quantity
from ganger.api.data import DataSource
from ganger.api.types import TrainingJob, encode
from ganger.contract import DATA_ACCESS_MOUNT, DATA_CACHE_MOUNT, DATA_CONTAINER, DATA_MOUNT

CACHE_VOLUME = "ganger-data"
ACCESS_VOLUME = "ganger-access"
FETCH = ("python", "-m", "ganger_trainer.fetch")
FILES = "files"  # below the folder of a key: what a worker sees
MAX_SIZE = "100Gi"
_DIGITS = 32  # of SHA-256: names meet once in 2^64 data sets
_PROXIES = frozenset({"http_proxy", "https_proxy", "no_proxy"})
# A pod asks for the most of its init containers and the sum of the others: the worker's own amounts add nothing.
_SHARED = frozenset({"cpu", "memory", "ephemeral-storage"})


def fetched(job: TrainingJob) -> tuple[DataSource, ...]:
    """Return what of the job's data has a url."""
    return tuple(source for source in job.spec.data if source.url is not None)


def key(job: TrainingJob, source: DataSource) -> str:
    """Return the name of its folder in a cache. Without a digest nobody else may take it for what he means."""
    owner = "" if source.sha256 else job.metadata.uid
    said = [source.url, source.sha256, source.unpack or "Auto", source.endpoint, owner]
    return hashlib.sha256(msgspec.json.encode(said)).hexdigest()[:_DIGITS]


def orders(job: TrainingJob, access: str = DATA_ACCESS_MOUNT) -> str:
    """Return `contract.ENV_DATA_ORDERS`. access: the folder of Secrets and authorities."""
    return msgspec.json.encode(
        [
            {
                "name": source.name,
                "key": key(job, source),
                "url": source.url,
                "sha256": source.sha256 or "",
                "unpack": source.unpack or "Auto",
                "maxBytes": int(quantity.parse(source.max_size or MAX_SIZE)),
                "endpoint": source.endpoint or "",
                "region": source.region or "",
                "secret": f"{access}/{source.name}/secret" if source.secret_name else "",
                "authority": f"{access}/{source.name}/ca/ca.crt" if source.ca_config_map else "",
            }
            for source in fetched(job)
        ]
    ).decode()


def of_worker(job: TrainingJob) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the volumes of the pod for its data, and where the worker sees them; it can change none of it."""
    volumes: list[dict[str, Any]] = []
    mounts: list[dict[str, Any]] = []
    folder = (_cache(job)[1] + "/").lstrip("/")
    for source in job.spec.data:
        place = {"name": f"{CACHE_VOLUME}-{source.name}", "mountPath": f"{DATA_MOUNT}/{source.name}", "readOnly": True}
        if source.claim is not None:
            claim = {"claimName": source.claim.claim_name, "readOnly": True}
            volumes.append({"name": place["name"], "persistentVolumeClaim": claim})
            mounts.append(place | ({"subPath": source.claim.path} if source.claim.path else {}))
        elif source.image is not None:
            image = {"reference": source.image.reference, "pullPolicy": source.image.pull_policy}
            volumes.append({"name": place["name"], "image": image})
            mounts.append(place)
        else:
            mounts.append(place | {"name": CACHE_VOLUME, "subPath": f"{folder}{key(job, source)}/{FILES}"})
    if fetched(job):
        volumes.append({"name": CACHE_VOLUME, **_cache(job)[0]})
        volumes += [volume for volume, _ in _access(job)]
    return volumes, mounts


def container(job: TrainingJob, holder: str, image: str, security: dict[str, Any]) -> dict[str, Any] | None:
    """Return the init container that fetches, None where nothing is fetched. holder: the name of its pod.

    Of the worker's environment it gets the proxies alone, so that no secret of the training is where it has no use.
    """
    if not fetched(job):
        return None
    env = {
        contract.ENV_DATA_ORDERS: orders(job),
        # The fetcher makes the folder: one that the kubelet made for a subPath may belong to root.
        contract.ENV_DATA_CACHE: f"{DATA_CACHE_MOUNT}/{_cache(job)[1]}".rstrip("/"),
        contract.ENV_DATA_HOLDER: holder,
        contract.ENV_TERMINATION_LOG: contract.TERMINATION_LOG,
    }
    found: dict[str, Any] = {
        "name": DATA_CONTAINER,
        "image": image,
        "args": list(FETCH),
        "env": [{"name": name, "value": value} for name, value in env.items()]
        + [encode(variable) for variable in job.spec.env if variable.name.lower() in _PROXIES],
        "volumeMounts": [
            {"name": CACHE_VOLUME, "mountPath": DATA_CACHE_MOUNT},
            *(mount for _, mount in _access(job)),
        ],
        "securityContext": security,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    resources = {
        kind: kept
        for kind, amounts in (("requests", job.spec.resources.requests), ("limits", job.spec.resources.limits))
        if (kept := {name: amount for name, amount in amounts.items() if name in _SHARED})
    }
    return found | ({"resources": resources} if resources else {})


def without(spec: dict[str, Any]) -> None:
    """Take what is fetched out of a pod that does nothing: where nothing was fetched, the mount would make a folder."""
    spec.pop("initContainers", None)
    mounts = spec["containers"][0]["volumeMounts"]
    spec["containers"][0]["volumeMounts"] = [mount for mount in mounts if mount["name"] != CACHE_VOLUME]


def _cache(job: TrainingJob) -> tuple[dict[str, Any], str]:
    """Return the volume that takes what is fetched, and the folder inside it, "" for its root."""
    cache = job.spec.data_cache
    if cache is None:
        return {"emptyDir": {}}, ""
    return {"persistentVolumeClaim": {"claimName": cache.claim_name}}, cache.path or ""


def _access(job: TrainingJob) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return volumes and mounts of Secrets and authorities; only the container that fetches mounts them."""
    found: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for source in fetched(job):
        kinds: tuple[tuple[str, dict[str, Any] | None], ...] = (
            (
                "secret",
                {"secret": {"secretName": source.secret_name, "optional": False}} if source.secret_name else None,
            ),
            ("ca", {"configMap": {"name": source.ca_config_map, "optional": False}} if source.ca_config_map else None),
        )
        for kind, volume in kinds:
            if volume is not None:
                name, path = f"{ACCESS_VOLUME}-{source.name}-{kind}", f"{DATA_ACCESS_MOUNT}/{source.name}/{kind}"
                found.append(({"name": name, **volume}, {"name": name, "mountPath": path, "readOnly": True}))
    return found
