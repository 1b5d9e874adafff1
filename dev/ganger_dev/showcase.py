"""A small fleet that has something of everything that the dashboards show, watched by a real Prometheus.

Real jobs in real pods on the embedded cluster: two that train on two workers, of which one loses a pod, one that
completes, one that fails again and again, one that waits for GPUs that nobody has, one whose claim's name is taken,
so that requests fail. The node advertises GPUs that it has not, so that workers can ask for some; what a dcgm-exporter
and the trainer would say of them is replayed.
"""

from __future__ import annotations

import http.server
import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from ganger.contract import LABEL_MANAGED_BY, MANAGED_BY, METRICS_PORT
from ganger_dev import prometheus
from ganger_dev.cluster import Cluster
from ganger_dev.dashboards.answers import Get, Window, next_mark
from ganger_dev.dashboards.dcgm import exposition
from ganger_dev.errors import DevError
from ganger_dev.paths import repository
from ganger_trainer.board import Board
from ganger_trainer.metrics import Page
from ganger_trainer.nvml import Reading
from ganger_trainer.reports import Progress

NAMESPACE: Final = "ganger-boards"
SCRAPE_SECONDS: Final = 5
# The job board is about one job at a time.
VALUES: Final = {"ganger-job/namespace": NAMESPACE, "ganger-job/training_job": "chargpt"}
TAKEN: Final = "taken"  # the job whose claim's name somebody else has: the operator's create is refused
GPUS: Final = 4
WATCH_SECONDS: Final = 240.0
# Scrape job: namespace, label selector and port of its pods, as their annotations and the chart name them.
_TARGETS: Final = {
    "ganger-operator": ("ganger-system", "app.kubernetes.io/name=ganger", 8080),
    "kubernetes-pods": (NAMESPACE, f"{LABEL_MANAGED_BY}={MANAGED_BY}", METRICS_PORT),
}
_READY_SECONDS: Final = 150.0
_LONG: Final = {"epochs": 4000, "logEverySeconds": 1}


@dataclass(frozen=True, kw_only=True)
class Showcase:
    """What a run of boards needs: whom to ask, and since when there is something to see, in seconds since 1970."""

    get: Get
    url: str
    since: float

    def window(self) -> Window:
        """Return the time from the beginning until now."""
        return Window(start=self.since, end=time.time(), scrape=SCRAPE_SECONDS)


@contextmanager
def running(cluster: Cluster, folder: Path, *, watch_seconds: float, image: str) -> Iterator[Showcase]:
    """Run the fleet on a cluster that has the chart, until it was watched for so long or a little longer; then yield.

    Everything that it made is gone afterwards. Raises DevError where a job does not do what it is there for.
    """
    with ExitStack() as stack:
        stack.callback(_advertise, cluster, None)
        _advertise(cluster, GPUS)
        stack.callback(cluster.kubectl, "delete", "namespace", NAMESPACE, "--wait=true", "--timeout=120s", check=False)
        cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true", "--timeout=120s")
        cluster.kubectl("create", "namespace", NAMESPACE)
        cluster.kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
        dcgm = stack.enter_context(_page(lambda: exposition(NAMESPACE, _pods(cluster), cluster.node_name)))
        gpus = stack.enter_context(_page(_gpus_of_a_worker))
        started = time.time()
        stack.enter_context(_discovery(cluster, folder))
        watcher = prometheus.start(folder, _configuration(folder, dcgm, gpus))
        stack.callback(watcher.stop)
        # Before anything happens: what a counter had counted at its first scrape is no increase.
        _scraped(watcher, "count(ganger_operator_leader) == 2")
        for manifest in [_claim_of_another(), *_jobs(image)]:
            cluster.kubectl("-n", NAMESPACE, "apply", "-f", "-", stdin=json.dumps(manifest))
        _wait(cluster, "digits", lambda status: bool(status.get("progress", {}).get("etaTime")))
        _wait(cluster, "digits", lambda status: bool(status.get("checkpoint", {}).get("latestStep")))
        _wait(cluster, "chargpt", lambda status: bool(status.get("checkpoint", {}).get("latestStep")))
        cluster.kubectl("-n", NAMESPACE, "delete", "pod", "chargpt-0-1", "--wait=false")
        _wait(cluster, "chargpt", lambda status: status.get("attempt") == 1 and status.get("phase") == "Running")
        for step in (100, 200):
            _set_live(cluster, "chargpt", step)
            _scraped(watcher, f"ganger_job_live_config_step == {step}")
        marked = time.time()
        _wait(cluster, "finished", lambda status: status.get("phase") == "Complete")
        _wait(cluster, "failing", lambda status: status.get("phase") == "Failed")
        _wait(cluster, TAKEN, _has_no_volume)
        time.sleep(max(0.0, max(started + watch_seconds, next_mark(marked)) - time.time()))
        yield Showcase(get=watcher.get, url=watcher.url, since=started)


