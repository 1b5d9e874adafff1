"""What is done with one subject in its turn: many jobs at once, one job after another, and pods that fail."""

import asyncio
import contextlib
import time
from typing import Any

from msgspec import Struct

from bench import audit
from bench.stage import NO_CONTROLLERS, PLANE, Stage, by_controllers, together
from bench.subjects import FLOOR, GANGER, Subject
from bench.watching import Watch, reached, recovery, seen
from ganger.kube.errors import ApiError
from ganger.kube.resources import PODS

SETTLE_SECONDS = 6.0  # status writes that wait for company
IDLE_SECONDS = 60.0
WAIT_SECONDS = 900.0
PROBE_PODS = 4
PROBE_EVERY_SECONDS = 0.25
FAIL_EVERY_SECONDS = 0.5
RECOVER_SECONDS = 120.0


class Size(Struct, frozen=True, kw_only=True):
    """How many jobs of how many pods each."""

    jobs: int
    pods: int

    @property
    def name(self) -> str:
        """As `200x8`."""
        return f"{self.jobs}x{self.pods}"

    @property
    def total(self) -> int:
        """Pods in all."""
        return self.jobs * self.pods


async def burst(stage: Stage, subject: Subject, size: Size, namespace: str, *, to_the_end: bool) -> dict[str, Any]:
    """Submit all jobs at once; return seconds, requests, CPU and memory until all pods run, and to the end where asked.

    Raises TimeoutError, ApiError or DevError where it does not come so far; the caller cleans up.
    """
    await _warm(stage, subject, namespace)
    bodies = [body for number in range(size.jobs) for body in subject.objects(f"j{number}", size.pods)]
    async with Watch(stage.cluster, PODS, namespace) as pods, Watch(stage.cluster, subject.resource, namespace) as jobs:
        since, cpu, began = stage.position(), stage.cpu(), time.perf_counter()
        await _submit(stage, subject, namespace, bodies)
        await pods.until(lambda: pods.count("Running") >= size.total, WAIT_SECONDS)
        created, running = seen(pods.facts), reached(pods.facts, "Running")
        await asyncio.sleep(SETTLE_SECONDS)
        until = stage.position()
        result = {
            "createdSeconds": max(created.values()) - began,
            "runningSeconds": max(running.values()) - began,
            "rssPeakMiB": stage.rss_mib(),
            **_cost(stage, subject, size, since, until, cpu),
        }
        if subject is GANGER and to_the_end:
            await asyncio.sleep(IDLE_SECONDS)
            idle = audit.writes(stage.requests(until), "ganger", without=("leases",))
            result["idleWritesPerMinute"] = sum(idle.values()) * 60 / IDLE_SECONDS
        if to_the_end:
            ended = len(bodies)
            began, cpu, after = time.perf_counter(), stage.cpu(), stage.position()
            await together(
                (lambda name=name: _finish(stage, subject, namespace, name))
                for name in list(pods.now)  # type: ignore[misc]
            )
            await jobs.until(lambda: jobs.count("Complete") >= ended, WAIT_SECONDS)
            result["completeSeconds"] = max(reached(jobs.facts, "Complete").values()) - began
            await asyncio.sleep(SETTLE_SECONDS)
            result["toTheEnd"] = _cost(stage, subject, size, after, stage.position(), cpu)
    return result


async def latency(stage: Stage, subject: Subject, probes: int, namespace: str) -> dict[str, Any]:
    """Submit one small job after another; return the seconds of each to its first pod and to all of them Running."""
    await _warm(stage, subject, namespace)
    async with Watch(stage.cluster, PODS, namespace) as pods:
        began = {}
        for number in range(probes):
            name = f"p{number:04}-"
            began[name] = time.perf_counter()
            await _submit(stage, subject, namespace, subject.objects(name[:-1], PROBE_PODS))
            await pods.until(lambda done=PROBE_PODS * (number + 1): pods.count("Running") >= done, WAIT_SECONDS)
        return _latencies(pods, began)


async def loaded(stage: Stage, subject: Subject, size: Size, namespace: str) -> dict[str, Any]:
    """The same while a burst of that size is on its way in the same namespace: a probe each quarter of a second."""
    await _warm(stage, subject, namespace)
    bodies = [body for number in range(size.jobs) for body in subject.objects(f"j{number}", size.pods)]
    async with Watch(stage.cluster, PODS, namespace) as pods:
        load = asyncio.create_task(_submit(stage, subject, namespace, bodies))
        began: dict[str, float] = {}
        while sum(state == "Running" and name[0] == "j" for name, state in pods.now.items()) < size.total:
            name = f"p{len(began):04}-"
            began[name] = time.perf_counter()
            await _submit(stage, subject, namespace, subject.objects(name[:-1], PROBE_PODS))
            await asyncio.sleep(PROBE_EVERY_SECONDS)
            if time.perf_counter() - min(began.values()) > WAIT_SECONDS:
                raise TimeoutError(f"{size.name} did not run within {WAIT_SECONDS:.0f} s")
        await load
        total = size.total + PROBE_PODS * len(began)
        await pods.until(lambda: pods.count("Running") >= total, WAIT_SECONDS)
        return _latencies(pods, began)


