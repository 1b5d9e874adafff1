"""Ganger as it is installed: images built from this tree, the chart on the embedded cluster, jobs by kubectl."""

import json
import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from apiclient import JOBS, PODS, ApiClient, History, wait_for
from ganger_dev import binaries, cluster, images

ROOT = Path(__file__).parents[2]
SYSTEM = "ganger-system"
RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"
# The same tests run on the image of another torch: GANGER_TORCH=2.6.0 make e2e
TORCH = os.environ.get("GANGER_TORCH", images.DEFAULT_TORCH)


BUILD_SECONDS = 1200  # the first test that needs an image that is not built waits for it


def pytest_collection_modifyitems(items):
    """The test that takes the cluster down comes first, while nobody uses it; and a first test may have to build."""
    ours = [item for item in items if item.path.parent == Path(__file__).parent]
    ours.sort(key=lambda item: item.path.stem != "test_cluster_lifecycle")
    items[:] = [item for item in items if item.path.parent != Path(__file__).parent] + ours
    for item in ours:
        item.add_marker(pytest.mark.timeout(BUILD_SECONDS))


class Installed:
    """The cluster with the chart on it."""

    def __init__(self, embedded: cluster.Cluster) -> None:
        self.embedded = embedded
        self.kubectl = embedded.kubectl
        self.image = images.pytorch(TORCH).name
        plane = embedded.plane
        self.api = ApiClient(plane.url, plane.ca, plane.token_for("test"))

    def helm(self, *arguments: str) -> str:
        """Run helm and return its output."""
        command = [str(binaries.path_of("helm")), f"--kubeconfig={self.embedded.kubeconfig}", *arguments]
        result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert 0 == result.returncode, result.stderr
        return result.stdout

    def ganger(self, *arguments: str) -> subprocess.Popen:
        """Start the command line; its output can be read while it runs."""
        env = os.environ | {"KUBECONFIG": str(self.embedded.kubeconfig), "PYTHONPATH": str(ROOT / "operator")}
        command = [sys.executable, "-m", "ganger.cli", *arguments]
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)

    def operators(self) -> list[dict]:
        """The operator's pods that are not on their way out."""
        pods = self.api.items(PODS.format(namespace=SYSTEM))
        return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]

    def container(self, namespace: str, pod: str) -> int:
        """Process id, on this machine, of the first process of a pod's container."""
        status = self.api.get(f"{PODS.format(namespace=namespace)}/{pod}")["status"]
        container = status["containerStatuses"][0]["containerID"].removeprefix("containerd://")
        listed = self.embedded.containerd.ctr("tasks", "list").splitlines()
        return next(int(line.split()[1]) for line in listed if line.startswith(container))

    def kill(self, namespace: str, pod: str) -> None:
        """SIGKILL to the first process of a pod: the kernel ends all of them, nobody can say a last word."""
        os.kill(self.container(namespace, pod), signal.SIGKILL)


class Namespace:
    """A namespace that admits restricted pods alone, and the jobs in it."""

    def __init__(self, installed: Installed, name: str) -> None:
        self.installed = installed
        self.name = name
        self.api = installed.api
        self.jobs = JOBS.format(namespace=name)
        self.pods_path = PODS.format(namespace=name)
        self.history = History(installed.api, name)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl in this namespace."""
        return self.installed.kubectl("-n", self.name, *arguments, stdin=stdin)

    def apply(self, manifest: dict) -> None:
        """Apply a manifest with kubectl; a job gets the image under test."""
        if manifest["kind"] == "TrainingJob":
            manifest["spec"]["image"] = self.installed.image
        self.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))

    def job(self, name: str) -> dict:
        """The job."""
        return self.api.get(f"{self.jobs}/{name}")

    def status(self, name: str) -> dict:
        """Its status, {} before the first."""
        return self.job(name).get("status", {})

    def wait_phase(self, name: str, phase: str, timeout: float = 120) -> dict:
        """Wait for a phase and return the status; a job that ended otherwise fails the test at once, with its logs."""

        def there():
            status = self.status(name)
            now = status.get("phase")
            if now != phase and now in ("Complete", "Failed"):
                raise AssertionError(f"{name} is {now}: {status}\n{self.logs(name)}")
            return status if now == phase else None

        return wait_for(there, timeout, f"{name}: {phase}")

    def logs(self, name: str) -> str:
        """What all pods of a job say."""
        return self.kubectl("logs", "-l", f"ganger.dev/job={name}", "--prefix", "--tail=200", "--ignore-errors")

    def pods(self, name: str) -> list[dict]:
        """Pods of a job."""
        return self.api.items(f"{self.pods_path}?labelSelector=ganger.dev/job={name}")

    def volume(self, claim: str) -> Path:
        """Folder of a claim's volume on this machine."""
        return (
            self.installed.embedded.folder
            / "volumes"
            / self.kubectl("get", "pvc", claim, "-o", "jsonpath={.spec.volumeName}")
        )

    def checkpoint(self, name: str, step: int, timeout: float = 60) -> dict:
        """The manifest of a job's checkpoint, once it is committed."""
        claim = f"{self.api_claims}/{name}-checkpoints"
        wait_for(lambda: (self.api.get(claim) or {}).get("status", {}).get("phase") == "Bound", timeout, claim)
        path = self.volume(f"{name}-checkpoints") / f"step_{step}" / "manifest.json"
        wait_for(path.exists, timeout, f"{name}: checkpoint of step {step}; {self.logs(name)}")
        return json.loads(path.read_text().splitlines()[0])

    @property
    def api_claims(self) -> str:
        """Path of the claims."""
        return f"/api/v1/namespaces/{self.name}/persistentvolumeclaims"


@pytest.fixture(scope="session")
def installed():
    """The embedded cluster with the images of this tree and the chart, removed again at the end."""
    for image in (images.operator(), images.pytorch(TORCH), images.session()):
        images.build(image)
    embedded = cluster.up()
    for image in (images.operator(), images.pytorch(TORCH), images.session()):
        images.load(image, embedded.containerd)
    found = Installed(embedded)
    annotation = rf"podAnnotations.ganger\.dev/fingerprint={images.operator().fingerprint()}"
    found.helm("upgrade", "--install", "ganger", "charts/ganger", "--namespace", SYSTEM, "--create-namespace",
               "--wait", "--timeout", "3m", "--set-string", annotation)  # fmt: skip
    yield found
    found.helm("uninstall", "ganger", "--namespace", SYSTEM, "--wait")
    kinds = ("trainingjobs", "trainingprofiles", "devsessions")
    embedded.kubectl("delete", "crd", *(f"{kind}.ganger.dev" for kind in kinds))
    embedded.kubectl("delete", "namespace", SYSTEM)


def _namespace(installed):
    name = f"e2e-{secrets.token_hex(3)}"
    installed.kubectl("create", "namespace", name)
    installed.kubectl("label", "namespace", name, RESTRICTED)
    found = Namespace(installed, name)
    yield found
    found.history.close()
    broken = found.history.check()
    installed.kubectl("delete", "namespace", name, "--wait=true", "--timeout=90s")
    assert [] == broken


@pytest.fixture
def namespace(installed):
    """A namespace of the test's own."""
    yield from _namespace(installed)


@pytest.fixture(scope="module")
def shared_namespace(installed):
    """A namespace for the tests of one file, each with job names of its own."""
    yield from _namespace(installed)