def _jobs(image: str) -> list[dict[str, Any]]:
    one_gpu = {"requests": {"cpu": "250m"}, "limits": {"memory": "2Gi", "nvidia.com/gpu": 1}}
    digits = _example("digits", "digits", image)
    digits["spec"]["config"] |= _LONG
    digits["spec"]["resources"] = one_gpu
    chargpt = _example("chargpt", "chargpt", image)
    chargpt["spec"]["workers"] = 2
    chargpt["spec"]["config"] |= {"steps": 4000, "evaluateEverySteps": 100, "logEverySeconds": 1, "threads": 1}
    chargpt["spec"]["resources"] = one_gpu
    chargpt["spec"]["checkpoint"] = chargpt["spec"]["checkpoint"] | {"everySeconds": 15}
    finished = _example("quadratic", "finished", image)
    failing = _command("failing", image, ["python", "-c", "import os, time; time.sleep(4); os._exit(3)"])
    failing["spec"]["failurePolicy"] = {"maxRestarts": 2, "backoff": {"baseSeconds": 1}}
    waiting = _command("waiting", image, ["python", "-c", ""])
    waiting["spec"]["resources"] = {"limits": {"memory": "1Gi", "nvidia.com/gpu": 64}}
    taken = _example("digits", TAKEN, image)
    return [digits, chargpt, finished, failing, waiting, taken]


def _claim_of_another() -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": f"{TAKEN}-checkpoints"}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def _example(directory: str, name: str, image: str) -> dict[str, Any]:
    path = repository() / "jobs" / "examples" / directory / "job.yaml"
    manifest: dict[str, Any] = yaml.safe_load(path.read_text())
    manifest["metadata"]["name"] = name
    manifest["spec"]["image"] = image
    return manifest


def _command(name: str, image: str, command: list[str]) -> dict[str, Any]:
    spec = {"image": image, "command": command, "workers": 1, "resources": {"limits": {"memory": "1Gi"}}}
    return {"apiVersion": "ganger.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": name}, "spec": spec}


def _configuration(folder: Path, dcgm: str, gpus: str) -> str:
    """Return the configuration of a Prometheus that is told of the pods by files.

    Debian's has no discovery of Kubernetes built in; `_discover` finds the same pods by the same annotations.
    """
    replayed = {"job_name": "dcgm-exporter", "honor_labels": True, "static_configs": [{"targets": [dcgm]}]}
    found = [
        {
            "job_name": name,
            "honor_labels": True,
            "file_sd_configs": [{"files": [str(folder / f"{name}.json")], "refresh_interval": "2s"}],
        }
        for name in _TARGETS
    ]
    pod = {"namespace": NAMESPACE, "pod": "chargpt-0-0"}
    nvml = {"job_name": "gpus-of-a-worker", "static_configs": [{"targets": [gpus], "labels": pod}]}
    settings = {"scrape_interval": f"{SCRAPE_SECONDS}s", "scrape_timeout": f"{SCRAPE_SECONDS}s"}
    return yaml.safe_dump({"global": settings, "scrape_configs": [*found, replayed, nvml]}, sort_keys=False)


