"""The operator with the chart's rights and no others: the audit log shows no refusal, and no right that is not used."""

import json
import os
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from apiclient import ApiClient, wait_for
from ganger.api.types import decode
from ganger.plan import pods as builder
from ganger_dev import kubeconfig
from ganger_dev.processes import free_ports
from golden.chart.rendered import Chart
from golden.chart.test_rights import GUARDED, ISOLATING, granted, roles_of
from integration.chart.conftest import CHART, NAMESPACE
from integration.chart.test_install import established, remove_definitions
from integration.operator.conftest import ROOT, Operator, World
from sessions import KEY

pytestmark = pytest.mark.integration
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/ganger-operator"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:ganger"


class Restricted(World):
    """A namespace whose operator has the token of the chart's service account."""

    watched: tuple[str, ...] = ()
    control = True
    earlier = 0  # requests that operators of earlier tests made under the same name

    def requests(self):
        """What its operators asked for since the first was started, as the audit log has it."""
        return list(requests_of(self.control_plane, ACCOUNT))[self.earlier :]

    def start_operator(self, name: str = "operator-a") -> Operator:
        if not self.operators:
            self.earlier = len(list(requests_of(self.control_plane, ACCOUNT)))
            if self.api.get(LEASE) is not None:  # the first one makes it
                self.api.delete(LEASE)
        path = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/ganger/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        self.token = self.api.create(path, body)["status"]["token"]
        plane = self.control_plane
        config = kubeconfig.write(
            self.folder / "kubeconfig", name="ganger", url=plane.url, ca=plane.ca, token=self.token
        )
        port, self.control_port = free_ports(2)
        env = os.environ | {
            "KUBECONFIG": str(config),
            "GANGER_NAMESPACE": NAMESPACE,
            "GANGER_WATCH_NAMESPACES": ",".join(self.watched),
            "GANGER_READ_NODES": "false" if self.watched else "true",  # as the chart sets it
            "GANGER_ISOLATE_JOBS": "true",
            "GANGER_METRICS_AUTH": "false" if self.watched else "true",
            "GANGER_POD": name,
            "GANGER_HTTP_PORT": str(port),
            "GANGER_POD_IP": "10.1.2.3",
            "PYTHONPATH": f"{ROOT / 'operator'}",
        }
        if self.control:
            env |= {
                "GANGER_CONTROL_URL": f"https://localhost:{self.control_port}",
                "GANGER_CONTROL_PORT": str(self.control_port),
                "GANGER_CONTROL_SERVICE": "ganger-control",
                "GANGER_CONTROL_SECRET": "ganger-control-tls",
            }
        log = self.folder / f"{name}.log"
        with log.open("w") as out:
            process = subprocess.Popen([sys.executable, "-m", "ganger.app"], env=env, stdout=out, stderr=out)
        self.operators.append(Operator(process, log, port))
        return self.operators[-1]

    def leader(self) -> str:
        lease = self.api.get(LEASE)
        return (lease or {}).get("spec", {}).get("holderIdentity") or ""


@contextmanager
def installed(helm, world, values):
    """The chart, and an operator that leads with its rights."""
    helm("install", "ganger", chart=CHART, values=values)
    try:
        wait_for(lambda: established(world.api), 30, "the definitions are established")
        wait_for(lambda: follows(world), 30, "the jobs are watched")
        world.start_operator()
        wait_for(world.leader, 30, "a leader")
        yield world
    finally:
        for operator in world.operators:
            operator.stop()
        helm("uninstall", "ganger", "--wait")
        remove_definitions(world.api)


def follows(world):
    try:
        return world.history.follow(world.jobs)
    except urllib.error.HTTPError as error:
        if error.code != 429:  # "storage is (re)initializing", for a second or two after the definition is there
            raise
        return False


@pytest.fixture
def world(control_plane, namespaces, namespace, history, tmp_path):
    return Restricted(control_plane, namespace, tmp_path, history)


