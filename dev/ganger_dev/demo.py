"""`make demo`: the main job, from nothing to a trained model, on a cluster that answers or on an embedded one.

It goes the way a user goes: helm installs the chart, kubectl applies the manifest, `ganger logs` follows the training.
Everything that it makes lies in two namespaces, so that a second demo never meets anything of yours.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganger_dev import binaries, cluster, images
from ganger_dev.errors import DevError
from ganger_dev.paths import repository

SYSTEM_NAMESPACE = "ganger-system"
NAMESPACE = "ganger-demo"
JOB = "digits"
ANSWER_SECONDS = 5
RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"


@dataclass(frozen=True, kw_only=True)
class Programs:
    """kubectl and helm, and the kubeconfig that they use. None: the default one of kubectl."""

    kubectl: str
    helm: str
    kubeconfig: Path | None

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of every program that the demo starts."""
        return dict(os.environ) | ({"KUBECONFIG": str(self.kubeconfig)} if self.kubeconfig else {})

    def run(self, *command: str, stdin: str | None = None, quiet: bool = False) -> str:
        """Run a program, show the command as a user would type it, and return its output. Raises DevError."""
        if not quiet:
            shown = [Path(command[0]).name, *command[1:]]
            print(f"$ {' '.join(shown)}", flush=True)
        result = subprocess.run(
            command, input=stdin, capture_output=True, text=True, env=self.environment, cwd=repository()
        )
        if result.returncode != 0:
            name = " ".join([Path(command[0]).name, *command[1:3]])
            raise DevError(
                f"{name} failed", result.stderr.strip()[-600:], "Read the message; `make cluster-down` begins anew."
            )
        return result.stdout

    def show(self, *command: str) -> int:
        """Run a program whose output goes to the terminal as it comes, and return its exit code."""
        print(f"$ {' '.join([Path(command[0]).name, *command[1:]])}", flush=True)
        return subprocess.run(command, env=self.environment, cwd=repository()).returncode

    def job(self) -> dict[str, Any]:
        """Return the job."""
        found: dict[str, Any] = json.loads(
            self.run(self.kubectl, "-n", NAMESPACE, "get", "tj", JOB, "-o", "json", quiet=True)
        )
        return found


def run() -> None:
    """Run the demo. Raises DevError, naming what failed and what to do."""
    started = time.monotonic()
    programs = _programs()
    _install(programs)
    _train(programs)
    _report(programs, time.monotonic() - started)


