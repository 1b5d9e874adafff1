"""The last rung of the recovery bench: the machine under a gang is gone, seconds until the gang trains on another.

The embedded cluster has one machine, on which two nodes live in turn. A node is lost when its kubelet and all processes
of the gang are killed at once; the other one is there at the same moment, as an idle machine would be. What follows is
Kubernetes and Ganger with their own settings: nobody hears of the node for 50 s, its pods bear that for 30 s more, and
are given up failurePolicy.nodeLostGracePeriodSeconds (60) after that. No checkpoint: its volume would be of the node.
The operator runs beside the cluster, since a kubelet that takes a machine over removes the pods of the one before.
"""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from bench import operators
from ganger_dev import cluster, network
from ganger_dev.errors import DevError
from ganger_dev.node import Node

STOP_SECONDS = 30.0  # for the installed operator to give up its lease; a pod of a test may stay
NO_CLUSTER = "not measured: set KUBECONFIG to the embedded cluster, whose machine may be taken from a node"


def _kubectl(*arguments):
    return subprocess.run(["kubectl", *arguments], capture_output=True, text=True, check=True).stdout


class Machine:
    """The machine of the embedded cluster, with the node that lives on it now and the one that comes next."""

    def __init__(self, embedded):
        self.embedded = embedded
        addresses = network.of(embedded.folder)
        assert addresses is not None, "the cluster runs"
        self._nodes = [
            Node(name=name, folder=folder, network=addresses, containerd=embedded.containerd)
            for name, folder in (
                (embedded.node_name, embedded.folder),
                (f"{embedded.node_name}-spare", embedded.folder / "spare"),
            )
        ]

    def lose(self, namespace):
        """Kill the kubelet and every process of the namespace's pods; return when that was."""
        pods = json.loads(_kubectl("-n", namespace, "get", "pods", "-o", "json"))["items"]
        names = [
            status["containerID"].removeprefix("containerd://")
            for pod in pods
            for status in pod["status"]["containerStatuses"]
        ]
        tasks = [line.split() for line in self.embedded.containerd.ctr("tasks", "list").splitlines()]
        victims = [int(task[1]) for task in tasks if task[0] in names]
        kubelet = self._nodes[0].service("kubelet").pid()
        now = time.time()
        for pid in (kubelet, *victims):
            os.kill(pid, signal.SIGKILL)
        return now

    def replace(self):
        """Let the other node take over."""
        self._nodes.reverse()
        self._nodes[0].folder.mkdir(exist_ok=True)
        self._nodes[0].join(self.embedded.plane)

    def restore(self):
        """Leave the machine to the cluster's own node."""
        self._nodes.sort(key=lambda node: node.name != self.embedded.node_name)
        own, spare = self._nodes
        spare.service("kubelet").stop()
        own.join(self.embedded.plane)
        _kubectl("delete", "node", spare.name, "--ignore-not-found")


@contextlib.contextmanager
def _operator_beside(plane, folder):
    """Run this tree's operator as a process of the machine, in place of the one that is installed."""
    scope = ["-n", operators.NAMESPACE]
    installed = json.loads(_kubectl(*scope, "get", "deployments", "-o", "json"))["items"]
    names = {one["metadata"]["name"]: one["spec"]["replicas"] for one in installed}
    try:
        for name in names:
            _kubectl(*scope, "scale", f"deployment/{name}", "--replicas=0")
        end = time.monotonic() + STOP_SECONDS
        while _kubectl(*scope, "get", "pods", "-o", "name") and time.monotonic() < end:
            time.sleep(1.0)
        operator = operators.start(plane, folder)
        try:
            yield
        finally:
            operator.end()
    finally:
        for name, replicas in names.items():
            _kubectl(*scope, "scale", f"deployment/{name}", f"--replicas={replicas}")


def embedded_cluster():
    """Return the embedded cluster where KUBECONFIG is its own, else None."""
    running, given = cluster.running(), os.environ.get("KUBECONFIG")
    if running is None or given is None or Path(given).resolve() != running.kubeconfig.resolve():
        return None
    return running


def measure(trials: int, trial) -> tuple[list[float], str]:
    """Return the seconds of the trials, or none and why. trial: called with a Machine, whose node it loses."""
    embedded = embedded_cluster() if trials else None
    if embedded is None:
        return [], NO_CLUSTER
    machine = Machine(embedded)
    try:
        with tempfile.TemporaryDirectory() as folder, _operator_beside(embedded.plane, Path(folder)):
            try:
                return [trial(machine) for _ in range(trials)], ""
            finally:
                machine.restore()
    except (OSError, DevError, subprocess.CalledProcessError) as error:
        return [], f"a trial failed: {getattr(error, 'stderr', '') or error}"[:300]
