"""Record `kubectl get tj -w` over a whole job: what a user sees who does nothing but look.

The recording is an asciicast (version 2: a header, then [seconds, "o", text] for each output), which players replay at
its own pace, and the same lines as plain text with the seconds in front.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Final

import yaml

from ganger_dev import binaries
from ganger_dev.cluster import Cluster
from ganger_dev.errors import DevError
from ganger_dev.paths import repository

FOLDER: Final = "docs/sessions"
NAME: Final = "kubectl-get-tj-w"
_WIDTH, _HEIGHT = 100, 30
_JOB_SECONDS = 300.0


def record(cluster: Cluster, image: str) -> list[tuple[float, str]]:
    """Run the digits example on a cluster that has the chart, and return what `kubectl get tj -w` printed, and when.

    Seconds count from the `kubectl apply`. Raises DevError where the job does not complete.
    """
    namespace = f"recording-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", namespace)
    try:
        manifest: dict[str, Any] = yaml.safe_load((repository() / "jobs/examples/digits/job.yaml").read_text())
        manifest["spec"]["image"] = image
        # Long enough for a few lines of progress: by default it is over in ten seconds.
        manifest["spec"]["config"]["epochs"] = 600
        command = [str(binaries.path_of("kubectl")), f"--kubeconfig={cluster.kubeconfig}", "-n", namespace]
        lines: list[tuple[float, str]] = []
        began = time.monotonic()
        with subprocess.Popen(
            [*command, "get", "tj", "-w"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as watch:
            reader = threading.Thread(target=_read, args=(watch, lines, began), daemon=True)
            reader.start()
            cluster.kubectl("-n", namespace, "apply", "-f", "-", stdin=json.dumps(manifest))
            while not any(" Complete " in line for _, line in lines):
                if time.monotonic() - began > _JOB_SECONDS or any(" Failed " in line for _, line in lines):
                    raise DevError("the recorded job did not complete", f"{lines[-1:]}", "Look at its logs.")
                time.sleep(0.2)
            watch.terminate()
        return lines
    finally:
        cluster.kubectl("delete", "namespace", namespace, "--wait=false", check=False)


def write(lines: list[tuple[float, str]], folder: Path) -> list[Path]:
    """Write a recording to `folder` as asciicast and as text, and return both files."""
    folder.mkdir(parents=True, exist_ok=True)
    cast, text = folder / f"{NAME}.cast", folder / f"{NAME}.txt"
    header = {"version": 2, "width": _WIDTH, "height": _HEIGHT, "title": "kubectl get tj -w over a whole job"}
    typed = [[0.0, "o", "$ kubectl get tj -w\r\n"]]
    events = typed + [[round(seconds, 3), "o", f"{line}\r\n"] for seconds, line in lines]
    cast.write_text("".join(f"{json.dumps(part)}\n" for part in [header, *events]))
    text.write_text("$ kubectl get tj -w\n" + "".join(f"{seconds:7.1f} s  {line}\n" for seconds, line in lines))
    return [cast, text]


def _read(watch: subprocess.Popen[str], lines: list[tuple[float, str]], began: float) -> None:
    assert watch.stdout is not None, "a pipe was asked for"
    for line in watch.stdout:
        lines.append((time.monotonic() - began, line.rstrip("\n")))  # noqa: PERF401 - others read meanwhile
