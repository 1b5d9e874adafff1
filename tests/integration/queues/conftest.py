"""Kueue's real manager beside the real API server: queues of a test's own, and the operator that speaks to it."""

import pytest

from apiclient import wait_for
from ganger_dev import binaries
from integration.operator.conftest import World
from integration.operator.test_elastic import place, stopped

API = "/apis/kueue.x-k8s.io/v1beta2"
VERSION = "kueue.x-k8s.io/v1beta2"
LABEL = "kueue.x-k8s.io/queue-name"


@pytest.fixture(scope="session")
def kueue(control_plane):
    """Kueue's manager, with its webhooks; it ends with the session."""
    from ganger_dev import kueue

    if binaries.missing(["kueue"]):
        pytest.skip("Kueue's manager is not built: `python -m ganger_dev.binaries kueue` builds it in about 5 minutes")
    manager = kueue.start(control_plane)
    yield manager
    manager.stop()


class Queues(World):
    """A namespace with the queue `team` of two CPUs, and jobs of two workers that need one CPU each."""

    def make_queue(self, cpus: int = 2) -> None:
        """A flavor for labelled and tainted nodes, a cluster queue and the local queue."""
        taint = {"key": "spot", "value": "true", "effect": "NoSchedule"}
        spec = {"nodeLabels": {"pool": "spot"}, "nodeTaints": [taint]}
        spec["tolerations"] = [{"key": "spot", "operator": "Exists", "effect": "NoSchedule"}]
        self.make("resourceflavors", "ResourceFlavor", self.namespace, spec=spec)
        flavor = {"name": self.namespace, "resources": [{"name": "cpu", "nominalQuota": str(cpus)}]}
        spec = {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.namespace}},
            "preemption": {"withinClusterQueue": "LowerPriority"},
            "resourceGroups": [{"coveredResources": ["cpu"], "flavors": [flavor]}],
        }
        self.make("clusterqueues", "ClusterQueue", self.namespace, spec=spec)
        self.make("workloadpriorityclasses", "WorkloadPriorityClass", f"{self.namespace}-high", value=1000)
        body = {"apiVersion": VERSION, "kind": "LocalQueue", "metadata": {"name": "team"}}
        body["spec"] = {"clusterQueue": self.namespace}
        self.api.create(f"{API}/namespaces/{self.namespace}/localqueues", body)

    def make(self, plural: str, kind: str, name: str, **rest) -> None:
        """An object of Kueue for the whole cluster."""
        self.api.create(f"{API}/{plural}", {"apiVersion": VERSION, "kind": kind, "metadata": {"name": name}} | rest)

    def queue_job(self, name: str, labels: dict[str, str] | None = None, queue: str = "team", **spec) -> None:
        """A job of two workers in the queue."""
        spec = {"task": "m:t", "workers": 2, "resources": {"requests": {"cpu": "1"}}} | spec
        metadata = {"name": name, "labels": {LABEL: queue} | (labels or {})}
        body = {"apiVersion": "ganger.dev/v1alpha1", "kind": "TrainingJob", "metadata": metadata, "spec": spec}
        self.api.create(self.jobs, body)

    def workload(self, name: str):
        """The Workload of a job or a session, None where there is none."""
        found = self.api.items(f"{API}/namespaces/{self.namespace}/workloads")
        labels = ("ganger.dev/job", "ganger.dev/session")
        return next((one for one in found if name in map(one["metadata"]["labels"].get, labels)), None)

    def activate(self, name: str, active: bool) -> None:
        """Take a Workload out of the queues, or put it back."""
        path = f"{API}/namespaces/{self.namespace}/workloads/{self.workload(name)['metadata']['name']}"
        self.api.merge(path, {"spec": {"active": active}})

    def told(self, name: str, type_: str):
        """A condition of the Workload of a job: status and reason."""
        conditions = ((self.workload(name) or {}).get("status") or {}).get("conditions", [])
        return next(((one["status"], one["reason"]) for one in conditions if one["type"] == type_), None)

    def wait_told(self, name: str, type_: str, status: str, reason: str) -> None:
        """Wait for a condition of the Workload."""
        wait_for(lambda: self.told(name, type_) == (status, reason), 20, f"{type_} of {name} is {status}, {reason}")

    def wait_held(self, name: str, reason: str):
        """Wait until the job is not admitted for a reason; return the sentence."""

        def held():
            found = self.condition("Admitted", name)
            return found.get("status") == "False" and found["reason"] == reason and found["message"]

        return wait_for(held, 20, f"{name} waits: {reason}")

    def train(self, name: str, workers: int = 2, attempt: int = 0) -> list[str]:
        """Wait for the pods of a job, put them on a node and run them; their names."""
        names = [f"{name}-{attempt}-{worker}" for worker in range(workers)]
        wait_for(lambda: set(names) <= set(self.pod_names()), 20, f"pods {names}")
        place(self, *names)
        self.run(*names)
        self.wait_phase("Running", name)
        return names

    def finish(self, names: list[str]) -> None:
        """The workers ended well."""
        for name in names:
            self.end(name, 0)
        self.wait_phase("Complete", names[0].rsplit("-", 2)[0])

    def stop_pods(self, names: list[str]) -> None:
        """The kubelet's word that the workers, who were told to stop, have."""
        stopped(self, *names)


@pytest.fixture
def unled(control_plane, kueue, crd, namespace, history, tmp_path):
    """Such a namespace without queue and operator yet."""
    world = Queues(control_plane, namespace, tmp_path, history)
    yield world
    for operator in world.operators:
        operator.stop()


@pytest.fixture
def queues(unled):
    """Such a namespace with a leading operator."""
    unled.make_queue()
    unled.start_operator()
    wait_for(unled.leader, 20, "a leader")
    return unled
