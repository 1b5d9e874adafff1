"""Operators as processes against the real API server, and pods that obey the test: no kubelet, no scheduler needed."""

import os
import signal
import subprocess
import sys
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from apiclient import JOBS, PODS, ApiClient, History, wait_for
from ports import free_port

ROOT = Path(__file__).parents[3]


@dataclass
class Operator:
    """One operator process."""

    process: subprocess.Popen
    log: Path
    port: int

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def is_ready(self) -> bool:
        """Whether it says at /readyz that it could lead now."""
        try:
            return bool(self.read("/readyz"))
        except OSError:
            return False

    def read(self, path: str) -> str:
        """What it serves there. Raises OSError."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2) as reply:
            return reply.read().decode()

    def stop(self) -> int:
        """SIGTERM and wait; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        return self.process.wait(timeout=20)


class World:
    """A namespace with operators and obedient pods."""

    def __init__(self, control_plane, namespace: str, folder: Path, history: History) -> None:
        self.control_plane = control_plane
        self.namespace = namespace
        self.api = ApiClient(control_plane.url, control_plane.ca, control_plane.token_for("admin"))
        self.folder = folder
        self.operators: list[Operator] = []
        self.jobs = JOBS.format(namespace=namespace)
        self.pods = PODS.format(namespace=namespace)
        self.history = history

    def start_operator(self, name: str = "operator-a", **settings: str) -> Operator:
        """Start an operator that watches this namespace alone, with further settings in its environment."""
        port = free_port()
        log = self.folder / f"{name}-{len(self.operators)}.log"
        env = os.environ | {
            "KUBECONFIG": str(self.control_plane.kubeconfig),
            "GANGER_NAMESPACE": self.namespace,
            "GANGER_WATCH_NAMESPACES": self.namespace,
            "GANGER_POD": name,
            "GANGER_HTTP_PORT": str(port),
            "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'jobs'}",
            **settings,
        }
        with log.open("w") as out:
            process = subprocess.Popen([sys.executable, "-m", "ganger.app"], env=env, stdout=out, stderr=out)
        operator = Operator(process, log, port)
        self.operators.append(operator)
        return operator

    def leader(self) -> str:
        """Identity of the leader, "" while there is none."""
        lease = self.api.get(f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases/ganger-operator")
        return (lease or {}).get("spec", {}).get("holderIdentity") or ""

    def submit(self, name: str = "digits", **spec):
        """Create a job of two workers."""
        body = {
            "apiVersion": "ganger.dev/v1alpha1",
            "kind": "TrainingJob",
            "metadata": {"name": name},
            "spec": {"task": "m:t", "workers": 2} | spec,
        }
        return self.api.create(self.jobs, body)

    def job(self, name: str = "digits"):
        """The job, or None."""
        return self.api.get(f"{self.jobs}/{name}")

    def status(self, name: str = "digits"):
        """Its status, {} before the first."""
        return (self.job(name) or {}).get("status", {})

    def condition(self, type_: str, name: str = "digits"):
        """A condition of the job, {} where there is none."""
        return next((c for c in self.status(name).get("conditions", []) if c["type"] == type_), {})

    def pod_names(self) -> list[str]:
        """Names of all pods."""
        return sorted(pod["metadata"]["name"] for pod in self.api.items(self.pods))

    def wait_pods(self, *names: str, timeout: float = 15.0) -> None:
        """Wait until exactly these pods exist."""
        wait_for(lambda: self.pod_names() == sorted(names), timeout, f"pods {names}, not {self.pod_names()}")

    def wait_phase(self, phase: str, name: str = "digits", timeout: float = 15.0) -> None:
        """Wait for a phase."""
        wait_for(lambda: self.status(name).get("phase") == phase, timeout, f"{name}: {phase}, not {self.status(name)}")

    def run(self, *names: str) -> None:
        """The kubelet's word: the pods run."""
        for name in names:
            state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
            address = {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]}
            self._say(name, {"phase": "Running", "containerStatuses": [self._container(state)]} | address)

    def end(self, name: str, exit_code: int, message: str = "", reason: str = "") -> None:
        """The kubelet's word: the pod ended."""
        state = {
            "terminated": {
                "exitCode": exit_code,
                "reason": reason or ("Completed" if exit_code == 0 else "Error"),
                "message": message,
                "finishedAt": "2026-01-01T00:00:00Z",
            }
        }
        phase = "Succeeded" if exit_code == 0 else "Failed"
        self._say(name, {"phase": phase, "containerStatuses": [self._container(state)]})

    def _container(self, state):
        return {
            "name": "trainer",
            "state": state,
            "image": "x",
            "imageID": "",
            "ready": "running" in state,
            "restartCount": 0,
        }

    def _say(self, name, status):
        self.api.merge(f"{self.pods}/{name}/status", {"status": status})

    def running_job(self, name: str = "digits", **spec) -> None:
        """A job whose whole gang runs."""
        self.submit(name, **spec)
        workers = spec.get("workers", 2)
        names = [f"{name}-0-{worker}" for worker in range(workers)]
        wait_for(lambda: set(names) <= set(self.pod_names()), message=f"pods {names}")
        self.run(*names)
        self.wait_phase("Running", name)


@pytest.fixture
def world(control_plane, crd, namespace, history, tmp_path):
    """A namespace without an operator yet; every operator that was started is ended."""
    with ExitStack() as stack:
        world = World(control_plane, namespace, tmp_path, history)
        yield world
        for operator in world.operators:
            stack.callback(operator.stop)


@pytest.fixture
def operated(world):
    """A namespace with one leading operator."""
    world.start_operator()
    wait_for(world.leader, 20, "a leader")
    return world
