"""What this machine offers to a job that runs without a cluster, and what of a manifest has no meaning on it."""

import os
import re
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ganger import contract
from ganger.api.types import TrainingJob
from ganger.plan.environment import device_count, worker_environment

LOOPBACK = "127.0.0.1"
_LOOPBACK_DEVICE = "lo0" if sys.platform == "darwin" else "lo"
# A library preloaded by hand is about this machine; the rest would contradict what Ganger sets.
_NOT_INHERITED = frozenset(contract.ENV_NAMES_RESERVED) - {"LD_PRELOAD"}
_IDLE_FIELDS = (
    ("image", "image"),
    ("volumes", "volumes"),
    ("volume_mounts", "volumeMounts"),
    ("shared_memory", "sharedMemory"),
    ("node_selector", "nodeSelector"),
    ("affinity", "affinity"),
    ("tolerations", "tolerations"),
    ("topology_spread_constraints", "topologySpreadConstraints"),
    ("priority_class_name", "priorityClassName"),
    ("scheduler_name", "schedulerName"),
    ("service_account_name", "serviceAccountName"),
    ("image_pull_secrets", "imagePullSecrets"),
    ("runtime_class_name", "runtimeClassName"),
    ("managed_by", "managedBy"),
    ("required_topology_key", "requiredTopologyKey"),
    ("ttl_seconds_after_finished", "ttlSecondsAfterFinished"),
)


def free_port(wanted: int | None = None) -> int:
    """Return the wanted port where nobody listens on it, else one that was free a moment ago."""
    for port in (wanted, 0) if wanted is not None else (0,):
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no port is free")


def gpus(environ: Mapping[str, str], devices: Path = Path("/dev")) -> list[str]:
    """Return the GPUs that a process here may use, as CUDA_VISIBLE_DEVICES names them. Loads no driver."""
    allowed = environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        return [name.strip() for name in allowed.split(",") if name.strip() not in ("", "-1")]
    nodes = [match[1] for path in devices.glob("nvidia[0-9]*") if (match := re.fullmatch(r"nvidia(\d+)", path.name))]
    return [str(index) for index in range(len(nodes))]


def visible_gpus(job: TrainingJob, worker: int, found: Sequence[str]) -> str:
    """Return CUDA_VISIBLE_DEVICES of one worker: its share where there are enough for the gang, else none."""
    share = device_count(job.spec)
    if share == 0 or share * job.spec.workers > len(found):
        return ""
    return ",".join(found[worker * share : (worker + 1) * share])


def environment(
    job: TrainingJob,
    attempt: int,
    worker: int,
    *,
    rendezvous_port: int,
    metrics_port: int,
    checkpoint_dir: str | None,
    data_dir: str,
    termination_log: str,
    found_gpus: Sequence[str],
    inherited: Mapping[str, str],
) -> dict[str, str]:
    """Return the whole environment of a worker's process. What Ganger sets comes from the builder of the pods."""
    own = {name: value for name, value in inherited.items() if not _set_by_ganger(name)}
    local = {
        "PYTHONUNBUFFERED": "1",
        # The name of this host may resolve to an address that no peer can use; all peers are here.
        "GLOO_SOCKET_IFNAME": _LOOPBACK_DEVICE,
        "NCCL_SOCKET_IFNAME": _LOOPBACK_DEVICE,
    }
    written = {variable.name: variable.value for variable in job.spec.env if variable.value is not None}
    return (
        local
        | own
        | {"CUDA_VISIBLE_DEVICES": visible_gpus(job, worker, found_gpus)}
        | written
        | worker_environment(
            job,
            attempt,
            worker,
            rendezvous_host=LOOPBACK,
            rendezvous_port=rendezvous_port,
            metrics_port=metrics_port,
            checkpoint_dir=checkpoint_dir,
            data_dir=data_dir,
            termination_log=termination_log,
        )
    )


def _set_by_ganger(name: str) -> bool:
    return name in _NOT_INHERITED or name.startswith(contract.ENV_PREFIXES_RESERVED)


def notes(job: TrainingJob, found_gpus: Sequence[str], environ: Mapping[str, str]) -> Iterator[str]:
    """Yield one sentence for everything that the manifest asks for and this machine cannot give."""
    spec = job.spec
    idle = [field for attribute, field in _IDLE_FIELDS if getattr(spec, attribute) not in (None, (), {}, "auto")]
    idle += [f"resources.{field}.memory" for field in ("limits",) if "memory" in getattr(spec.resources, field)]
    if idle:
        yield f"without a cluster these fields mean nothing: {', '.join(idle)}"
    wanted = device_count(spec) * spec.workers
    if wanted > len(found_gpus):
        yield f"the job asks for {wanted} GPUs and this machine has {len(found_gpus)}: it trains on the CPU"
    if spec.code is not None:
        yield f"spec.code is not mounted at {contract.CODE_MOUNT}: the code is taken from {os.fspath(Path.cwd())}"
    for variable in spec.env:
        if variable.value is None and variable.name not in environ:
            yield f"{variable.name} comes from the cluster (spec.env): export it here if the job needs it"
    if spec.env_from:
        yield "the variables of spec.envFrom come from the cluster: export here what the job needs"
    if spec.suspend:
        yield "spec.suspend is true; without a cluster the job runs at once"
