"""How cost grows: 125 to 1,000 jobs of 10 pods on 1,000 simulated nodes, and the start of an operator that finds them.

The jobs are added in stages, each as large as all before it, and the clock of all stages together runs until every pod
and job is Running: where the cost of a job does not depend on how many there are, these seconds grow with exponent 1.
At the end nothing changes any more; the operator is started anew, first with nothing to do (it must write nothing),
then with one job that was submitted while it was away: from exec to that job's first pod.

    make bench ONLY=scale
"""

import asyncio
import math
import re
import statistics
import tempfile
import time
from pathlib import Path

from bench import audit, operators
from bench.fleet import Watch, _all, _namespace, manifest
from bench.scalecosts import costs
from ganger.api.crd import definitions
from ganger.kube.access import from_kubeconfig
from ganger.kube.http import HttpCluster
from ganger.kube.resources import PODS, TRAINING_JOBS
from ganger_dev.control_plane import start_control_plane

STAGES = (125, 250, 500, 1000)  # jobs in all
WORKERS, NODES, GPUS = 10, 1000, 16
STARTS = 3
SETTLE_SECONDS = 6.0
QUIET_SECONDS = 10.0
STAGE_SECONDS = 600.0
LEASE_SECONDS = 800  # a thousand nodes that renew theirs every ten seconds would take half a core
SPACE = "scale"


def exponent(points: list[tuple[float, float]]) -> float:
    """Return the exponent p of y = c * x ** p that fits best, by least squares of the logarithms."""
    xs, ys = [math.log(x) for x, _ in points], [math.log(y) for _, y in points]
    return statistics.linear_regression(xs, ys).slope


def quantile(page: str, family: str, share: float) -> float:
    """Return the upper bound of the bucket in which that share of a histogram's values lies; inf for the last."""
    pairs = re.findall(rf'^{family}_bucket{{le="([^"]+)"}} (\S+)$', page, re.MULTILINE)
    buckets = [(float(bound), float(count)) for bound, count in pairs]
    return next((bound for bound, count in buckets if count >= share * buckets[-1][1]), math.inf)


async def _grow(cluster, operator):
    """Add jobs stage by stage; return what each stage showed."""
    found, spent = [], 0.0
    async with (
        Watch(cluster, PODS, SPACE, "Running") as pods,
        Watch(cluster, TRAINING_JOBS, SPACE, "Running") as said,
    ):
        before = 0
        for total in STAGES:
            cpu, began = operator.cpu_seconds(), time.perf_counter()
            new = range(before, total)
            await _all(
                lambda n=n: cluster.create(TRAINING_JOBS, SPACE, manifest(f"job-{n}", workers=WORKERS)) for n in new
            )
            await pods.until(lambda total=total: len(pods.there) == total * WORKERS, STAGE_SECONDS)
            await said.until(lambda total=total: len(said.there) == total, STAGE_SECONDS)
            stage, spent = time.perf_counter() - began, spent + time.perf_counter() - began
            await asyncio.sleep(SETTLE_SECONDS)  # what is still written belongs to this stage
            found.append(
                {
                    "jobs": total,
                    "pods": total * WORKERS,
                    "seconds": round(spent, 2),
                    "podsPerSecond": round((total - before) * WORKERS / stage, 1),
                    "operatorCpuMsPerPod": round((operator.cpu_seconds() - cpu) / len(new) / WORKERS * 1000, 2),
                    "rssPeakMiB": round(operator.rss_peak_mib(), 1),
                    "passP99SecondsAtMost": quantile(
                        await asyncio.to_thread(operator.page), "ganger_operator_reconcile_seconds", 0.99
                    ),
                }
            )
            print(f"  {found[-1]}", flush=True)
            before = total
    return found


async def _idle_start(plane, folder):
    """Start an operator that has nothing to do; return what it wrote all the same, and its memory then."""
    since = audit.position(plane.audit_log)
    operator = operators.start(plane, folder, name="idle")
    try:
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(_leads, operator):  # noqa: ASYNC110 - it is another process
                await asyncio.sleep(0.1)
        await asyncio.sleep(QUIET_SECONDS)
        rss = operator.rss_peak_mib()
    finally:
        operator.end()
    return sum(audit.writes(audit.requests(plane.audit_log, since), "ganger").values()), rss


def _leads(operator):
    try:
        return 'ganger_operator_leader{shard="0"} 1' in operator.page()
    except OSError:
        return False


async def _cold_start(plane, folder, cluster, number):
    """Seconds from exec until the first pod of a job that was submitted while no operator ran."""
    name = f"late-{number}"
    async with Watch(cluster, PODS, SPACE, "Running") as pods:
        await cluster.create(TRAINING_JOBS, SPACE, manifest(name, workers=1))
        began = time.perf_counter()
        operator = operators.start(plane, folder, name=f"cold-{number}")
        try:
            await pods.until(lambda: f"{name}-0-0" in pods.existing, 60.0)
            return pods.existing_at - began
        finally:
            operator.end()


async def _measure(plane, folder):
    access = await from_kubeconfig(str(plane.kubeconfig_for("bench")))
    async with HttpCluster(access, pool=128, call_seconds=60.0) as cluster:
        await _namespace(plane, operators.NAMESPACE)
        await _namespace(plane, SPACE)
        operator = operators.start(plane, folder)
        try:
            stages = await _grow(cluster, operator)
        finally:
            operator.end()
        writes, rss = await _idle_start(plane, folder)
        starts = [await _cold_start(plane, folder, cluster, number) for number in range(STARTS)]
    growth = exponent([(stage["jobs"], stage["seconds"]) for stage in stages])
    print(
        f"  seconds grow with exponent {growth:.2f}; cold starts {[round(start, 2) for start in starts]} s", flush=True
    )
    return {
        "bench": "scale",
        "keys": {
            "control_plane": {
                "cold_start_seconds": round(statistics.median(starts), 2),
                "rss_mib_at_10000_pods": stages[-1]["rssPeakMiB"],
                "scaling_exponent": round(growth, 3),
            }
        },
        "stages": stages,
        "coldStartSeconds": [round(start, 2) for start in starts],
        "writesOfAStartWithNothingToDo": writes,
        "rssPeakMiBAfterAStart": round(rss, 1),
        "inProcess": [await asyncio.to_thread(costs, jobs) for jobs in (2500, 25_000)],
        "failed": writes > 0,
    }


def measure() -> dict:
    """Run it and return the figures; failed where a start with nothing to do wrote something."""
    with tempfile.TemporaryDirectory(prefix="ganger-bench-") as name:
        folder = Path(name)
        plane = start_control_plane(folder, kwok=True, kwok_lease_seconds=LEASE_SECONDS)
        try:
            for definition in definitions():
                plane.api.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
            plane.add_kwok_nodes(NODES, gpus=GPUS)
            return asyncio.run(_measure(plane, folder))
        finally:
            plane.stop()
