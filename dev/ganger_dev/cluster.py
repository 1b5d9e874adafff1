"""The embedded cluster: one node of real Kubernetes on this machine, started in seconds and removed without a trace.

Everything it writes lies below its folder in the cache and below /run/ganger-NAME; the images alone outlive it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
from dataclasses import dataclass
from pathlib import Path

from ganger_dev import binaries, control_plane, network, policies, provisioner, system
from ganger_dev.containerd import Containerd
from ganger_dev.control_plane import ControlPlane
from ganger_dev.errors import DevError
from ganger_dev.node import Node
from ganger_dev.paths import below_cache, locked, require_free
from ganger_dev.processes import Service

DEFAULT = "ganger"
_PROGRAMS = tuple(
    name for name in binaries.TOOLS if name not in {"kwok", "helm", "helm3", "kueue", "rclone-s3", policies.NAME}
)


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A running embedded cluster."""

    name: str
    folder: Path
    plane: ControlPlane
    containerd: Containerd
    node_name: str

    @property
    def kubeconfig(self) -> Path:
        """Return the administrator's kubeconfig."""
        return self.plane.kubeconfig

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl as the administrator and return its output; raise DevError when it fails and `check` is set."""
        command = [str(binaries.path_of("kubectl")), f"--kubeconfig={self.kubeconfig}", *arguments]
        result = subprocess.run(command, input=stdin, capture_output=True, text=True)
        if check and result.returncode != 0:
            raise DevError(
                f"kubectl {' '.join(arguments[:3])} failed", result.stderr.strip()[-500:], "Read the message."
            )
        return result.stdout


def folder_of(name: str) -> Path:
    """Return the folder of cluster `name`: `$GANGER_CLUSTER_DIR`, or its place in the cache."""
    given = os.environ.get("GANGER_CLUSTER_DIR")
    return Path(given).expanduser().resolve() if given else below_cache("cluster") / name


def up(name: str = DEFAULT) -> Cluster:
    """Start the cluster and return it once its node takes pods; one that runs already is returned as it is.

    Raises DevError, naming the ways on, where Linux, root, Go or a package is missing.
    """
    _check_name(name)
    system.require_root_linux("the embedded cluster")
    system.ensure_packages(*system.FOR_THE_NODE)
    binaries.ensure(*_PROGRAMS)
    with locked(f"cluster-{name}"):
        started = time.monotonic()
        folder = folder_of(name)
        require_free(below_cache(), 1, "the embedded cluster")
        _refuse_second(name)
        folder.mkdir(parents=True, exist_ok=True)
        net = network.up(name, folder)
        runtime = Containerd(name=name, folder=folder)
        runtime.start()
        plane = control_plane.start_control_plane(folder, address=net.node_address, tied=False)
        node = Node(name=f"{name}-node", folder=folder, network=net, containerd=runtime)
        node.start(plane)
        try:
            plane.api.request("POST", "/apis/storage.k8s.io/v1/storageclasses", provisioner.storage_class())
        except urllib.error.HTTPError as error:
            if error.code != 409:  # it is there already
                raise
        source = str(Path(__file__).resolve().parents[1])
        command = [sys.executable, "-m", "ganger_dev.provisioner", str(folder), node.name]
        Service(name="provisioner", folder=folder).start(command, env={"PYTHONPATH": source})
        print(f"cluster {name} is up after {time.monotonic() - started:.1f} s", flush=True)
        return Cluster(name=name, folder=folder, plane=plane, containerd=runtime, node_name=node.name)


def down(name: str = DEFAULT) -> None:
    """Stop the cluster and remove everything of it but the images: programs, pods, links, tables, mounts, volumes."""
    _check_name(name)
    folder = folder_of(name)
    runtime = Containerd(name=name, folder=folder)
    if not folder.exists() and not runtime.run_folder.exists():
        return
    system.require_root_linux("the embedded cluster")
    with locked(f"cluster-{name}"):
        for service in ("kubelet", "kube-proxy", "coredns", "provisioner"):
            Service(name=service, folder=folder).stop()
        if (folder / "network.json").exists() and not binaries.missing(("containerd", "ctr", "crictl")):
            runtime.start()  # a runtime that died left pods behind, and it alone can remove them
        runtime.stop()
        plane = control_plane.attach(folder)
        if plane is not None:
            plane.stop()
        if Service(name=policies.NAME, folder=folder).pid_file.exists():  # a test that was killed
            policies.clear(folder)
        network.down(folder)
        for path in (folder, runtime.run_folder, runtime.root):
            unmount_below(path)
        _remove_cgroups()
        for path in (folder, runtime.run_folder):
            shutil.rmtree(path, ignore_errors=True)
        _remove_empty_folders()


def status(name: str = DEFAULT) -> dict[str, int]:
    """Return the pids of the cluster's running programs, by name; empty when it is down."""
    found = {path.stem: Service(name=path.stem, folder=path.parent).pid() for path in folder_of(name).glob("*.pid")}
    return {service: pid for service, pid in sorted(found.items()) if pid is not None}


