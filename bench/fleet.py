"""B1 and B2: many jobs at once on simulated nodes, beside the floor of the same pods without any controller.

Both go through one control plane in one run, alternating: 200 jobs x 8 pods, and 1,600 raw pods of the same manifest,
created with 64 requests in flight. A pod counts as running when the API server says so. Requests are counted in the
audit log by user: `ganger` is the operator, `bench` creates what a person would create.
"""

import asyncio
import contextlib
import os
import statistics
import tempfile
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from bench import audit, operators
from ganger.api.crd import definitions
from ganger.api.types import decode
from ganger.kube.access import from_kubeconfig
from ganger.kube.http import HttpCluster
from ganger.kube.resources import PODS, TRAINING_JOBS
from ganger.plan.pods import pod
from ganger_dev.control_plane import start_control_plane

JOBS, WORKERS, NODES, GPUS = 200, 8, 200, 8
IN_FLIGHT = 64
ROUNDS = 5
SETTLE_SECONDS = 6.0  # status writes that wait for company, and the audit log
IDLE_SECONDS = 20.0
GOALS = "writesPerJobToRunning <= 11, throughputRatio >= 0.8, rssPeakMiB < 80, idleWrites 0"


class _Status(Struct, frozen=True):
    phase: str = ""


class _Meta(Struct, frozen=True, rename="camel"):
    name: str = ""
    resource_version: str = ""


class _Object(Struct, frozen=True):
    metadata: _Meta = _Meta()
    status: _Status = _Status()


class _Event(Struct, frozen=True):
    type: str
    object: _Object


_EVENT = msgspec.json.Decoder(_Event)
_LIST = msgspec.json.Decoder(_Object)


class Watch:
    """Who exists and who is in a phase, from one watch of a namespace."""

    def __init__(self, cluster, resource, namespace, phase):
        self._cluster, self._resource, self._namespace, self._phase = cluster, resource, namespace, phase
        self.existing: set[str] = set()
        self.there: set[str] = set()
        self.existing_at = self.there_at = 0.0
        self._changed = asyncio.Event()

    async def __aenter__(self):
        version = _LIST.decode(await self._cluster.list(self._resource, self._namespace, limit=1)).metadata
        self._task = asyncio.create_task(self._run(version.resource_version))
        self._task.add_done_callback(lambda _: self._changed.set())
        return self

    async def __aexit__(self, *_):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, version):
        # The API server closes a watch whose reader falls behind, as this one may: go on from there.
        while True:
            stream = self._cluster.watch(self._resource, self._namespace, resource_version=version, timeout_seconds=600)
            async for line in stream:
                if line:
                    version = self._take(_EVENT.decode(line))

    def _take(self, event):
        name, now = event.object.metadata.name, time.perf_counter()
        if event.type == "ADDED":
            self.existing.add(name)
            self.existing_at = now
        if event.type == "DELETED":
            self.existing.discard(name)
            self.there.discard(name)
        elif event.object.status.phase == self._phase and name not in self.there:
            self.there.add(name)
            self.there_at = now
        self._changed.set()
        return event.object.metadata.resource_version

    async def until(self, condition, seconds=300.0):
        async with asyncio.timeout(seconds):
            while not condition():
                if self._task.done():
                    self._task.result()  # raises what ended it
                self._changed.clear()
                await self._changed.wait()


def manifest(name, **spec):
    return {
        "apiVersion": "ganger.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {"task": "m:t", "workers": WORKERS, "image": "pytorch-cuda:v2.15"}
        | {"resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"nvidia.com/gpu": 1}}}
        | spec,
    }


async def _all(calls):
    limit = asyncio.Semaphore(IN_FLIGHT)

    async def one(call):
        async with limit:
            return await call()

    await asyncio.gather(*(one(call) for call in calls))


async def _namespace(plane, name):
    await asyncio.to_thread(
        plane.api.request, "POST", "/api/v1/namespaces", {"kind": "Namespace", "metadata": {"name": name}}
    )
    for _ in range(300):
        try:
            await asyncio.to_thread(plane.api.request, "GET", f"/api/v1/namespaces/{name}/serviceaccounts/default")
        except OSError:
            await asyncio.sleep(0.1)
        else:
            return


async def _gone(plane, cluster, namespace):
    """Delete a namespace's jobs and pods, and wait until no pod is left: the next round starts from nothing."""
    api = plane.api
    options = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, "propagationPolicy": "Background"}
    for path in (TRAINING_JOBS.path(namespace), PODS.path(namespace)):
        # Longer than one request may take where the machine is slow: asked again, it goes on with what is left.
        with contextlib.suppress(TimeoutError):
            await asyncio.to_thread(api.request, "DELETE", path, options)
    while _LIST_COUNT.decode(await cluster.list(PODS, namespace, limit=1)).items:
        await asyncio.sleep(0.2)
        with contextlib.suppress(TimeoutError):
            await asyncio.to_thread(api.request, "DELETE", PODS.path(namespace), options)


class _Page(Struct, frozen=True):
    items: list[msgspec.Raw] = []


_LIST_COUNT = msgspec.json.Decoder(_Page)


class Cpu:
    """CPU seconds of every program of a control plane between `begin` and `spent`, and of this process."""

    def __init__(self, plane):
        self._pids = plane.running() | {"bench": os.getpid()}
        self._began = {name: operators.cpu_seconds(pid) for name, pid in self._pids.items()}

    def spent(self):
        return {name: round(operators.cpu_seconds(pid) - self._began[name], 2) for name, pid in self._pids.items()}