@pytest.fixture
def restricted(helm, world):
    """An operator of the whole cluster, with every right that the chart can give."""
    with installed(helm, world, GUARDED):
        yield world


@pytest.fixture
def confined(helm, world):
    """An operator of one namespace."""
    world.watched = (world.namespace,)
    with installed(helm, world, {"watchNamespaces": [world.namespace]} | ISOLATING):
        yield world


def scrape(world):
    """The HTTP status that somebody without the right gets from /metrics."""
    path = f"/api/v1/namespaces/{world.namespace}/serviceaccounts/default/token"
    token = world.api.call("POST", path, {"spec": {}})["status"]["token"]
    request = urllib.request.Request(f"https://localhost:{world.control_port}/metrics")
    request.add_header("Authorization", f"Bearer {token}")
    trust = ssl._create_unverified_context()  # who answers is not the question here
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, context=trust, timeout=10)
    return caught.value.code


def report(world, pod):
    """The HTTP status of one report of a worker, with the token that the kubelet would give it."""
    found, uid = world.api.get(f"{world.pods}/{pod}"), world.job()["metadata"]["uid"]
    bound = {"kind": "Pod", "apiVersion": "v1", "name": pod, "uid": found["metadata"]["uid"]}
    body = {"spec": {"audiences": [uid], "expirationSeconds": 3600, "boundObjectRef": bound}}
    path = f"/api/v1/namespaces/{world.namespace}/serviceaccounts/default/token"
    token = world.api.call("POST", path, body)["status"]["token"]
    url = f"https://localhost:{world.control_port}/v1/jobs/{uid}/report"
    request = urllib.request.Request(url, method="POST", headers={"Authorization": f"Bearer {token}"})
    request.data = json.dumps({"attempt": 0, "worker": 0, "sequence": 1, "phase": "Training"}).encode()
    trust = ssl.create_default_context(cadata=found["metadata"]["annotations"]["ganger.dev/control-ca"])
    with urllib.request.urlopen(request, context=trust, timeout=10) as answer:
        return answer.status


def life_of_a_job(world):
    """From the manifest through suspension to the end and beyond, on a volume of its own."""
    checkpoint = {"volume": {"size": "1Gi", "whenDeleted": "Delete"}, "everySteps": 10}
    world.running_job(checkpoint=checkpoint, ttlSecondsAfterFinished=1)
    assert 200 == report(world, "digits-0-0")
    for _ in range(2):  # the second time the same is said again
        world.api.merge(f"{world.jobs}/digits", {"spec": {"suspend": True}})
        world.wait_phase("Suspended")
        world.wait_pods()
        world.api.merge(f"{world.jobs}/digits", {"spec": {"suspend": False}})
        world.wait_pods("digits-0-0", "digits-0-1")
        world.run("digits-0-0", "digits-0-1")
        world.wait_phase("Running")
    node = {"apiVersion": "v1", "kind": "Node", "name": "gone"}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "digits-0-0"}, "target": node}
    world.api.create(f"{world.pods}/digits-0-0/binding", binding)
    world.end("digits-0-0", 137, reason="OOMKilled")
    wait_for(lambda: {"digits-1-0", "digits-1-1"} <= set(world.pod_names()), 30, "the second attempt")
    world.run("digits-1-0", "digits-1-1")
    world.wait_phase("Running")
    world.end("digits-1-0", 0)
    world.end("digits-1-1", 0)
    wait_for(lambda: world.job() is None, 20, "the time to live is over")


