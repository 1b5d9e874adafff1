"""What one pod and one job cost the operator's process, measured in it: the constants of the model in docs/scale.md.

Objects are decoded from the JSON that an API server would send and kept in the operator's own caches. Resident memory
is read before and after; times are CPU of this thread, so that a busy machine counts less.
"""

import gc
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from ganger.api.observed import Pod
from ganger.api.types import TrainingJob, decode, encode
from ganger.app.caches import Caches
from ganger.plan.decide import decide
from ganger.plan.pods import pod
from ganger.plan.seen import Seen
from ganger.runtime.wire import Codec

WORKERS = 4
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
SPEC = {
    "task": "m:t",
    "workers": WORKERS,
    "image": "pytorch-cuda:v2.15",
    "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"nvidia.com/gpu": 1}},
}
T0 = "2026-01-01T00:00:00Z"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _job(number: int, status: dict) -> bytes:
    metadata = {
        "name": f"job-{number}",
        "namespace": "team",
        "uid": f"00000000-0000-0000-0000-{number:012d}",
        "resourceVersion": str(number + 1),
        "generation": 1,
        "creationTimestamp": T0,
    }
    return json.dumps({"metadata": metadata, "spec": SPEC, "status": status}).encode()


def _pod(job: TrainingJob, number: int, worker: int) -> bytes:
    """A pod that runs, as the API server shows it."""
    body = pod(job, 0, worker)
    body["metadata"] |= {
        "uid": f"10000000-0000-0000-{worker:04d}-{number:012d}",
        "resourceVersion": str(number + 1),
        "creationTimestamp": T0,
    }
    body["spec"]["nodeName"] = f"node-{number % 1000}"
    conditions = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    container = {"name": "trainer", "ready": True, "restartCount": 0, "state": {"running": {"startedAt": T0}}}
    body["status"] = {
        "phase": "Running",
        "podIP": "10.0.0.1",
        "startTime": T0,
        "conditions": [{"type": each, "status": "True", "lastTransitionTime": T0} for each in conditions],
        "containerStatuses": [container | {"image": "pytorch-cuda:v2.15", "imageID": f"sha256:{'0' * 64}"}],
    }
    return json.dumps(body).encode()


def _rss_mib() -> float:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES / 2**20


def costs(jobs: int) -> dict[str, float]:
    """Fill caches with so many jobs of four running pods, and pass over each: memory and CPU for each pod and pass."""
    caches, jobs_codec, pods_codec = Caches(), Codec(TrainingJob, decode), Codec(Pod)
    first = decode(json.loads(_job(0, {})))
    running = _running(first)
    before, decoding, pod_bytes = _rss_mib(), 0.0, 0
    for number in range(jobs):
        text = _job(number, running)
        job = jobs_codec.object(text)
        assert isinstance(job, TrainingJob)
        bodies = [_pod(job, number, worker) for worker in range(WORKERS)]
        pod_bytes += sum(len(body) for body in bodies)
        began = time.thread_time()
        caches.jobs.put(job)
        for body in bodies:
            caches.pods.put(pods_codec.object(body))
        decoding += time.thread_time() - began
    held = _rss_mib() - before
    began = time.thread_time()
    for job in caches.jobs.all():
        decide(job, caches.seen(job), NOW)
    passing = time.thread_time() - began
    pods = jobs * WORKERS
    return {
        "jobs": jobs,
        "pods": pods,
        "podBytesOnTheWire": round(pod_bytes / pods),
        "kibPerPodWithItsShareOfAJob": round(held * 1024 / pods, 2),
        "decodeMicrosecondsPerPod": round(decoding / pods * 1e6, 1),
        "passMicroseconds": round(passing / jobs * 1e6, 1),
    }


def _running(job: TrainingJob) -> dict:
    """The status of a job whose gang runs, as `decide` writes it."""
    pods = tuple(msgspec.json.decode(_pod(job, 0, worker), type=Pod) for worker in range(WORKERS))
    for seen in (Seen(), Seen(pods=pods)):
        decision = decide(job, seen, NOW)
        if decision.status is not None:
            job = msgspec.structs.replace(job, status=decision.status)
    return encode(job.status)
