"""The container runtime of one cluster, with an image store that outlives the cluster.

The sockets lie below /run, because a unix socket's path has at most 107 characters; the images lie in the cache:
loading 5 GB again for each cluster would cost minutes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ganger_dev import binaries, sandbox
from ganger_dev.errors import DevError
from ganger_dev.network import CNI_PROGRAMS
from ganger_dev.paths import below_cache, write
from ganger_dev.processes import Service

_CONFIGURATION = """\
version = 3
root = "{root}"
state = "{run}/state"
# These reach for devices and folders that this runtime does not use.
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.erofs", "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp"]

[grpc]
  address = "{socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{run}/opt"

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{sandbox}"

[plugins."io.containerd.cri.v1.runtime"]
  # Root in a container or a small VM may lack CAP_SYS_RESOURCE: lowering a score below its own fails every sandbox.
  restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["{cni_programs}"]
  conf_dir = "{cni}"
[plugins."io.containerd.cri.v1.runtime".containerd]
  default_runtime_name = "runc"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  BinaryName = "{runc}"
  SystemdCgroup = false
"""


@dataclass(frozen=True, kw_only=True)
class Containerd:
    """The runtime of cluster `name`; `folder` is the cluster's own."""

    name: str
    folder: Path

    @property
    def run_folder(self) -> Path:
        """Return the folder of the sockets and of what lives no longer than the machine's uptime."""
        return Path("/run") / f"ganger-{self.name}"

    @property
    def root(self) -> Path:
        """Return the folder of the images and their unpacked layers."""
        return below_cache("containerd", self.name)

    @property
    def socket(self) -> Path:
        """Return the socket that the kubelet, crictl and ctr speak to."""
        return self.run_folder / "containerd.sock"

    @property
    def service(self) -> Service:
        """Return the running program."""
        return Service(name="containerd", folder=self.folder)

    def start(self) -> None:
        """Start the runtime unless it runs, and make sure that it holds the sandbox image."""
        programs = binaries.ensure("containerd", "containerd-shim-runc-v2", "ctr", "crictl")
        self.run_folder.mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "containerd.toml"
        self.folder.mkdir(parents=True, exist_ok=True)
        text = _CONFIGURATION.format(
            root=self.root,
            run=self.run_folder,
            socket=self.socket,
            sandbox=sandbox.NAME,
            cni_programs=CNI_PROGRAMS,
            cni=self.folder / "cni",
            runc=shutil.which("runc", path=os.environ["PATH"] + ":/usr/sbin") or "runc",
        )
        write(configuration, text)
        # The runtime looks for its shim in PATH.
        path = f"{programs['containerd-shim-runc-v2'].parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
        self.service.start([str(programs["containerd"]), "--config", str(configuration)], env={"PATH": path})
        self.service.wait_ready(lambda: self._answers("version"))
        if sandbox.NAME not in self.images():
            self.ctr("images", "import", str(sandbox.ensure_archive()))

    def stop(self) -> None:
        """Remove every pod and container, then stop the runtime. The images stay."""
        if self.service.pid() is not None:
            # Not every pod may be removable (its volume is gone, say); the rest of the clean-up does not depend on it.
            for arguments in (("rmp", "--all", "--force"), ("rm", "--all", "--force")):
                subprocess.run(self.crictl_command(*arguments), capture_output=True, timeout=120)
        self.service.stop()

    def images(self) -> list[str]:
        """Return the names of the images that are in the store."""
        return self.ctr("images", "list", "-q").split()

    def ctr(self, *arguments: str) -> str:
        """Run ctr in the kubelet's namespace and return its output."""
        result = subprocess.run(self.ctr_command(*arguments), capture_output=True, text=True)
        if result.returncode != 0:
            raise DevError(
                f"ctr {' '.join(arguments[:2])} failed", result.stderr.strip()[-300:], f"See {self.service.log}."
            )
        return result.stdout

    def ctr_command(self, *arguments: str) -> list[str]:
        """Return the command line of ctr in the kubelet's namespace."""
        return [str(binaries.path_of("ctr")), "--address", str(self.socket), "--namespace", "k8s.io", *arguments]

    def crictl_command(self, *arguments: str) -> list[str]:
        """Return the command line of crictl."""
        endpoint = f"unix://{self.socket}"
        flags = ["--runtime-endpoint", endpoint, "--image-endpoint", endpoint, "--timeout", "60s"]
        return [str(binaries.path_of("crictl")), *flags, *arguments]

    def _answers(self, *arguments: str) -> bool:
        return (
            self.socket.exists() and subprocess.run(self.ctr_command(*arguments), capture_output=True).returncode == 0
        )
