"""Where Go is, and the sources that come from its module proxy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from ganger_dev.errors import WITHOUT_A_CLUSTER, DevError
from ganger_dev.paths import below_cache

_INSTALLED: Final = "/usr/local/go/bin"  # where its own instructions put it; not on every PATH


def program() -> str:
    """Return the path of Go. Raises DevError where there is none."""
    found = shutil.which("go") or shutil.which("go", path=_INSTALLED)
    if found is None:
        raise DevError("what is built from Go's modules cannot be had", "Go is not installed", WITHOUT_A_CLUSTER)
    return found


def module(name: str, version: str) -> Path:
    """Return the folder of a module in Go's cache, fetched when it is missing. Raises DevError."""
    command = [program(), "mod", "download", "-json", f"{name}@v{version}"]
    environment = os.environ | {"GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    result = subprocess.run(command, cwd=below_cache("tmp"), env=environment, capture_output=True, text=True)
    said = json.loads(result.stdout) if result.stdout.strip().startswith("{") else {}
    if result.returncode != 0 or "Dir" not in said:
        why = said.get("Error") or result.stderr.strip() or "no answer"
        raise DevError(f"fetching {name} {version} failed", why, "Check the network and GOPROXY.")
    return Path(said["Dir"])