def answers(kubectl: str) -> bool:
    """Return whether the user's own kubeconfig leads to a cluster that answers."""
    command = [kubectl, "get", "--raw", "/readyz", f"--request-timeout={ANSWER_SECONDS}s"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=2 * ANSWER_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return result.returncode == 0 and result.stdout.strip() == "ok"


def has_kubeconfig() -> bool:
    """Return whether the user has a kubeconfig at all: without one there is nothing to ask."""
    return bool(os.environ.get("KUBECONFIG")) or (Path.home() / ".kube" / "config").exists()


def _programs() -> Programs:
    own = shutil.which("kubectl")
    if has_kubeconfig() and own and answers(own):
        print("demo: the cluster of your kubeconfig answers and is used", flush=True)
        print(
            f"demo: it must hold or be able to pull {images.pytorch().name} and {images.operator().name}; "
            "images/README.md tells how to load them",
            flush=True,
        )
        return Programs(kubectl=own, helm=shutil.which("helm") or str(binaries.ensure("helm")["helm"]), kubeconfig=None)
    print("demo: no cluster answers, so an embedded one is used (about 20 min once, seconds afterwards)", flush=True)
    found = _prepared()
    print(f"demo: to look around, export KUBECONFIG={found.kubeconfig}", flush=True)
    return _programs_of(found)


def embedded(name: str = cluster.DEFAULT) -> tuple[cluster.Cluster, Programs]:
    """Return the embedded cluster with images of this tree and the chart, making what is missing. Raises DevError."""
    found = _prepared(name)
    programs = _programs_of(found)
    _install(programs)
    return found, programs


def _prepared(name: str = cluster.DEFAULT) -> cluster.Cluster:
    binaries.ensure()
    for image in (images.operator(), images.pytorch()):
        images.build(image)
    found = cluster.up(name)
    images.load_built(found.containerd)
    return found


def _programs_of(found: cluster.Cluster) -> Programs:
    return Programs(
        kubectl=str(binaries.path_of("kubectl")), helm=str(binaries.path_of("helm")), kubeconfig=found.kubeconfig
    )


def _install(programs: Programs) -> None:
    """Install the chart, or bring an earlier demo's installation up to date."""
    # The tag stays while the sources change: only the annotation makes the pods new ones.
    fingerprint = rf"podAnnotations.ganger\.dev/fingerprint={images.operator().fingerprint()}"
    programs.run(
        programs.helm, "upgrade", "--install", "ganger", "charts/ganger", "--namespace", SYSTEM_NAMESPACE,
        "--create-namespace", "--wait", "--timeout", "3m", "--set-string", fingerprint,
    )  # fmt: skip


def _train(programs: Programs) -> None:
    """Apply the job anew and follow it to its end. Raises DevError unless it completes."""
    kubectl, here = programs.kubectl, ("-n", NAMESPACE)
    # The volume outlives its job on purpose; with it, a second demo would have nothing left to train.
    programs.run(kubectl, "delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait", quiet=True)
    programs.run(kubectl, "create", "namespace", NAMESPACE)
    programs.run(kubectl, "label", "namespace", NAMESPACE, RESTRICTED, quiet=True)
    programs.run(kubectl, *here, "apply", "-f", f"jobs/examples/{JOB}/job.yaml")
    programs.show(sys.executable, "-m", "ganger.cli", *here, "wait", JOB, "--for", "running", "--timeout", "3m")
    programs.show(sys.executable, "-m", "ganger.cli", *here, "logs", "-f", JOB)
    code = programs.show(sys.executable, "-m", "ganger.cli", *here, "wait", JOB, "--timeout", "5m")
    if code != 0:
        raise DevError(
            f"job {JOB} did not complete",
            f"ganger wait exited with {code}",
            f"kubectl -n {NAMESPACE} describe tj {JOB}",
        )


def _report(programs: Programs, seconds: float) -> None:
    """Print what a person wants to know of the job: its line, the accuracy and the checkpoints on its volume."""
    programs.show(programs.kubectl, "-n", NAMESPACE, "get", "tj", JOB)
    job = programs.job()
    for metric in job["status"].get("progress", {}).get("metrics", []):
        print(f"{metric['name']}: {metric['value']}", flush=True)
    print("checkpoints on the job's volume:", flush=True)
    print(_checkpoints(programs, job), end="", flush=True)
    print(
        f"demo: done in {seconds:.0f} s; the cluster stays up (`make cluster-down` stops an embedded one)", flush=True
    )


def _checkpoints(programs: Programs, job: dict[str, Any]) -> str:
    """Return the list of the checkpoints, made by a pod that mounts the job's claim and verifies every byte."""
    command = ["python", "-m", "ganger_trainer.checkpoint", "/checkpoints"]
    container = {
        "name": "list",
        "image": job["spec"]["image"],
        "command": command,
        "volumeMounts": [{"name": "checkpoints", "mountPath": "/checkpoints", "readOnly": True}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "list-checkpoints"},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "fsGroup": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "checkpoints", "persistentVolumeClaim": {"claimName": f"{JOB}-checkpoints"}}],
        },
    }
    here = ("-n", NAMESPACE)
    programs.run(programs.kubectl, *here, "apply", "-f", "-", stdin=json.dumps(pod), quiet=True)
    ended = "--for=jsonpath={.status.phase}=Succeeded"
    programs.run(programs.kubectl, *here, "wait", ended, "pod/list-checkpoints", "--timeout=60s", quiet=True)
    return programs.run(programs.kubectl, *here, "logs", "list-checkpoints", quiet=True)
