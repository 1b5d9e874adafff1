"""A job is submitted to a cluster where nothing else goes on; seconds until its first optimizer step is done.

In pods of the cluster that KUBECONFIG names, which has Ganger installed and the images of this tree; its node has to be
this machine, as of the embedded cluster, because times of the workers are compared with those of this process. Two
workers, no checkpoints, one job at a time, a first one that does not count. The time is cut into stages, one after the
other, each of which ends with the last worker:
  apiserver   from the request to create the job to its answer
  operator    to the creation of the last pod, as a watch shows it
  scheduler   to the node of the last pod, as the watch shows it
  kubelet     to the start of the last container's first process, as the kernel tells it to 10 ms
  imports     Python, the supervisor and torch, until worker 0 serves the rendezvous (of a torch that gives its thread
              another name: until the last process was forked)
  rendezvous  until all processes of the gang have met
  opening     until the first step begins: the model, the data, the loop
  first_step  forward, backward and the optimizer's step. A task that compiles would compile here; this one does not
A watch shows a thing some milliseconds after it was written. GANGER_BENCH_TRIALS sets the number of jobs.
"""

import asyncio
import contextlib
import os
import secrets
import statistics
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from ganger.api.observed import Metadata
from ganger.contract import CONTAINER
from ganger.kube.access import from_kubeconfig
from ganger.kube.errors import ApiError, NotFound
from ganger.kube.http import HttpCluster
from ganger.kube.logs import PodLogs
from ganger.kube.resources import CONFIG_MAPS, PODS, TRAINING_JOBS, Resource

ROOT = Path(__file__).parents[1]
TRIALS = int(os.environ.get("GANGER_BENCH_TRIALS", "20"))
WORKERS = 2
WAIT_SECONDS = 120.0
LOOK_SECONDS = 0.5  # at a log, which costs CPU that the workers need; the times are told in it
STAGES = ("apiserver", "operator", "scheduler", "kubelet", "imports", "rendezvous", "opening", "first_step")
MARKS = ("container", "forked", "met", "step", "stepped")  # of every worker, and `store` of worker 0
NAMESPACES = Resource(group="", version="v1", plural="namespaces", kind="Namespace", namespaced=False)
NO_CLUSTER = "needs pods: set KUBECONFIG to a cluster on this machine that has Ganger and the images"


class _Spec(Struct, frozen=True, rename="camel"):
    node_name: str = ""


class _Pod(Struct, frozen=True):
    metadata: Metadata
    spec: _Spec = _Spec()


class _Event(Struct, frozen=True):
    type: str
    object: _Pod


class _Listed(Struct, frozen=True):
    metadata: Metadata
    items: tuple[_Pod, ...] = ()


_event = msgspec.json.Decoder(_Event)
_listed = msgspec.json.Decoder(_Listed)
_object = msgspec.json.Decoder(_Pod)


class Eye:
    """When each pod of a namespace was first seen, and when on a node. Use it as an async context."""

    def __init__(self, cluster, namespace: str) -> None:
        self._cluster, self._namespace = cluster, namespace
        self.created: dict[str, float] = {}
        self.scheduled: dict[str, float] = {}

    async def __aenter__(self):
        listed = _listed.decode(await self._cluster.list(PODS, self._namespace, limit=1))
        self._task = asyncio.create_task(self._look(listed.metadata.resource_version))
        return self

    async def __aexit__(self, *_):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _look(self, version):
        while True:
            stream = self._cluster.watch(PODS, self._namespace, resource_version=version, timeout_seconds=3000)
            async for line in stream:
                if line:
                    now, pod = time.time(), _event.decode(line).object
                    version, name = pod.metadata.resource_version, pod.metadata.name
                    if name:
                        self.created.setdefault(name, now)
                    if pod.spec.node_name:
                        self.scheduled.setdefault(name, now)


def manifest(name: str, namespace: str) -> dict:
    """Return the job."""
    return {
        "apiVersion": "ganger.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "task": "startup_task:task", "code": {"configMap": {"name": "startup-code"}}, "workers": WORKERS,
            "config": {"steps": 1_000_000, "batchSize": 64, "threads": 1},
            "resources": {"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
        },
    }  # fmt: skip


def marks_of(log: str) -> dict[str, float]:
    """Return the marks in a worker's log, by name."""
    words = (line.split() for line in log.splitlines())
    return {word[-2]: float(word[-1]) for word in words if len(word) >= 3 and word[-3] == "MARK"}


