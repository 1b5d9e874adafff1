"""Operator processes for measurements: started against a control plane, and asked what they cost."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
NAMESPACE = "ganger-system"


@dataclass
class Operator:
    """One operator process."""

    process: subprocess.Popen
    log: Path
    port: int

    def page(self) -> str:
        """Its metrics. Raises OSError."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as reply:
            return reply.read().decode()

    def rss_peak_mib(self) -> float:
        """Peak resident memory so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        return cpu_seconds(self.process.pid)

    def end(self, number: int = signal.SIGTERM) -> None:
        """Send a signal and wait for the end."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(timeout=30)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# As in a pod: the operator finds a service account, and never loads what only a kubeconfig needs.
# The mounts are the process's own, so nothing of it is seen outside.
POD = """
mount -t tmpfs tmpfs /run
mkdir -p /run/secrets/kubernetes.io/serviceaccount
cp "$1"/* /run/secrets/kubernetes.io/serviceaccount/
exec "$2" -m ganger.app
"""


def start(plane, folder: Path, *, user: str = "ganger", name: str = "operator-a") -> Operator:
    """Start an operator as that user, so that the audit log tells its requests from all others. Needs root."""
    account = folder / f"account-{user}"
    account.mkdir(exist_ok=True)
    (account / "token").write_text(plane.token_for(user))
    (account / "ca.crt").write_bytes(plane.ca.read_bytes())
    (account / "namespace").write_text(NAMESPACE)
    port = free_port()
    host, _, api_port = plane.url.removeprefix("https://").rpartition(":")
    env = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"} | {
        "KUBERNETES_SERVICE_HOST": host,
        "KUBERNETES_SERVICE_PORT": api_port,
        "GANGER_NAMESPACE": NAMESPACE,
        "GANGER_POD": name,
        "GANGER_HTTP_PORT": str(port),
    }
    log = folder / f"{name}.log"
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", POD, "sh", str(account), sys.executable]
    with log.open("w") as out:
        process = subprocess.Popen(command, env=env, stdout=out, stderr=out)
    return Operator(process, log, port)
