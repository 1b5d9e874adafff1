"""The cluster of a run: a real control plane, simulated nodes, Kueue's real manager, and the operator as a process."""

from __future__ import annotations

import contextlib
import sys
import time
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ganger.api.crd import definitions
from ganger_dev import kueue
from ganger_dev.control_plane import ControlPlane, start_control_plane
from ganger_dev.errors import DevError
from ganger_dev.gangs.scale import Scale, objects
from ganger_dev.paths import repository
from ganger_dev.processes import Service, free_ports

NAMESPACE = "gangs"
OPERATOR, KUEUE = "ganger", "kueue"  # what the audit log calls them
_SYSTEM = "ganger-system"
_LEASE_SECONDS = 800  # a thousand nodes that renew theirs every ten seconds would take half a core
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@dataclass(frozen=True, kw_only=True)
class World:
    """A cluster in which gangs can be submitted to the queues of a scale, in NAMESPACE."""

    plane: ControlPlane
    kueue: Service
    operator: Service

    def ended(self) -> list[str]:
        """Return the last words of each program that should run and does not."""
        running = self.plane.running()
        names = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")
        gone = [Service(name=name, folder=self.plane.folder) for name in names if name not in running]
        gone += [service for service in (self.kueue, self.operator) if service.pid() is None]
        return [f"{service.name}: {service.last_words()}" for service in gone]

    def last_words(self) -> list[str]:
        """Return the last line of the log of each program that decides something."""
        scheduler = Service(name="kube-scheduler", folder=self.plane.folder)
        return [f"{service.name}: {service.last_words()}" for service in (self.operator, self.kueue, scheduler)]


@contextmanager
def opened(scale: Scale, folder: Path, **settings: str) -> Iterator[World]:
    """Give a world of that size that is stopped at the end, whatever happens. Raises DevError where it does not start.

    settings: further ones of the operator, by the names of its environment.
    """
    plane = start_control_plane(folder, kwok=True, users=(KUEUE,), kwok_lease_seconds=_LEASE_SECONDS)
    manager = Service(name="kueue", folder=plane.folder / "kueue")
    operator = Service(name="operator", folder=plane.folder / "operator")
    try:
        plane.add_kwok_nodes(scale.nodes, gpus=1)
        _define(plane)
        kueue.start(plane, user=KUEUE, pods_ready_seconds=scale.partial_seconds)
        for name in (_SYSTEM, NAMESPACE):
            plane.api.request("POST", "/api/v1/namespaces", {"kind": "Namespace", "metadata": {"name": name}})
            _until(lambda name=name: _answers(plane, f"/api/v1/namespaces/{name}/serviceaccounts/default"), name)  # type: ignore[misc]
        for path, manifest in objects(scale, NAMESPACE):
            plane.api.request("POST", path, manifest)
        _start_operator(plane, operator, settings)
        world = World(plane=plane, kueue=manager, operator=operator)
        _until(lambda: world.ended() or _num_ready(plane) == scale.nodes, f"{scale.nodes} nodes that are ready", 180)
        if world.ended():
            raise DevError("the cluster for the gangs did not start", "; ".join(world.ended()), "See its log.")
        yield world
    finally:
        operator.stop()
        manager.stop()
        plane.stop()


def _define(plane: ControlPlane) -> None:
    """Apply every definition, and wait until each is established and served."""
    for body in definitions():
        plane.api.request("POST", _CRDS, body)
    for body in definitions():
        names, name = body["spec"]["names"], body["metadata"]["name"]
        _until(lambda name=name: _is_established(plane, name), f"{name} to be established")  # type: ignore[misc]
        # Right after that the API server still answers 429, "storage is (re)initializing", for a while.
        served = f"/apis/{body['spec']['group']}/{body['spec']['versions'][0]['name']}/{names['plural']}"
        _until(lambda served=served: _answers(plane, served), f"{served} to be served")  # type: ignore[misc]


def _is_established(plane: ControlPlane, name: str) -> bool:
    conditions = plane.api.request("GET", f"{_CRDS}/{name}").get("status", {}).get("conditions") or []
    return any((one["type"], one["status"]) == ("Established", "True") for one in conditions)


def _start_operator(plane: ControlPlane, operator: Service, settings: dict[str, str]) -> None:
    tree = repository()
    (port,) = free_ports(1)
    environment = {
        "KUBECONFIG": str(plane.kubeconfig_for(OPERATOR)),
        "GANGER_NAMESPACE": _SYSTEM,
        "GANGER_POD": "operator",
        "GANGER_HTTP_PORT": str(port),
        "PYTHONPATH": f"{tree / 'operator'}:{tree / 'jobs'}",
        **settings,
    }
    operator.start([sys.executable, "-m", "ganger.app"], env=environment, tied=True)
    lease = f"/apis/coordination.k8s.io/v1/namespaces/{_SYSTEM}/leases/ganger-operator"
    operator.wait_ready(lambda: _answers(plane, lease))


def _num_ready(plane: ControlPlane) -> int:
    """Return how many nodes a pod can be bound to."""
    nodes = plane.api.request("GET", "/api/v1/nodes?resourceVersion=0")["items"]
    return sum(
        not node["spec"].get("taints")
        and any((one["type"], one["status"]) == ("Ready", "True") for one in node["status"].get("conditions", []))
        for node in nodes
    )


def _answers(plane: ControlPlane, path: str) -> bool:
    with contextlib.suppress(urllib.error.HTTPError):
        return bool(plane.api.request("GET", path))
    return False


def _until(condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise DevError("the cluster for the gangs did not start", f"{what}: not within {seconds:g} s", "Try again.")
        time.sleep(0.2)
