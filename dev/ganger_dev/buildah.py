"""Build images without a Docker engine and without a registry: buildah in a chroot, on a base made of Debian packages.

What a build needs of this machine (certificates, a package index, proxies) is mounted or passed for the build alone
and is never part of an image.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganger_dev.errors import DevError
from ganger_dev.paths import below_cache, repository, require_free

BASE = "localhost/ganger-base:bookworm"
_BASE_PACKAGES = "ca-certificates,python3,python3-venv,tini"
# As the slim images of Debian do; and nothing of the machine that built it.
_WITHOUT = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*")
_HOOK = 'rm -f "$1/etc/resolv.conf" "$1/etc/hostname" "$1/var/log/dpkg.log" "$1/var/log/alternatives.log"'
_CERTIFICATES = Path("/etc/ssl/certs")


def run(*arguments: str, log: Path | None = None) -> str:
    """Run buildah on the store below the cache and return its output; raise DevError with its last line on failure."""
    result = subprocess.run(command(*arguments), env=environment(), capture_output=True, text=True)
    if log is not None:
        log.write_text(result.stdout + result.stderr)
    if result.returncode != 0:
        lines = (result.stderr.strip() or result.stdout.strip() or "no output").splitlines()
        fix = f"The whole output is in {log}." if log else "Check the free disk space."
        raise DevError(f"buildah {arguments[0]} failed", lines[-1][-300:], fix)
    return result.stdout.strip()


def command(*arguments: str) -> list[str]:
    """Return the command line of buildah with its store below the cache."""
    store = below_cache("images")
    # Its folder for locks and mounts is on the same disk: a store is unusable with another one's.
    return ["buildah", "--root", str(store / "store"), "--runroot", str(store / "run"), *arguments]


def environment() -> dict[str, str]:
    """Return the environment that buildah runs in."""
    return dict(os.environ) | {
        "STORAGE_DRIVER": "overlay",
        "TMPDIR": str(below_cache("tmp")),
        "BUILDAH_ISOLATION": "chroot",
    }


def exists(name: str) -> bool:
    """Return whether the store holds an image of that name."""
    found = subprocess.run(command("inspect", "--type", "image", name), env=environment(), capture_output=True)
    return found.returncode == 0


def layers(name: str) -> list[str]:
    """Return the digests of an image's uncompressed layers, base first."""
    content: dict[str, Any] = json.loads(run("inspect", "--type", "image", name))
    digests: list[str] = content["OCIv1"]["rootfs"]["diff_ids"]
    return digests


def ensure_base() -> None:
    """Make the Debian base image unless the store holds it."""
    if exists(BASE):
        return
    require_free(below_cache("images"), 2, "the base image")
    print("building the Debian base image (usually 0.5 min) ... ", end="", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=below_cache("tmp")) as folder:
        log = below_cache("logs") / "image-base.log"
        make = ["mmdebstrap", "--variant=minbase", f"--include={_BASE_PACKAGES}", f"--customize-hook={_HOOK}"]
        make += [f"--dpkgopt=path-exclude={pattern}" for pattern in _WITHOUT]
        make += ["--dpkgopt=path-include=/usr/share/doc/*/copyright", "bookworm", f"{folder}/base.tar"]
        with log.open("w") as output:
            code = subprocess.run(make, stdout=output, stderr=output, env=environment()).returncode
        if code != 0:
            raise DevError(
                "mmdebstrap failed", log.read_text().strip().splitlines()[-1], f"The whole output is in {log}."
            )
        (Path(folder) / "Dockerfile").write_text("FROM scratch\nADD base.tar /\n")
        run("bud", "-q", "-t", BASE, folder, log=log)
    print(f"done in {time.monotonic() - started:.0f} s", flush=True)


def build(dockerfile: str, *, tag: str, arguments: Mapping[str, str], log: Path, target: str | None = None) -> None:
    """Build the repository's DOCKERFILE under `tag`, unchanged steps from the store."""
    with tempfile.TemporaryDirectory(dir=below_cache("tmp")) as folder:
        pip = Path(folder) / "pip.conf"
        pip.write_text(pip_configuration(os.environ))
        words = ["bud", "--layers", "--isolation", "chroot", "-t", tag, "-f", str(repository() / dockerfile)]
        words += ["-v", f"{pip}:/etc/pip.conf:ro"]
        if _CERTIFICATES.is_dir():
            words += ["-v", f"{_CERTIFICATES}:{_CERTIFICATES}:ro"]
        for key, value in ({"BASE": BASE} | dict(arguments)).items():
            words += ["--build-arg", f"{key}={value}"]
        run(*words, *(["--target", target] if target else []), str(repository()), log=log)


def write_layout(name: str, layout: Path) -> None:
    """Write an image as an OCI layout with uncompressed layers; a layer whose file is there already is left out.

    skopeo does this part: buildah compresses every layer of a layout, and so never finds one to be there.
    """
    store = below_cache("images")
    source = f"containers-storage:[overlay@{store / 'store'}+{store / 'run'}]{name}"
    command = ["skopeo", "copy", "--quiet", "--insecure-policy", "--dest-oci-accept-uncompressed-layers"]
    command += [source, f"oci:{layout}:image"]
    result = subprocess.run(command, env=environment(), capture_output=True, text=True)
    if result.returncode != 0:
        raise DevError("skopeo copy failed", result.stderr.strip()[-300:], "Check the free disk space.")


def pip_configuration(environ: Mapping[str, str]) -> str:
    """Return the pip.conf of a build: this machine's index and certificate settings, as its environment gives them."""
    lines = ["[global]", "disable-pip-version-check = true"]
    certificate = environ.get("PIP_CERT") or environ.get("SSL_CERT_FILE")
    if certificate and Path(certificate).is_relative_to(_CERTIFICATES):
        lines.append(f"cert = {certificate}")
    for name in ("index-url", "extra-index-url", "timeout"):
        variable = "PIP_" + name.upper().replace("-", "_")
        value = environ.get("PIP_DEFAULT_TIMEOUT" if name == "timeout" else variable)
        if value:
            lines.append(f"{name} = {value}")
    return "\n".join(lines) + "\n"
