"""A store that speaks S3, for tests and examples: `rclone serve s3` over a folder. It checks signatures."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ganger_dev.binaries import ensure
from ganger_dev.errors import DevError
from ganger_dev.processes import accepts, free_ports

_START_SECONDS: Final = 20.0


@dataclass(frozen=True, kw_only=True)
class Store:
    """A store that runs. folder: a bucket for each folder in it, an object for each file below."""

    endpoint: str
    folder: Path
    access_key: str
    secret_key: str


@contextmanager
def serving(folder: Path, *, access_key: str = "ganger", secret_key: str = "only-for-tests") -> Iterator[Store]:  # noqa: S107
    """Serve `folder` on loopback until the end of the `with`. Raises DevError when it does not start."""
    (port,) = free_ports(1)
    endpoint = f"http://127.0.0.1:{port}"
    log = folder.parent / f"{folder.name}.log"
    command = [str(ensure("rclone-s3")["rclone-s3"]), "serve", "s3", "--addr", f"127.0.0.1:{port}"]
    command += ["--auth-key", f"{access_key},{secret_key}", "--config", "", str(folder)]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        _await(process, port, log)
        yield Store(endpoint=endpoint, folder=folder, access_key=access_key, secret_key=secret_key)
    finally:
        process.terminate()
        process.wait()


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        if accepts("127.0.0.1", port):
            return
        time.sleep(0.05)
    raise DevError("the store of S3 did not start", log.read_text().strip()[-300:] or "it said nothing", f"See {log}.")