def stages(asked: float, accepted: float, created: float, scheduled: float, marks: list[dict[str, float]]) -> dict:
    """Return the seconds of each stage, of which all together are the whole. marks: of each worker, worker 0 first."""
    last = {name: max(one[name] for one in marks) for name in MARKS}
    # What a watch brought late cannot be after what follows it.
    created = max(accepted, created)
    ends = [accepted, created, max(created, scheduled), last["container"]]
    ends += [marks[0].get("store", last["forked"]), last["met"], last["step"], last["stepped"]]
    begins = [asked, *ends[:-1]]
    return {name: end - begin for name, begin, end in zip(STAGES, begins, ends, strict=True)}


async def _until(look, what: str):
    """Return what `look` finds, asked over and over."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(ApiError):
            found = await look()
            if found:
                return found
        await asyncio.sleep(LOOK_SECONDS)
    raise TimeoutError(f"no {what} within {WAIT_SECONDS:.0f} s")


async def _marks(logs, namespace, pod):
    log = b""
    async for piece in logs.stream(namespace, pod, CONTAINER):
        log += piece
    found = marks_of(log.decode(errors="replace"))
    return found if "stepped" in found else None


async def _once(cluster, logs, eye, namespace, name):
    pods = [f"{name}-0-{worker}" for worker in range(WORKERS)]
    asked = time.time()
    await cluster.create(TRAINING_JOBS, namespace, manifest(name, namespace))
    accepted = time.time()
    marks = [await _until(lambda p=pod: _marks(logs, namespace, p), f"first step of {pod}") for pod in pods]
    created, scheduled = (max(seen[pod] for pod in pods) for seen in (eye.created, eye.scheduled))
    job = _object.decode(await cluster.get(TRAINING_JOBS, namespace, name))
    await cluster.delete(TRAINING_JOBS, namespace, name, uid=job.metadata.uid)

    async def gone():
        return not _listed.decode(await cluster.list(PODS, namespace, limit=1)).items

    await _until(gone, "end of the pods")
    return stages(asked, accepted, created, scheduled, marks)


async def _measure(kubeconfig: str) -> list[dict]:
    namespace = f"bench-{secrets.token_hex(3)}"
    code = {"startup_task.py": (ROOT / "bench" / "startup_task.py").read_text()}
    access = await from_kubeconfig(kubeconfig)
    async with HttpCluster(access) as cluster, PodLogs(access) as logs:
        await cluster.create(
            NAMESPACES, None, {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": namespace}}
        )
        config_map = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "startup-code"}, "data": code}
        await cluster.create(CONFIG_MAPS, namespace, config_map)
        try:
            async with Eye(cluster, namespace) as eye:
                return [await _once(cluster, logs, eye, namespace, f"start-{trial}") for trial in range(TRIALS + 1)][1:]
        finally:
            with contextlib.suppress(NotFound):
                own = _object.decode(await cluster.get(NAMESPACES, None, namespace))
                await cluster.delete(NAMESPACES, None, namespace, uid=own.metadata.uid)


def measure() -> dict:
    """Return the seconds of each stage and of the whole, and the operator's share of it."""
    kubeconfig = os.environ.get("KUBECONFIG")
    keys = dict.fromkeys(("apply_to_first_step_seconds", "controller_share_percent"))
    if not kubeconfig:
        return {
            "bench": "startup",
            "keys": {"startup": keys},
            "reasons": {f"startup.{key}": NO_CLUSTER for key in keys},
        }
    trials = asyncio.run(_measure(kubeconfig))
    totals = [sum(trial.values()) for trial in trials]
    table = {name: round(statistics.median(trial[name] for trial in trials), 3) for name in STAGES}
    for name, seconds in table.items():
        print(f"  {name:<12} {seconds:6.3f} s", flush=True)
    shares = [100 * trial["operator"] / total for trial, total in zip(trials, totals, strict=True)]
    keys["apply_to_first_step_seconds"] = round(statistics.median(totals), 3)
    keys["controller_share_percent"] = round(statistics.median(shares), 2)
    return {
        "bench": "startup",
        "trials": len(trials),
        "secondsP50": table,
        "totals": [round(total, 3) for total in totals],
        "max": round(max(totals), 3),
        "keys": {"startup": keys},
    }
