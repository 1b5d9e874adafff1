"""What one scrape of a leading operator costs: bytes, CPU of one page, and for how long nothing else is done.

Two fleets of 1,000 jobs: one of 10,000 series, most of its jobs waiting; and one where every job trains and shows all
it has. The same series are rendered by prometheus_client for the ratio, in alternating turns. A page is then asked for
over a socket by another process, while a task that never sleeps takes the time from one turn of the loop to the next:
in CPU time of the thread, so that a busy machine does not count, and by the clock.

    make bench ONLY=scrape
"""

import asyncio
import gc
import statistics
import sys
import time
from datetime import UTC, datetime, timedelta

import msgspec
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ganger.api import status as said
from ganger.api.types import TrainingJob, decode
from ganger.observe import catalog
from ganger.observe.jobs import JobFigures, JobSeries, WorkerRow
from ganger.observe.metrics import OperatorMetrics
from ganger.observe.server import Server, exposition

JOBS, SERIES = 1000, 10_000
TURNS, THEIR_TURNS, SCRAPES = 100, 10, 40
T0 = datetime(2026, 1, 1, tzinfo=UTC)
CLIENT = """
import sys, time, urllib.request
for _ in range(int(sys.argv[2])):
    urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/metrics").read()
    time.sleep(0.05)
"""


def waiting(number: int) -> tuple[TrainingJob, JobFigures]:
    return decode(
        {
            "metadata": {"name": f"experiment-{number:04}", "namespace": "research-team", "creationTimestamp": T0},
            "spec": {"task": "m:t", "workers": 2},
        }
    ), JobFigures(gpus=16)


def training(number: int) -> tuple[TrainingJob, JobFigures]:
    job, _ = waiting(number)
    moment = T0 + timedelta(seconds=3600.125)
    checkpoint = {"volume": {"claimName": "c"}, "everySteps": 500}
    status = said.TrainingJobStatus(
        phase="Running",
        attempt=1,
        ready_workers=2,
        progress=said.Progress(
            step=12_345 + number,
            total_steps=100_000,
            epoch=3,
            loss="1.2345",
            samples_per_second=1234.5,
            metrics=tuple(said.NamedNumber(name=name, value=0.875) for name in ("accuracy", "val_loss", "perplexity")),
            eta_time=moment,
            eta_earliest_time=moment,
            eta_latest_time=moment,
        ),
        checkpoint=said.CheckpointStatus(latest_step=12_000, latest_time=moment, bytes=4_000_000_000),
        restarts=said.Restarts(total=1, counted=1, last=said.Failure(reason="NodeLost", rank=3)),
        goodput=said.Goodput(
            ratio=0.9,
            seconds=said.GoodputSeconds(
                scheduling=3.5,
                image=20.25,
                starting=9.5,
                restoring=2.125,
                productive=3240.5,
                checkpointing=12.5,
                lost=80.0,
            ),
            lost_steps=345,
        ),
    )
    figures = JobFigures(
        gpus=16,
        last_step_time=moment,
        step_seconds=0.25,
        checkpoint_failures=0,
        workers=tuple(
            WorkerRow(pod=f"experiment-{number:04}-1-{worker}", worker=worker, node=f"gpu-node-{number % 200:03}")
            for worker in range(2)
        ),
    )
    spec = decode({"spec": {"task": "m:t", "workers": 2, "checkpoint": checkpoint}}).spec
    return msgspec.structs.replace(job, spec=spec, status=status), figures


def measure() -> dict:
    """Run everything and return the figures. About a minute."""
    per_waiting, per_training = (series_of([make(0)]) for make in (waiting, training))
    trains = round((SERIES - JOBS * per_waiting) / (per_training - per_waiting))
    mixed = [training(number) if number < trains else waiting(number) for number in range(JOBS)]
    return {
        "jobs": JOBS,
        "seriesOfAWaitingJob": per_waiting,
        "seriesOfATrainingJob": per_training,
        "goal": "below 1 MB, 12 ms CPU and 5 ms without a turn of the loop, for 10,000 series",
        "tenThousandSeries": fleet(mixed) | {"trainingJobs": trains},
        "allTraining": fleet([training(number) for number in range(JOBS)]),
        "operatorItself": itself(),
    }