def running(name: str = DEFAULT) -> Cluster | None:
    """Return the cluster if its API server answers, else None."""
    folder = folder_of(name)
    plane = control_plane.attach(folder)
    if plane is None or not plane.api.ready():
        return None
    runtime = Containerd(name=name, folder=folder)
    return Cluster(name=name, folder=folder, plane=plane, containerd=runtime, node_name=f"{name}-node")


def mounts_below(path: Path, table: str) -> list[str]:
    """Return the mount points of a /proc/mounts `table` that lie at or below `path`, innermost first. Pure."""
    points = [line.split()[1].replace("\\040", " ") for line in table.splitlines()]
    inside = [point for point in points if point == str(path) or point.startswith(f"{path}/")]
    return sorted(inside, key=lambda point: point.count("/"), reverse=True)


def unmount_below(path: Path) -> None:
    """Unmount everything at or below `path`."""
    for point in mounts_below(path, Path("/proc/mounts").read_text()):
        subprocess.run(["umount", "--lazy", point], capture_output=True)


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,18}[a-z0-9])?", name):
        raise DevError(f"{name!r} is no cluster name", "it has to be 1 to 20 of a-z, 0-9 and -", "Choose another.")


def _refuse_second(name: str) -> None:
    """Raise DevError when another cluster runs: kube-proxy's tables and the Service range exist once a machine."""
    for path in below_cache("cluster").iterdir():
        if path != folder_of(name) and Service(name="kubelet", folder=path).pid() is not None:
            raise DevError(
                f"cluster {name} cannot start", f"cluster {path.name} runs and a machine holds one at a time",
                f"Stop it with `python -m ganger_dev cluster down --name {path.name}`.",
            )  # fmt: skip


def _remove_cgroups() -> None:
    """Remove the empty control groups that the kubelet made; one that is in use refuses to go, and stays."""
    for top in [*Path("/sys/fs/cgroup").glob("*/kubepods"), Path("/sys/fs/cgroup/kubepods")]:
        for path in sorted(top.rglob("*"), key=lambda one: len(one.parts), reverse=True):
            if path.is_dir():
                subprocess.run(["rmdir", str(path)], capture_output=True)
        if top.is_dir():
            subprocess.run(["rmdir", str(top)], capture_output=True)


def _remove_empty_folders() -> None:
    """Remove what the kubelet, the shim and the CNI plug-ins leave at their fixed places, if nobody else uses it."""
    for name in ("kubelet.sock", "kubelet_internal_checkpoint", "DEPRECATION"):
        Path("/var/lib/kubelet/device-plugins", name).unlink(missing_ok=True)
    for link in Path("/var/log/containers").glob("*.log"):
        if link.is_symlink() and not link.exists():  # its log was in the cluster's folder
            link.unlink()
    for top in ("/var/lib/kubelet", "/var/lib/cni", "/run/containerd", "/var/log/containers"):
        for path in [*sorted(Path(top).rglob("*"), key=lambda one: len(one.parts), reverse=True), Path(top)]:
            if path.is_dir() and not path.is_symlink():
                subprocess.run(["rmdir", str(path)], capture_output=True)
