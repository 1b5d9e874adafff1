"""What the machine itself must offer: Linux, root, and a few Debian packages that are installed on demand."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

from ganger_dev.errors import WITHOUT_A_CLUSTER, DevError

# Package -> a file whose presence shows that it (or an equal of another distribution) is there.
PACKAGES: dict[str, str] = {
    "runc": "runc",
    "containernetworking-plugins": "/usr/lib/cni/ptp",
    "iproute2": "ip",
    "nftables": "nft",
    "conntrack": "conntrack",
    "iptables": "iptables",
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
    "skopeo": "skopeo",
    "gcc": "gcc",
    "libc6-dev": "/usr/include/stdio.h",
    "chromium": "chromium",
    "openssh-server": "/usr/sbin/sshd",
    "dataset-fashion-mnist": "/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz",
}
FOR_THE_NODE = (
    "runc",
    "containernetworking-plugins",
    "iproute2",
    "nftables",
    "conntrack",
    "iptables",
    "gcc",
    "libc6-dev",
)
FOR_IMAGES = ("buildah", "mmdebstrap", "skopeo", "runc")


def missing_packages(names: tuple[str, ...]) -> list[str]:
    """Return those of `names` whose file is not found on this machine."""
    return [name for name in names if not _found(PACKAGES[name])]


def ensure_packages(*names: str) -> None:
    """Install the named Debian packages that are missing, saying so.

    Raises DevError where apt-get is not there or fails.
    """
    missing = missing_packages(names)
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise DevError(
            "the embedded cluster lacks programs",
            f"{', '.join(missing)} not found and this machine has no apt-get",
            f"Install them with your package manager. {WITHOUT_A_CLUSTER}",
        )
    print(f"installing {' '.join(missing)} with apt-get ...", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing]
    for command in (["apt-get", "update", "-q"], install):
        result = subprocess.run(command, env=environment, capture_output=True, text=True)
        if result.returncode != 0:
            why = (result.stderr.strip() or result.stdout.strip() or "no output").splitlines()[-1]
            raise DevError(f"`{' '.join(command)}` failed", why, "Install the packages by hand and run this again.")


def require_root_linux(purpose: str) -> None:
    """Raise DevError, naming the ways on, unless this is Linux and we are root."""
    if platform.system() != "Linux":
        raise DevError(f"{purpose} needs Linux", f"this is {platform.system()}", WITHOUT_A_CLUSTER)
    if os.geteuid() != 0:
        raise DevError(f"{purpose} needs root", f"this is user {os.geteuid()}", WITHOUT_A_CLUSTER)


def _found(file: str) -> bool:
    if file.startswith("/"):
        return Path(file).exists()
    # sbin is not on every user's PATH.
    return shutil.which(file, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is not None
