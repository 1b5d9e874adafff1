"""The image that holds a pod's namespaces open: one static program that waits, compiled here.

It is written as an OCI archive by hand, because it has to exist before any image builder or registry does.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from ganger_dev.errors import DevError
from ganger_dev.paths import below_cache

NAME = "ganger.dev/sandbox:1"

# Process 1 of a pod: it reaps what the pod's containers leave behind when they share its process namespace.
_SOURCE = r"""
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void end(int number) { (void)number; _exit(0); }
static void reap(int number) { (void)number; while (waitpid(-1, 0, WNOHANG) > 0) {} }
int main(void) {
  signal(SIGINT, end);
  signal(SIGTERM, end);
  signal(SIGCHLD, reap);
  for (;;) pause();
}
"""


def ensure_archive() -> Path:
    """Return the OCI archive of the sandbox image, compiled when missing."""
    path = below_cache("images") / f"sandbox-{hashlib.sha256(_SOURCE.encode()).hexdigest()[:12]}.tar"
    if not path.exists():
        partial = path.with_suffix(".partial")
        partial.write_bytes(archive(_compile()))
        partial.rename(path)
    return path


def archive(program: bytes) -> bytes:
    """Return an OCI archive of an image that holds `program` alone. Pure."""
    layer = _tar({"sandbox": program}, mode=0o755)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/sandbox"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    blobs: dict[str, bytes] = {}

    def blob(content: bytes, media_type: str) -> dict[str, Any]:
        blobs[f"blobs/sha256/{_digest(content)[7:]}"] = content
        return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}

    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
        "layers": [blob(layer, "application/vnd.oci.image.layer.v1.tar")],
    }
    entry = blob(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")
    entry["annotations"] = {"io.containerd.image.name": NAME}
    index = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    return _tar({"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": index} | blobs, mode=0o644)


def _compile() -> bytes:
    with tempfile.TemporaryDirectory(dir=below_cache("tmp")) as folder:
        source, program = Path(folder) / "sandbox.c", Path(folder) / "sandbox"
        source.write_text(_SOURCE)
        command = ["gcc", "-Os", "-static", "-s", "-o", str(program), str(source)]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            raise DevError(
                "the sandbox program does not compile", result.stderr.strip()[-300:], "Check gcc and libc6-dev."
            )
        return program.read_bytes()


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _tar(files: dict[str, bytes], *, mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
