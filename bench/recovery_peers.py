"""The peers of the recovery bench, in the same cluster and the same run: a rank is killed, seconds until the next step.

A plain Job, a JobSet that is created anew as a whole (Recreate), and a TrainJob of Kubeflow Trainer with its torch
runtime; each as two workers of the same image, under torchrun, with a script that trains what our task trains. Every
trial is a workload of its own, so that a peer shows its first failure, whose back-off is the shortest: Jobs wait 10 s
then, and longer after each further one. In the embedded cluster their controllers are started beside it, at their own
default settings, and stopped at the end; elsewhere they have to be there. A peer that is not is left out with the
reason. JobSet's in-place restart is left out: it is alpha, off by default, and wants its agent, which is not published
as a program, as the first process of each worker.
"""

import contextlib
import json
import secrets
import subprocess
import time
from pathlib import Path

from bench import recovery_node
from bench.peers import jobset as jobset_controller
from bench.peers import trainer as trainer_controller
from ganger_dev.errors import DevError

IMAGE = "pytorch-cuda:v2.15"
PORT = 29400
GONE_SECONDS = 120.0
INDEX = "batch.kubernetes.io/job-completion-index"
SCRIPT = Path(__file__).with_name("recovery_script.py")


def _pod(name: str, master: str, subdomain: str, restart: str) -> dict:
    command = (
        f"exec torchrun --nnodes 2 --nproc-per-node 1 --node-rank $JOB_COMPLETION_INDEX "
        f"--master-addr {master} --master-port {PORT} /code/recovery_script.py"
    )
    container = {
        "name": "node", "image": IMAGE, "command": ["sh", "-c", command],
        "resources": {"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
        "volumeMounts": [{"name": "code", "mountPath": "/code"}],
    }  # fmt: skip
    spec = {
        "restartPolicy": restart, "terminationGracePeriodSeconds": 5, "containers": [container],
        "volumes": [{"name": "code", "configMap": {"name": "peer-code"}}],
    }  # fmt: skip
    if subdomain:
        spec["subdomain"] = subdomain
    return {"metadata": {"labels": {"peer": name}}, "spec": spec}


def _indexed(template: dict, backoff_limit: int) -> dict:
    counts = {"completions": 2, "parallelism": 2, "completionMode": "Indexed", "backoffLimit": backoff_limit}
    return counts | {"template": template}


def job(name: str) -> list[dict]:
    """Return a plain Job and the Service by which its workers find each other."""
    service = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": {"peer": name}}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": service},
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name},
            "spec": _indexed(_pod(name, f"{name}-0.{name}", name, "Never"), 1000),
        },
    ]


