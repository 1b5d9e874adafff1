"""The environment of a worker: one builder for pods and for `ganger run`.

Both sides of the contract meet here, so a manifest means the same with and without a cluster.
"""

import math
from typing import Any

import msgspec

from ganger import contract
from ganger.api import quantity
from ganger.api.types import TrainingJob, TrainingJobSpec
from ganger.plan import elastic, wish


def device_count(spec: TrainingJobSpec) -> int:
    """Return the GPUs of one worker: every limit whose resource name ends in /gpu, and what its claims bring."""
    limits = spec.resources.limits.items()
    whole = sum(int(quantity.parse(value)) for name, value in limits if name.endswith("/gpu"))
    return whole + sum(claim.gpus for claim in spec.resources.claims)


def processes_per_worker(spec: TrainingJobSpec) -> int:
    """Return the training processes of one worker: as written, else one for each GPU, else one."""
    if isinstance(spec.processes_per_worker, int):
        return spec.processes_per_worker
    if spec.processes_per_worker != "auto":
        return int(spec.processes_per_worker)
    return device_count(spec) or 1


def threads_per_process(spec: TrainingJobSpec) -> int | None:
    """Return the CPU threads that one process should use, or None where the job does not say how many cores it has."""
    cores = spec.resources.limits.get("cpu", spec.resources.requests.get("cpu"))
    if cores is None:
        return None
    return max(1, math.floor(quantity.parse(cores) / processes_per_worker(spec)))


def _checkpoint(job: TrainingJob) -> str:
    checkpoint = job.spec.checkpoint
    assert checkpoint is not None
    return msgspec.json.encode(
        {
            "everySteps": checkpoint.every_steps,
            "everySeconds": checkpoint.every_seconds,
            "keepLast": checkpoint.keep.last,
            "keepBest": checkpoint.keep.best,
            "keepEvery": checkpoint.keep.every,
            "resume": checkpoint.resume,
            "onNoValidCheckpoint": checkpoint.on_no_valid_checkpoint,
        }
    ).decode()


def exports(spec: TrainingJobSpec) -> str:
    """Return the model files that are wanted, as `contract.EXPORT_KEYS` has them."""
    entries = [
        {
            "format": one.format,
            "path": one.path,
            "from": one.from_,
            "tolerance": one.tolerance,
            "opset": one.opset,
        }
        for one in spec.export
    ]
    return msgspec.json.encode(entries).decode()


def _torchrun(workers: int, worker: int, processes: int, host: str, port: int) -> dict[str, str]:
    """What torchrun and the scripts written for it read; a command that ignores it loses nothing."""
    names = {
        "PET_NNODES": str(workers),
        "PET_NODE_RANK": str(worker),
        "PET_NPROC_PER_NODE": str(processes),
        "PET_MASTER_ADDR": host,
        "PET_MASTER_PORT": str(port),
        "PET_RDZV_ENDPOINT": f"{host}:{port}",
        "MASTER_ADDR": host,
        "MASTER_PORT": str(port),
    }
    if processes == 1:
        names |= {"RANK": str(worker), "LOCAL_RANK": "0", "WORLD_SIZE": str(workers)}
    return names


def worker_environment(
    job: TrainingJob,
    attempt: int,
    worker: int,
    *,
    rendezvous_host: str,
    rendezvous_port: int = contract.RENDEZVOUS_PORT,
    metrics_port: int = contract.METRICS_PORT,
    checkpoint_dir: str | None = None,
    data_dir: str = contract.DATA_MOUNT,
    termination_log: str = contract.TERMINATION_LOG,
) -> dict[str, str]:
    """Return what Ganger sets in the environment of one worker. Pure.

    The user's own `spec.env` is added by the caller; the rules refuse names that would collide.
    `data_dir` has a folder for each of the job's data.
    `checkpoint_dir` is where the checkpoints of the job are; None when it keeps none.
    """
    spec = job.spec
    processes, workers = processes_per_worker(spec), elastic.size(job)
    env = {
        contract.ENV_JOB: job.metadata.name,
        contract.ENV_JOB_UID: job.metadata.uid,
        contract.ENV_NAMESPACE: job.metadata.namespace,
        contract.ENV_ATTEMPT: str(attempt),
        contract.ENV_WORKER: str(worker),
        contract.ENV_WORKERS: str(workers),
        contract.ENV_PROCESSES: str(processes),
        contract.ENV_RENDEZVOUS: f"{rendezvous_host}:{rendezvous_port}",
        contract.ENV_CONFIG: msgspec.json.encode(spec.config, order="sorted").decode(),
        contract.ENV_NON_FINITE: spec.failure_policy.non_finite,
        contract.ENV_MAX_ROLLBACKS: str(spec.failure_policy.max_rollbacks),
        contract.ENV_METRICS_PORT: str(metrics_port),
        contract.ENV_TERMINATION_LOG: termination_log,
        contract.ENV_GRACE_SECONDS: str(spec.termination_grace_period_seconds),
    }
    if spec.elastic is not None:
        env[contract.ENV_WORKERS_MAX] = str(spec.most_workers)
    if (live := wish.served(spec)) is not None and live:
        env[contract.ENV_LIVE_CONFIG] = msgspec.json.encode(live, order="sorted").decode()
    if spec.task is not None:
        env[contract.ENV_TASK] = spec.task
    if spec.script is not None:
        env[contract.ENV_SCRIPT] = msgspec.json.encode(spec.script).decode()
    if spec.export:
        env[contract.ENV_EXPORTS] = exports(spec)
    if spec.data:
        env[contract.ENV_DATA_DIR] = data_dir
    if checkpoint_dir is not None and spec.checkpoint is not None:
        env[contract.ENV_CHECKPOINT_DIR] = checkpoint_dir
        env[contract.ENV_CHECKPOINT] = _checkpoint(job)
    if spec.command is not None:
        env |= _torchrun(workers, worker, processes, rendezvous_host, rendezvous_port)
    threads = threads_per_process(spec)
    if threads is not None and all(variable.name != "OMP_NUM_THREADS" for variable in spec.env):
        env["OMP_NUM_THREADS"] = str(threads)
    return env


def as_entries(env: dict[str, str]) -> list[dict[str, Any]]:
    """Return an environment in the form of a pod's `env` list."""
    return [{"name": name, "value": value} for name, value in env.items()]