def life_of_a_session(world):
    """From the manifest over a change of its keys to its stop."""
    path = f"/apis/ganger.dev/v1alpha1/namespaces/{world.namespace}/devsessions"
    body = {"apiVersion": "ganger.dev/v1alpha1", "kind": "DevSession", "metadata": {"name": "notes"}}
    world.api.create(path, body | {"spec": {"storage": {"size": "1Gi"}, "ssh": {"authorizedKeys": [KEY]}}})
    wait_for(lambda: "notes-dev-0" in world.pod_names(), 30, "the pod of the session")
    wait_for(lambda: world.api.get(f"{path}/notes").get("status", {}).get("phase") == "Starting", 20, "its status")
    assert world.api.get(f"/api/v1/namespaces/{world.namespace}/secrets/notes-dev")
    world.api.merge(f"{path}/notes", {"spec": {"ssh": {"authorizedKeys": [f"{KEY}-2"]}}})
    pod = f"{world.pods}/notes-dev-0"
    wait_for(lambda: f"{KEY}-2" in str(world.api.get(pod)["metadata"]["annotations"]), 20, "its keys have changed")
    world.api.merge(f"{path}/notes", {"spec": {"suspend": True}})
    wait_for(lambda: world.api.get(f"{path}/notes")["status"]["phase"] == "Stopped", 40, "it stops")


