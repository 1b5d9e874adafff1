"""Pods as plain processes: one supervisor per worker on the loopback address, as `ganger run` starts them."""

import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
SOURCES = (ROOT / "operator", ROOT / "jobs", Path(__file__).parent)


# Below the ports that Linux gives to whoever asks for any (net.ipv4.ip_local_port_range): what is free now must be free
# when the gang's next round listens on it, seconds later, beside tests whose connections come and go.
RENDEZVOUS_PORTS = range(20_000, 32_000)
ROUNDS = 4  # each round listens on the next port


def free_ports() -> int:
    """Return the first of `ROUNDS` ports in a row that nobody has on the loopback address."""
    while True:
        first = random.choice(RENDEZVOUS_PORTS)
        try:
            for port in range(first, first + ROUNDS):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first


@dataclass
class Ending:
    """How each pod of a gang ended."""

    codes: list[int]
    messages: list[dict[str, Any]]
    logs: list[str]


@dataclass
class Gang:
    """A gang of pods that share a checkpoint directory."""

    directory: Path
    workers: int = 2
    task: str | None = "toy:task"
    config: dict[str, Any] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    checkpoint: dict[str, Any] = field(default_factory=lambda: {"everySteps": 5})
    attempt: int = 0
    prefix: tuple[str, ...] = ()  # a program that starts the supervisor
    port: int = 0
    pods: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, **config: Any) -> "Gang":
        self.port = free_ports()
        self.pods = [self._pod(worker, self.port, self.config | config) for worker in range(self.workers)]
        return self

    def _pod(self, worker: int, port: int, config: dict[str, Any]) -> subprocess.Popen[str]:
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "PYTHONPATH": ":".join(str(path) for path in SOURCES),
            "GLOO_SOCKET_IFNAME": "lo",
            "GANGER_JOB": "toy",
            "GANGER_JOB_UID": "uid-1",
            "GANGER_ATTEMPT": str(self.attempt),
            "GANGER_WORKER": str(worker),
            "GANGER_WORKERS": str(self.workers),
            "GANGER_RENDEZVOUS": f"127.0.0.1:{port}",
            "GANGER_CHECKPOINT_DIR": str(self.directory / "checkpoints"),
            "GANGER_CHECKPOINT": json.dumps(self.checkpoint),
            "GANGER_CONFIG": json.dumps({"threads": 1, "logEverySeconds": 0.2, "batchSize": 12} | config),
            "GANGER_TERMINATION_LOG": str(self.message_path(worker)),
        }
        if self.task:
            environ["GANGER_TASK"] = self.task
        self.message_path(worker).unlink(missing_ok=True)
        with (self.directory / f"log-{worker}").open("w") as log:
            return subprocess.Popen(
                [*self.prefix, sys.executable, "-m", "ganger_trainer"],
                env=environ | self.environ,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=self.directory,
                start_new_session=True,
            )

    def message_path(self, worker: int) -> Path:
        return self.directory / f"message-{worker}.json"

    def log(self, worker: int) -> str:
        return (self.directory / f"log-{worker}").read_text(errors="replace")

    def wait_for(self, text: str, worker: int = 0, seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.log(worker):
            assert time.monotonic() < deadline, f"{text!r} not in {self.log(worker)}"
            assert self.pods[worker].poll() is None or text in self.log(worker), self.log(worker)
            time.sleep(0.02)

    def end(self, seconds: float = 90.0) -> Ending:
        try:
            codes = [pod.wait(seconds) for pod in self.pods]
        except subprocess.TimeoutExpired as error:
            said = "\n".join(f"--- worker {worker}:\n{self.log(worker)}" for worker in range(self.workers))
            raise AssertionError(f"a pod still runs after {seconds} s\n{said}") from error
        paths = [self.message_path(worker) for worker in range(self.workers)]
        messages = [json.loads(path.read_text()) if path.exists() else {} for path in paths]
        return Ending(codes, messages, [self.log(worker) for worker in range(self.workers)])

    def run(self, **config: Any) -> Ending:
        return self.start(**config).end()

    def signal(self, worker: int, number: int = signal.SIGTERM) -> None:
        self.pods[worker].send_signal(number)

    def shards(self, step: int) -> list[str]:
        """SHA-256 of each shard of a checkpoint: model, optimizer, schedule and generators, byte for byte."""
        found = sorted((self.directory / "checkpoints" / f"step_{step}").glob("*.safetensors"))
        assert self.workers == len(found)
        return [hashlib.sha256(shard.read_bytes()).hexdigest() for shard in found]

    def entries(self) -> list[str]:
        """What lies in the checkpoint directory."""
        return sorted(path.name for path in (self.directory / "checkpoints").iterdir())

    def kill(self) -> None:
        for pod in self.pods:
            if pod.poll() is None:
                os.killpg(pod.pid, signal.SIGKILL)  # with a prefix the supervisor is a child of it
                pod.wait()


@pytest.fixture
def gangs(tmp_path):
    """Make gangs, each in a directory of its own; all are gone after the test."""
    made: list[Gang] = []

    def make(name: str = "gang", **options: Any) -> Gang:
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        gang = Gang(directory, **options)
        made.append(gang)
        return gang

    yield make
    for gang in made:
        gang.kill()