def jobset(name: str) -> list[dict]:
    """Return a JobSet whose Jobs are created anew when one fails, which they do with their first pod."""
    jobs = {"spec": _indexed(_pod(name, f"{name}-node-0-0.{name}", "", "Never"), 0)}
    spec = {
        "failurePolicy": {"maxRestarts": 1000, "restartStrategy": "Recreate"},
        "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True},
        "replicatedJobs": [{"name": "node", "replicas": 1, "template": jobs}],
    }
    return [{"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "metadata": {"name": name}, "spec": spec}]


def trainjob(name: str) -> list[dict]:
    """Return a TrainJob and its runtime: torch's as it is published, but for the image, the code and the count."""
    api = "trainer.kubeflow.org/v1alpha1"
    pod = _pod(name, f"{name}-node-0-0.{name}", "", "OnFailure")
    container = pod["spec"]["containers"][0]
    container["command"] = ["torchrun", "/code/recovery_script.py"]  # the runtime tells torchrun by PET_ variables
    del pod["spec"]["restartPolicy"]
    replicated = {
        "name": "node",
        "template": {
            "metadata": {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}},
            "spec": {"template": pod},
        },
    }
    runtime = {
        "mlPolicy": {"numNodes": 2, "torch": {}},
        "template": {"spec": {"replicatedJobs": [replicated]}},
    }
    ref = {"apiGroup": "trainer.kubeflow.org", "kind": "TrainingRuntime", "name": name}
    trainer = {"numNodes": 2, "numProcPerNode": 1}
    labels = {"trainer.kubeflow.org/framework": "torch"}
    return [
        {"apiVersion": api, "kind": "TrainingRuntime", "metadata": {"name": name, "labels": labels}, "spec": runtime},
        {
            "apiVersion": api,
            "kind": "TrainJob",
            "metadata": {"name": name},
            "spec": {"runtimeRef": ref, "trainer": trainer},
        },
    ]


PEERS = {"Job": (job, "jobs.batch"), "JobSet": (jobset, "jobsets.jobset.x-k8s.io"),
         "TrainJob": (trainjob, "trainjobs.trainer.kubeflow.org")}  # fmt: skip


class Peer:
    """One trial of a peer: a place as `recovery.Pods` is one, with a workload of its own in a namespace."""

    look_seconds = 1.0

    def __init__(self, namespace: str, kind: str, name: str) -> None:
        self._namespace, self._name = namespace, name
        self._manifests = PEERS[kind][0](name)
        for manifest in self._manifests:
            self._kubectl("create", "-f", "-", stdin=json.dumps(manifest))

    def _kubectl(self, *arguments, stdin=None):
        command = ["kubectl", "-n", self._namespace, *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True).stdout

    def _pods(self, worker):
        selector = f"peer={self._name},{INDEX}={worker}"
        items = json.loads(self._kubectl("get", "pods", "-l", selector, "-o", "json"))["items"]
        return [pod["metadata"]["name"] for pod in sorted(items, key=lambda pod: pod["metadata"]["creationTimestamp"])]

    def log(self, worker):
        """What all containers of the worker that there are have written last."""
        said = ""
        for pod in self._pods(worker):
            with contextlib.suppress(subprocess.CalledProcessError):  # it is being created
                said += self._kubectl("logs", pod, "--tail=2000")
        return said

    def kill(self, pid, _rung):
        """Kill rank 1 in its pod; return the time by the node's clock."""
        return float(
            self._kubectl("exec", self._pods(1)[-1], "--", "sh", "-c", f"date +%s.%N; kill -9 {pid}").split()[0]
        )

    def close(self):
        """Remove the workload, and wait until its pods are gone."""
        for manifest in self._manifests:
            self._kubectl("delete", "-f", "-", "--cascade=foreground", "--wait=false", stdin=json.dumps(manifest))
        end = time.monotonic() + GONE_SECONDS
        while self._kubectl("get", "pods", "-l", f"peer={self._name}", "-o", "name") and time.monotonic() < end:
            time.sleep(self.look_seconds)


def served(kind: str) -> bool:
    """Return whether the cluster knows that kind of workload."""
    plural = PEERS[kind][1]
    command = ["kubectl", "api-resources", f"--api-group={plural.partition('.')[2]}", "--output=name"]
    return plural in subprocess.run(command, capture_output=True, text=True).stdout.split()


@contextlib.contextmanager
def _controllers():
    """Run JobSet and Trainer beside the embedded cluster; yield why those that do not run do not."""
    embedded, missing = recovery_node.embedded_cluster(), {}
    with contextlib.ExitStack() as stack:
        for kind, controller in (("JobSet", jobset_controller), ("TrainJob", trainer_controller)):
            if embedded is None or missing:  # Trainer makes JobSets
                continue
            try:
                started = controller.start(embedded.plane, qps=None, burst=None)
            except (OSError, DevError) as error:
                missing[kind] = f"its controller did not start: {error}"[:300]
            else:
                stack.callback(controller.stop, embedded.plane, started)
        yield missing


def measure(trials: int, first_step) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Return the seconds of each peer, and why the others have none. first_step: see `recovery.peer_trial`."""
    with _controllers() as unstarted:
        return _measured(trials, first_step, unstarted)


def _measured(trials, first_step, unstarted):
    missing = {kind: f"the cluster serves no {plural}" for kind, (_, plural) in PEERS.items() if not served(kind)}
    missing |= unstarted
    found = {kind: [] for kind in PEERS if kind not in missing}
    namespace = f"bench-{secrets.token_hex(3)}"
    subprocess.run(["kubectl", "create", "namespace", namespace], check=True, capture_output=True)
    try:
        code = ["create", "configmap", "peer-code", f"--from-file=recovery_script.py={SCRIPT}"]
        subprocess.run(["kubectl", "-n", namespace, *code], check=True, capture_output=True)
        for trial in range(trials):
            for kind in [kind for kind in found if kind not in missing]:
                try:
                    found[kind].append(first_step(Peer(namespace, kind, f"{kind.lower()}-{trial}")))
                except (TimeoutError, subprocess.CalledProcessError) as error:
                    missing[kind] = f"trial {trial}: {getattr(error, 'stderr', '') or error}".strip()[:300]
    finally:
        subprocess.run(["kubectl", "delete", "namespace", namespace, "--wait=false"], capture_output=True)
    return {kind: seconds for kind, seconds in found.items() if seconds}, missing