async def raw_pods(plane, cluster, namespace):
    """The floor: the same pods, created by one loop, with nobody behind them."""
    await _namespace(plane, namespace)
    total = JOBS * WORKERS
    metadata = {"namespace": namespace, "uid": "00000000-0000-0000-0000-000000000000"}
    bodies = []
    for number in range(JOBS):
        job = decode(manifest(f"raw-{number}") | {"metadata": metadata | {"name": f"raw-{number}"}})
        for worker in range(WORKERS):
            body = pod(job, 0, worker)
            del body["metadata"]["ownerReferences"]
            bodies.append(body)
    async with Watch(cluster, PODS, namespace, "Running") as watch:
        began, cpu = time.perf_counter(), Cpu(plane)
        await _all(lambda body=body: cluster.create(PODS, namespace, body) for body in bodies)
        await watch.until(lambda: len(watch.there) == total)
        result = {
            "existSeconds": watch.existing_at - began,
            "runningSeconds": watch.there_at - began,
            "cpuSeconds": cpu.spent(),
        }
    await _gone(plane, cluster, namespace)
    return result


async def jobs(plane, cluster, namespace, operator):
    """The jobs, all applied at once, until every pod runs and every job says so; then an idle while."""
    await _namespace(plane, namespace)
    total = JOBS * WORKERS
    since, own = audit.position(plane.audit_log), operator.cpu_seconds()
    async with (
        Watch(cluster, PODS, namespace, "Running") as pods,
        Watch(cluster, TRAINING_JOBS, namespace, "Running") as said,
    ):
        began, cpu = time.perf_counter(), Cpu(plane)
        await _all(lambda n=n: cluster.create(TRAINING_JOBS, namespace, manifest(f"job-{n}")) for n in range(JOBS))
        await pods.until(lambda: len(pods.there) == total)
        await said.until(lambda: len(said.there) == JOBS)
        result = {
            "existSeconds": pods.existing_at - began,
            "runningSeconds": pods.there_at - began,
            "jobsRunningSeconds": said.there_at - began,
            "cpuSeconds": cpu.spent() | {"operator": round(operator.cpu_seconds() - own, 2)},
        }
        await asyncio.sleep(SETTLE_SECONDS)
    until = audit.position(plane.audit_log)
    found = audit.requests(plane.audit_log, since, until)
    await asyncio.sleep(IDLE_SECONDS)
    idle = audit.writes(audit.requests(plane.audit_log, until), "ganger", without=("leases",))
    mine = audit.writes(found, "ganger")
    others: dict[str, float] = {}
    for (who, _, _, _), count in found.items():
        others[who] = others.get(who, 0) + count
    result |= {
        "writesPerJobToRunning": sum(mine.values()) / JOBS,
        "writes": mine,
        "eventsPerJob": sum(audit.writes(found, "ganger", without=("leases",)).values()) / JOBS
        - sum(mine.values()) / JOBS,
        "conflicts": audit.conflicts(found, "ganger"),
        "requestsPerJobByUser": {who: round(count / JOBS, 2) for who, count in sorted(others.items())},
        "idleWrites": sum(idle.values()),
        "idleSeconds": IDLE_SECONDS,
    }
    await _gone(plane, cluster, namespace)
    return result


async def _measure(plane, folder):
    access = await from_kubeconfig(str(plane.kubeconfig_for("bench")))
    async with HttpCluster(access, pool=2 * IN_FLIGHT, call_seconds=60.0) as cluster:
        await _namespace(plane, operators.NAMESPACE)
        operator = operators.start(plane, folder)
        try:
            await jobs_warm(plane, cluster)
            floors, runs = [], []
            for number in range(ROUNDS):
                floors.append(await raw_pods(plane, cluster, f"floor-{number}"))
                print(f"  floor {number}: {floors[-1]['runningSeconds']:.2f} s", flush=True)
                runs.append(await jobs(plane, cluster, f"fleet-{number}", operator))
                print(f"  jobs  {number}: {runs[-1]['runningSeconds']:.2f} s", flush=True)
            rss = operator.rss_peak_mib()
        finally:
            operator.end()
    ratios = [floor["runningSeconds"] / run["runningSeconds"] for floor, run in zip(floors, runs, strict=True)]
    return {
        "bench": "fleet",
        "jobs": JOBS,
        "workers": WORKERS,
        "throughputRatio": round(statistics.median(ratios), 3),
        "throughputRatios": [round(ratio, 3) for ratio in ratios],
        "writesPerJobToRunning": max(run["writesPerJobToRunning"] for run in runs),
        "rssPeakMiB": round(rss, 1),
        "idleWrites": sum(run["idleWrites"] for run in runs),
        "goal": GOALS,
        "floor": floors,
        "runs": runs,
    }


async def jobs_warm(plane, cluster):
    """One job through the whole path, so that no measured round pays for a first time."""
    await _namespace(plane, "warm")
    async with Watch(cluster, TRAINING_JOBS, "warm", "Running") as said:
        await cluster.create(TRAINING_JOBS, "warm", manifest("warm", workers=2))
        await said.until(lambda: len(said.there) == 1, 60.0)
    await _gone(plane, cluster, "warm")


def measure() -> dict:
    """Run it and return the figures."""
    with tempfile.TemporaryDirectory(prefix="ganger-bench-") as name:
        folder = Path(name)
        plane = start_control_plane(folder, kwok=True)
        try:
            for definition in definitions():
                plane.api.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
            plane.add_kwok_nodes(NODES, gpus=GPUS)
            return asyncio.run(_measure(plane, folder))
        finally:
            plane.stop()
