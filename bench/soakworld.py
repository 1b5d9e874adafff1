"""The cluster of a soak: a real control plane and operator whose programs are killed and come back, on kwok nodes."""

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

from bench import operators
from ganger.api.crd import definitions
from ganger_dev.control_plane import start_control_plane
from ganger_dev.errors import DevError
from ganger_dev.processes import Service

NAMESPACE = "soak"
NODES = 20
BACK_SECONDS = 300.0  # a killed program has to serve again by then
# Events are a diary that the API server forgets after an hour; the others live as long as their namespace.
NOT_COUNTED = ("events", "serviceaccounts")
NOT_COUNTED_NAMES = ("kube-root-ca.crt",)


class World:
    """A control plane with the definitions, kwok nodes, a namespace for the jobs, and an operator.

    kills: how often each program was killed. strayed: programs that ended though nobody killed them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kills: dict[str, int] = {}
        self.strayed: list[str] = []
        self._hands_off = threading.Lock()  # nobody brings back what is to be away
        self.plane = start_control_plane(folder, kwok=True)
        self._programs = set(self.plane.running())
        for definition in definitions():
            self.plane.api.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
        self.plane.add_kwok_nodes(NODES)
        for name in (operators.NAMESPACE, NAMESPACE):
            self.plane.api.request("POST", "/api/v1/namespaces", {"kind": "Namespace", "metadata": {"name": name}})
            self._until(f"/api/v1/namespaces/{name}/serviceaccounts/default")
        for plural in ("trainingjobs", "trainingprofiles", "devsessions"):
            self._until(f"/apis/ganger.dev/v1alpha1/{plural}")
        self.operator = self._start_operator()

    def _start_operator(self):
        operator = operators.start(self.plane, self.folder)
        self._until(f"/apis/coordination.k8s.io/v1/namespaces/{operators.NAMESPACE}/leases/ganger-operator")
        return operator

    def kill(self, name: str, down_seconds: float) -> None:
        """SIGKILL `operator` or a program of the control plane, and start it anew after a while."""
        with self._hands_off:
            self._kill(name, down_seconds)

    def _kill(self, name: str, down_seconds: float) -> None:
        self.kills[name] = self.kills.get(name, 0) + 1
        if name == "operator":
            self.operator.end(signal.SIGKILL)
            time.sleep(down_seconds)
            self.operator = self._start_operator()
            return
        service = Service(name=name, folder=self.folder)
        pid = service.pid()
        if pid is not None:  # else it ended by itself, a moment before
            os.kill(pid, signal.SIGKILL)
        while service.pid() is not None:
            time.sleep(0.05)
        time.sleep(down_seconds)
        self._bring_back()

    def _bring_back(self) -> None:
        """Start what does not run. An API server that finds no etcd yet ends, and is started once more."""
        end = time.monotonic() + BACK_SECONDS
        while True:
            with contextlib.suppress(DevError):
                start_control_plane(self.folder, kwok=True)
                self._until("/apis/ganger.dev/v1alpha1/trainingjobs")
                return
            if time.monotonic() > end:
                raise TimeoutError(f"the control plane did not come back within {BACK_SECONDS:.0f} s")

    def look_after(self) -> None:
        """Start anew what ended by itself, as a kubelet would, and remember that it did."""
        with self._hands_off:
            gone = sorted(self._programs - set(self.plane.running()))
            if gone:
                self.strayed += gone
                self._bring_back()
            if self.operator.process.poll() is not None:
                self.strayed.append("operator")
                self.operator = self._start_operator()

    def rss_mib(self) -> float:
        """Resident memory of the operator now."""
        status = Path(f"/proc/{self.operator.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def inventory(self) -> set[str]:
        """Every object in the namespaces of the jobs and of the operator, of whatever type, as TYPE NAMESPACE/NAME."""
        api, found = self.plane.api, set()
        groups = api.request("GET", "/apis")["groups"]
        paths = ["/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups)]
        for path in paths:
            for kind in api.request("GET", path)["resources"]:
                name = kind["name"]
                if not kind["namespaced"] or "list" not in kind["verbs"] or "/" in name or name in NOT_COUNTED:
                    continue
                for namespace in (NAMESPACE, operators.NAMESPACE):
                    items = api.request("GET", f"{path}/namespaces/{namespace}/{name}")["items"]
                    names = {item["metadata"]["name"] for item in items} - set(NOT_COUNTED_NAMES)
                    found |= {f"{name} {namespace}/{one}" for one in names}
        return found

    def leaked(self, before: set[str], seconds: float = 120.0) -> list[str]:
        """What is there beside `before` once the garbage collector had time to remove what lost its owner."""
        end = time.monotonic() + seconds
        while True:
            try:
                left = self.inventory() - before
                if not left or time.monotonic() > end:
                    return sorted(left)
            except OSError:  # a server that is not long back answers 429 to some types
                if time.monotonic() > end:
                    raise
            time.sleep(1.0)

    def stop(self) -> None:
        """Stop everything."""
        if hasattr(self, "operator"):
            self.operator.end()
        self.plane.stop()

    def _until(self, path: str, seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError):
                self.plane.api.request("GET", path)
                return
            if time.monotonic() > end:
                raise DevError("the cluster of the soak is not ready", f"{path}: no answer", "See the logs.")
            time.sleep(0.05)