async def failures(stage: Stage, subject: Subject, trials: int, namespace: str) -> dict[str, Any]:
    """Let one pod fail in each of many jobs, each its first failure; return what followed, as `watching.recovery` says.

    One failure each half second, whoever is still busy with an earlier one; null where nothing followed.
    """
    await _warm(stage, subject, namespace)
    names = [f"f{number:04}-" for number in range(trials)]
    async with Watch(stage.cluster, PODS, namespace) as pods:
        bodies = [body for name in names for body in subject.objects(name[:-1], PROBE_PODS)]
        await _submit(stage, subject, namespace, bodies)
        await pods.until(lambda: pods.count("Running") >= len(names) * PROBE_PODS, WAIT_SECONDS)
        await asyncio.sleep(SETTLE_SECONDS)
        failed: dict[str, float] = {}
        for name in names:
            victim = min(each for each, state in pods.now.items() if each.startswith(name) and state == "Running")
            failed[name] = time.perf_counter()
            await stage.cluster.patch_status(PODS, namespace, victim, {"status": _ended(subject, "Failed", 137)})
            await asyncio.sleep(FAIL_EVERY_SECONDS)

        def all_whole() -> bool:
            return all(recovery(pods.facts, name, at, PROBE_PODS).whole is not None for name, at in failed.items())

        with contextlib.suppress(TimeoutError):  # what did not come back is told as null
            await pods.until(all_whole, RECOVER_SECONDS)
        found = [recovery(pods.facts, name, at, PROBE_PODS) for name, at in failed.items()]
    return {
        "replacementSeconds": [one.replacement for one in found],
        "wholeSeconds": [one.whole for one in found],
        "podsMade": [one.made for one in found],
    }


async def _warm(stage: Stage, subject: Subject, namespace: str) -> None:
    """One small job through the whole path, in a namespace of its own: nothing measured pays for a first time."""
    warm = f"{namespace}-warm"
    await stage.namespace(warm)
    try:
        async with Watch(stage.cluster, PODS, warm) as pods:
            await _submit(stage, subject, warm, subject.objects("warm", 1))
            await pods.until(lambda: pods.count("Running") == 1, 120.0)
    finally:
        await stage.clean(subject, warm)
    await stage.namespace(namespace)


async def _submit(stage: Stage, subject: Subject, namespace: str, bodies: list[dict[str, Any]]) -> None:
    async def one(body: dict[str, Any]) -> None:
        await stage.cluster.create(subject.resource, namespace, body)

    await together((lambda body=body: one(body)) for body in bodies)  # type: ignore[misc]


async def _finish(stage: Stage, subject: Subject, namespace: str, pod: str) -> None:
    """Let a pod end well. One that is gone already is no pod of a job any more."""
    try:
        await stage.cluster.patch_status(PODS, namespace, pod, {"status": _ended(subject, "Succeeded", 0)})
    except ApiError as error:
        if error.status != 404:
            raise


def _ended(subject: Subject, phase: str, code: int) -> dict[str, Any]:
    """The status that a kubelet writes for a pod whose only container ended."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    ended = {"exitCode": code, "reason": "Completed" if code == 0 else "Error", "startedAt": now, "finishedAt": now}
    container = {
        "name": "trainer" if subject in (GANGER, FLOOR) else "node", "image": "i", "imageID": "", "ready": False,
        "restartCount": 0, "state": {"terminated": ended},
    }  # fmt: skip
    return {"phase": phase, "containerStatuses": [container]}


def _latencies(pods: Watch, began: dict[str, float]) -> dict[str, Any]:
    created, running = seen(pods.facts), reached(pods.facts, "Running")
    first, whole = [], []
    for name, at in began.items():
        first.append(min(when for pod, when in created.items() if pod.startswith(name)) - at)
        whole.append(max(when for pod, when in running.items() if pod.startswith(name)) - at)
    return {"firstPodSeconds": first, "runningSeconds": whole}


def _cost(stage: Stage, subject: Subject, size: Size, since: int, until: int, cpu: dict[str, float]) -> dict[str, Any]:
    """Requests between two positions, for each job, and CPU since then."""
    found = stage.requests(since, until)
    controllers = by_controllers(found)
    # What is submitted is no cost of a controller; bare pods are what a controller would have made.
    everything = sum(count for (who, verb, _, _), count in found.items()
                     if who not in {"bench", "admin"} or (subject is FLOOR and verb == "create"))  # fmt: skip
    writes = sum(
        count for (who, verb, resource, _), count in found.items()
        if who not in NO_CONTROLLERS and verb in audit.WRITES and resource != "events"
    )  # fmt: skip
    spent = {name: round(now - cpu[name], 2) for name, now in stage.cpu().items()}
    return {
        "requestsPerJob": everything / size.jobs,
        "controllerRequestsPerJob": sum(controllers.values()) / size.jobs,
        "controllerWritesPerJob": writes / size.jobs,
        "ownWritesPerJob": sum(audit.writes(found, "ganger").values()) / size.jobs if subject is GANGER else None,
        "conflicts": sum(n for (who, _, _, code), n in found.items() if code == 409 and who not in NO_CONTROLLERS),
        "requests": {name: round(count / size.jobs, 3) for name, count in controllers.items()},
        "cpuSeconds": spent,
        "planeCpuSeconds": sum(spent.values()),
        "controllerCpuSeconds": sum(each for name, each in spent.items() if name not in PLANE)
        + spent["kube-controller-manager"],
    }