def strangers_in_the_way(world):
    """A pod, a Service, a claim, a PodGroup and a NetworkPolicy of somebody else under names that jobs need."""
    core = f"/api/v1/namespaces/{world.namespace}"
    spec = {"containers": [{"name": "c", "image": "x"}]}
    world.api.create(world.pods, {"kind": "Pod", "metadata": {"name": "first-0-0", "labels": {"a": "b"}}, "spec": spec})
    world.api.create(f"{core}/services", {
        "kind": "Service", "metadata": {"name": "second-gang"}, "spec": {"ports": [{"port": 1}]},
    })  # fmt: skip
    world.api.create(f"{core}/persistentvolumeclaims", {
        "kind": "PersistentVolumeClaim", "metadata": {"name": "third-checkpoints"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    })  # fmt: skip
    world.api.create(f"/apis/scheduling.k8s.io/v1beta1/namespaces/{world.namespace}/podgroups", {
        "kind": "PodGroup", "metadata": {"name": "fourth-0"},
        "spec": {"schedulingPolicy": {"gang": {"minCount": 2}}, "disruptionMode": {"all": {}}},
    })  # fmt: skip
    world.api.create(f"/apis/networking.k8s.io/v1/namespaces/{world.namespace}/networkpolicies", {
        "kind": "NetworkPolicy", "metadata": {"name": "fifth-gang"}, "spec": {"podSelector": {}},
    })  # fmt: skip
    for name in ("first", "second", "third", "fourth", "fifth"):
        world.submit(name, checkpoint={"volume": {"size": "1Gi"}, "everySteps": 10})
    # The Service is asked for once worker 0 has an address; that it is a stranger's is known then.
    wait_for(lambda: "second-0-0" in world.pod_names(), 20, "the pods of second")
    world.run("second-0-0")
    expected = {
        "first": "WaitingForPreviousPods",
        "second": "WaitingForPreviousService",
        "third": "VolumeConflict",
        "fourth": "WaitingForPreviousGroup",
        "fifth": "WaitingForPreviousPolicy",
    }
    for name, reason in expected.items():
        wait_for(
            lambda name=name, reason=reason: world.condition("PodsReady", name).get("reason") == reason,
            20,
            f"{name}: {reason}",
        )
    held = ("third", "fourth", "fifth", "first-0-0")
    assert ["first-0-0"] == [name for name in world.pod_names() if name.startswith(held)]


@dataclass(frozen=True)
class Request:
    """A request about objects as the audit log has it. resource: with its subresource."""

    verb: str
    group: str
    resource: str
    namespace: str
    code: int


def requests_of(control_plane, user):
    """Each request of a user about objects."""
    for line in control_plane.audit_log.read_text().splitlines():
        entry = json.loads(line)
        if entry["user"].get("username") == user and "objectRef" in entry:
            target = entry["objectRef"]
            sub = f"/{target['subresource']}" if "subresource" in target else ""
            yield Request(
                verb=entry["verb"],
                group=target.get("apiGroup", ""),
                resource=target["resource"] + sub,
                namespace=target.get("namespace", ""),
                code=entry.get("responseStatus", {}).get("code"),
            )


def test_the_chart_grants_what_a_life_of_jobs_uses_and_nothing_else(restricted, helm):
    life_of_a_job(restricted)
    life_of_a_session(restricted)
    strangers_in_the_way(restricted)
    assert 403 == scrape(restricted)
    assert 0 == restricted.operators[0].stop()
    log = restricted.operators[0].log.read_text()
    found = restricted.requests()

    assert [] == [request for request in found if request.code in (401, 403)]
    assert "forbidden" not in log
    assert "Traceback" not in log
    used = {(one.verb, one.group, one.resource) for one in found}
    # The log calls an apply a patch, also one that created something and needed that right besides.
    used |= {("create", "discovery.k8s.io", "endpointslices")}
    # Kueue's rights are used where Kueue is: tests/integration/queues.
    assert (
        granted(roles_of(Chart(helm.program).objects(GUARDED | {"operator": {"kueue": False, "isolateJobs": True}})))
        == used
    )


def test_an_operator_of_one_namespace_needs_no_right_beyond_it(confined):
    life_of_a_job(confined)
    life_of_a_session(confined)
    found = confined.requests()

    assert [] == [request for request in found if request.code in (401, 403)]
    resources = {one.resource for one in found}
    assert {"trainingjobs/status", "pods", "events"} <= resources
    assert "nodes" not in resources


def test_the_operators_token_opens_nothing_else(restricted):
    operator = ApiClient(restricted.control_plane.url, restricted.control_plane.ca, restricted.token)
    core = f"/api/v1/namespaces/{restricted.namespace}"
    restricted.running_job()
    attempts = [
        ("GET", f"{core}/secrets", None),
        ("GET", f"{core}/configmaps", None),
        ("GET", f"{core}/secrets/notes-dev", None),
        ("PATCH", f"{core}/secrets/notes-dev", {"data": {}}),
        ("DELETE", f"{core}/secrets/notes-dev", None),
        ("POST", f"{core}/pods/digits-0-0/exec?command=sh", {}),
        ("GET", f"{core}/pods/digits-0-0/log", None),
        ("PATCH", f"{restricted.jobs}/digits", {"spec": {"suspend": True}}),
        ("DELETE", f"{core}/services/digits-gang", None),
        ("DELETE", f"/apis/networking.k8s.io/v1/namespaces/{restricted.namespace}/networkpolicies/digits-gang", None),
        ("GET", f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases", None),
        ("POST", f"{core}/serviceaccounts/default/token", {}),
        ("GET", "/api/v1/nodes", None),
        ("PATCH", "/api/v1/nodes/gone", {"spec": {"unschedulable": True}}),
    ]
    for method, path, body in attempts:
        with pytest.raises(urllib.error.HTTPError) as caught:
            operator.call(
                method, path, body, "application/merge-patch+json" if method == "PATCH" else "application/json"
            )
        assert 403 == caught.value.code, (method, path)


def test_the_admission_that_guards_owner_references_was_on(restricted):
    """Else the proof above would prove nothing: a reference that blocks deletion needs a right that we do not have."""
    operator = ApiClient(restricted.control_plane.url, restricted.control_plane.ca, restricted.token)
    uid = restricted.submit("owner", suspend=True)["metadata"]["uid"]
    reference = {
        "apiVersion": "ganger.dev/v1alpha1", "kind": "TrainingJob", "name": "owner", "uid": uid, "controller": True,
    }  # fmt: skip

    job = decode(
        {"metadata": {"name": "owner", "namespace": restricted.namespace}, "spec": {"image": "x", "task": "m:t"}}
    )

    def pod(name, **more):
        return builder.pod(job, 0, 0) | {"metadata": {"name": name, "ownerReferences": [reference | more]}}

    operator.create(restricted.pods, pod("free"))
    with pytest.raises(urllib.error.HTTPError) as caught:
        operator.create(restricted.pods, pod("blocking", blockOwnerDeletion=True))
    assert "blockOwnerDeletion" in json.loads(caught.value.read())["message"]
