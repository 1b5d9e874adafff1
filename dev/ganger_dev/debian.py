"""Programs from Debian packages that are unpacked into the cache and not installed: the machine stays as it is."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from ganger_dev.errors import DevError
from ganger_dev.paths import below_cache, locked

# What tests use where it is there: a real Prometheus with promtool, and the language of Argo CD's health checks.
PROGRAMS: dict[str, tuple[str, ...]] = {
    "prometheus": ("usr/bin/prometheus", "usr/bin/promtool"),
    "lua5.4": ("usr/bin/lua5.4",),
}


def program(package: str, name: str) -> Path:
    """Return where the program `name` of `package` lies once it is unpacked, whether or not it is."""
    return below_cache("debian") / package / "usr" / "bin" / name


def ensure(package: str) -> Path:
    """Return the folder that holds the unpacked `package`, one of PROGRAMS, downloading it when it is missing.

    Nothing is installed and no dependency is fetched: such a package needs the C library alone, or what every Debian
    has. Raises DevError where apt-get is not there or cannot deliver it.
    """
    target = below_cache("debian") / package
    if not _whole(target, package):
        with locked(f"debian-{package}"):
            if not _whole(target, package):
                _fetch(package, target)
    return target


def _whole(folder: Path, package: str) -> bool:
    return all((folder / name).exists() for name in PROGRAMS[package])


def _fetch(package: str, target: Path) -> None:
    """Download and unpack; the folder appears in one rename, so that a half-unpacked one is never found."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise DevError(
            f"{package} is not fetched",
            "this machine has no apt-get",
            f"Tests that need it are skipped; or put its programs below {target}/usr/bin yourself.",
        )
    print(f"fetching {package} with apt-get ...", flush=True)
    with tempfile.TemporaryDirectory(prefix="debian-", dir=below_cache("tmp")) as name:
        folder = Path(name)
        try:
            _run(["apt-get", "download", "-q", package], folder)
        except DevError:
            # A fresh container has no lists of packages.
            _run(["apt-get", "update", "-q"], folder)
            _run(["apt-get", "download", "-q", package], folder)
        (archive,) = folder.glob("*.deb")
        out = folder / "out"
        _run(["dpkg-deb", "-x", str(archive), str(out)], folder)
        if not _whole(out, package):
            wanted = ", ".join(PROGRAMS[package])
            raise DevError(
                f"{archive.name} lacks programs",
                f"not all of {wanted} are in it",
                "Look into the archive that apt-get delivers.",
            )
        shutil.rmtree(target, ignore_errors=True)
        out.rename(target)


def _run(command: list[str], folder: Path) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if result.returncode != 0:
        why = (result.stderr.strip() or result.stdout.strip() or "no output").splitlines()[-1]
        fix = "Tests that need it are skipped. Check the network and /etc/apt/sources.list."
        raise DevError(f"`{' '.join(command)}` failed", why, fix)