@contextmanager
def _discovery(cluster: Cluster, folder: Path) -> Iterator[None]:
    """Keep Prometheus' files of targets up to date for the body."""
    over = threading.Event()

    def keep() -> None:
        while not over.wait(1.0):
            _discover(cluster, folder)

    folder.mkdir(parents=True, exist_ok=True)
    _discover(cluster, folder)
    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _discover(cluster: Cluster, folder: Path) -> None:
    for name, (namespace, selector, port) in _TARGETS.items():
        text = cluster.kubectl("-n", namespace, "get", "pods", "-l", selector, "-o", "json", check=False)
        pods = json.loads(text)["items"] if text else []
        targets = [
            {
                "targets": [f"{pod['status']['podIP']}:{port}"],
                "labels": {"namespace": namespace, "pod": pod["metadata"]["name"]},
            }
            for pod in pods
            if pod["status"].get("phase") == "Running" and pod["status"].get("podIP")
        ]
        # Replaced whole: Prometheus may read at any moment.
        scratch = folder / f"{name}.new"
        scratch.write_text(json.dumps(targets))
        scratch.replace(folder / f"{name}.json")


def _gpus_of_a_worker() -> str:
    """Return what a worker's own page would say of its GPUs: the trainer's code with made-up readings."""
    board, wave = Board(), math.sin(time.time() / 20)
    memory = round((41 + wave) * 2**30)
    board.hear(Progress(rank=0, step=1, gpu_bytes=memory, gpu_bytes_max=44 * 2**30, mfu=0.41 + 0.02 * wave))
    reading = Reading(
        utilization=0.93 + 0.05 * wave, memory_used=memory + 3 * 2**30, memory_total=80 * 2**30,
        power_watts=610 + 40 * wave, temperature_celsius=62,
    )  # fmt: skip
    page = Page(board, attempt=0, job="chargpt", gpus=lambda: {0: reading}).render().decode()
    names = ("ganger_train_gpu_", "ganger_train_mfu_")
    return "".join(
        line
        for line in page.splitlines(keepends=True)
        if line.removeprefix("# HELP ").removeprefix("# TYPE ").startswith(names)
    )


def _advertise(cluster: Cluster, gpus: int | None) -> None:
    """Let the node say that it has so many GPUs, or none."""
    patch = {"status": {"capacity": {"nvidia.com/gpu": None if gpus is None else str(gpus)}}}
    cluster.kubectl("patch", "node", cluster.node_name, "--subresource=status", "--type=merge", "-p", json.dumps(patch))


def _set_live(cluster: Cluster, name: str, step: int) -> None:
    """Say in a job's status that a live setting holds from a step on, as long as the operator itself sets none."""
    live = [{"name": "lr", "value": "0.003", "appliedAtStep": step}]
    patch = json.dumps({"status": {"liveConfig": live}})
    cluster.kubectl("-n", NAMESPACE, "patch", "tj", name, "--subresource=status", "--type=merge", "-p", patch)


def _pods(cluster: Cluster) -> tuple[str, str]:
    """Return the names of the pods of the present attempt of the job on two workers."""
    attempt = _status(cluster, "digits").get("attempt", 0)
    return f"digits-{attempt}-0", f"digits-{attempt}-1"


def _status(cluster: Cluster, name: str) -> dict[str, Any]:
    text = cluster.kubectl("-n", NAMESPACE, "get", "tj", name, "-o", "json", check=False)
    status: dict[str, Any] = json.loads(text).get("status", {}) if text else {}
    return status


def _has_no_volume(status: dict[str, Any]) -> bool:
    return any(one.get("reason") == "VolumeConflict" for one in status.get("conditions", ()))


def _scraped(watcher: prometheus.Prometheus, expression: str) -> None:
    """Return once Prometheus finds something by the expression."""
    _until(lambda: bool(watcher.query(expression)), f"Prometheus finds {expression}")


def _until(there: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + _READY_SECONDS
    while not there():
        if time.monotonic() > end:
            raise DevError(f"not within {_READY_SECONDS:.0f} s", what, "Look at the operator's pods.")
        time.sleep(0.5)


def _wait(cluster: Cluster, name: str, there: Callable[[dict[str, Any]], bool]) -> None:
    end = time.monotonic() + _READY_SECONDS
    while not there(status := _status(cluster, name)):
        if time.monotonic() > end:
            raise DevError(
                f"job {name} did not get where it should in {_READY_SECONDS:.0f} s",
                f"{status.get('phase')}: {status.get('message')}",
                f"kubectl -n {NAMESPACE} describe tj {name}",
            )
        time.sleep(0.5)


@contextmanager
def _page(body: Callable[[], str]) -> Iterator[str]:
    """Serve a page of metrics on loopback for the body of the with statement, and yield its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = body().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: Any) -> None:
            """Say nothing: a scrape is not news."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