def fleet(jobs: list) -> dict:
    """Return the figures of one fleet."""
    series = JobSeries()
    began = time.thread_time()
    for job, figures in jobs:
        series.update(job, figures)
    updates = time.thread_time() - began
    registry = theirs(series.exposition().decode())
    ours_ms, theirs_ms = [], []
    for turn in range(TURNS):
        ours_ms.append(cpu_ms(series.exposition))
        if turn % (TURNS // THEIR_TURNS) == 0:
            theirs_ms.append(cpu_ms(lambda: generate_latest(registry)))
    ours, others = statistics.median(ours_ms), statistics.median(theirs_ms)
    return {
        "series": series_of(jobs),
        "bytes": len(series.exposition()),
        "cpuMsOfAnUpdate": round(updates * 1e3 / len(jobs), 4),
        "cpuMs": round(ours, 3),
        "cpuMsMax": round(max(ours_ms), 3),
        "cpuMsOfPrometheusClient": round(others, 1),
        "ratio": round(others / ours),
        "served": asyncio.run(served(series)),
    }


def itself() -> dict:
    """Return what the operator's own metrics cost, with as many series as a busy operator has."""
    metrics = OperatorMetrics()
    for resource in ("trainingjobs", "pods", "services", "persistentvolumeclaims"):
        metrics.listed(resource, 0.1)
        metrics.cached(resource, 10, 0)
        metrics.regressed(resource)
        for kind in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK"):
            metrics.watch_event(resource, kind)
        for verb in ("get", "list", "watch", "create", "patch", "delete"):
            for result in ("ok", "conflict", "unreachable"):
                metrics.requested(verb, resource, result, 0.1)
    for namespace in range(20):
        for cause in said.GoodputSeconds.__struct_fields__:
            metrics.job_seconds(f"team-{namespace}", cause, 1.0)
        for reason in ("Oom", "NodeLost", "Exception"):
            metrics.job_restarted(f"team-{namespace}", reason, True)
            metrics.job_finished(f"team-{namespace}", "Failed", reason)
    page = metrics.exposition()
    return {
        "series": sum(not line.startswith(b"#") for line in page.splitlines()),
        "bytes": len(page),
        "cpuMs": round(statistics.median(cpu_ms(metrics.exposition) for _ in range(TURNS)), 3),
    }


async def served(series: JobSeries) -> dict:
    """Return how long the loop does not turn while a page is made and sent: median and worst of many scrapes."""
    blocks: list[list[tuple[float, float]]] = []
    longest = [0.0, 0.0]

    def page() -> bytes:
        blocks.append(longest.copy())  # what was before this scrape is not of it
        longest[:] = [0.0, 0.0]
        return series.exposition()

    server = Server({"/metrics": exposition(page)})
    port = await server.start("127.0.0.1", 0)
    gc.collect()
    client = await asyncio.create_subprocess_exec(sys.executable, "-c", CLIENT, str(port), str(SCRAPES))
    ended = asyncio.create_task(client.wait())
    cpu, wall = time.thread_time(), time.perf_counter()
    while not ended.done():
        await asyncio.sleep(0)
        now_cpu, now_wall = time.thread_time(), time.perf_counter()
        longest[:] = max(longest[0], now_cpu - cpu), max(longest[1], now_wall - wall)
        cpu, wall = now_cpu, now_wall
    await server.stop()
    blocks.append(longest.copy())
    of_scrapes = blocks[2:]  # the first is of the start
    return {
        "scrapes": len(of_scrapes),
        "longestBlockCpuMsMedian": round(statistics.median(cpu for cpu, _ in of_scrapes) * 1e3, 2),
        "longestBlockCpuMsMax": round(max(cpu for cpu, _ in of_scrapes) * 1e3, 2),
        "longestBlockWallMsMedian": round(statistics.median(wall for _, wall in of_scrapes) * 1e3, 2),
        "longestBlockWallMsMax": round(max(wall for _, wall in of_scrapes) * 1e3, 2),
    }


def theirs(page: str) -> CollectorRegistry:
    """Return the same series as gauges of prometheus_client."""
    registry = CollectorRegistry()
    gauges = {
        family.name.removesuffix("_total"): Gauge(
            family.name.removesuffix("_total"), family.help, family.labels, registry=registry
        )
        for family in catalog.JOBS
    }
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            gauges[family.name].labels(**sample.labels).set(sample.value)
    return registry


def series_of(jobs: list) -> int:
    series = JobSeries()
    for job, figures in jobs:
        series.update(job, figures)
    return sum(not line.startswith(b"#") for line in series.exposition().splitlines())


def cpu_ms(work) -> float:
    began = time.thread_time()
    work()
    return (time.thread_time() - began) * 1e3
