"""The embedded cluster does what the other end-to-end tests take for granted."""

import json
import socket
import subprocess
import time
import urllib.request

import pytest

from ganger_dev import binaries, cluster, images

pytestmark = pytest.mark.e2e

RESTRICTED_POD = {
    "runAsNonRoot": True,
    "runAsUser": 4321,
    "runAsGroup": 4321,
    "fsGroup": 3000,
    "seccompProfile": {"type": "RuntimeDefault"},
}
RESTRICTED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
SERVE = "import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=8000)"


@pytest.fixture(scope="module")
def embedded():
    image = images.operator()
    images.build(image)
    running = cluster.up()
    images.load(image, running.containerd)
    return running


@pytest.fixture
def namespace(embedded):
    """A namespace that admits restricted pods alone."""
    name = f"embedded-{time.monotonic_ns()}"
    embedded.kubectl("create", "namespace", name)
    embedded.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield name
    embedded.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def start(embedded, namespace):
    def start(name, program, *, claim=None, limits=None):
        container = {
            "name": "main",
            "image": images.operator().name,
            "command": ["python", "-u", "-c", program],
            "securityContext": RESTRICTED,
            "resources": {"limits": limits or {}},
            "volumeMounts": [{"name": "data", "mountPath": "/data"}] if claim else [],
        }
        volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}] if claim else []
        spec = {
            "hostname": name,
            "subdomain": "gang",
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "securityContext": RESTRICTED_POD,
            "containers": [container],
            "volumes": volumes,
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "gang"}}, "spec": spec}
        embedded.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(pod))

    return start


def wait(embedded, namespace, condition, name):
    embedded.kubectl("wait", "-n", namespace, f"--for={condition}", f"pod/{name}", "--timeout=60s")


def claim(embedded, namespace, name):
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    content = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}
    embedded.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(content))


def test_a_second_start_changes_nothing(embedded):
    before = cluster.status()

    assert embedded.kubeconfig == cluster.up().kubeconfig
    time.sleep(0.5)  # a program that watches its configuration would end by now

    assert before == cluster.status()
    assert {"etcd", "kube-apiserver", "kubelet", "kube-proxy", "coredns", "containerd", "provisioner"} <= set(before)


def test_a_restricted_pod_writes_to_a_claim_that_was_bound_within_two_seconds(embedded, namespace, start):
    claim(embedded, namespace, "data")
    embedded.kubectl("wait", "-n", namespace, "--for=jsonpath={.status.phase}=Bound", "pvc/data", "--timeout=2s")

    start("writer", "open('/data/x', 'w').write('kept')", claim="data")
    wait(embedded, namespace, "jsonpath={.status.phase}=Succeeded", "writer")
    start("reader", "print(open('/data/x').read())", claim="data")
    wait(embedded, namespace, "jsonpath={.status.phase}=Succeeded", "reader")

    assert "kept" == embedded.kubectl("logs", "-n", namespace, "reader").strip()


def test_a_deleted_claim_takes_its_volume_and_its_content_along(embedded, namespace):
    claim(embedded, namespace, "data")
    embedded.kubectl("wait", "-n", namespace, "--for=jsonpath={.status.phase}=Bound", "pvc/data", "--timeout=10s")
    volume = embedded.kubectl("get", "-n", namespace, "pvc/data", "-o", "jsonpath={.spec.volumeName}")
    folder = embedded.folder / "volumes" / volume
    assert folder.is_dir()

    embedded.kubectl("delete", "-n", namespace, "pvc/data")
    embedded.kubectl("wait", "--for=delete", f"pv/{volume}", "--timeout=10s")

    assert not folder.exists()


def test_pods_reach_each_other_by_name_and_the_api_server_by_its_cluster_address(embedded, namespace, start):
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "gang"},
        "spec": {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": {"app": "gang"}},
    }
    embedded.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(service))
    start("first", SERVE)
    start("second", SERVE)
    wait(embedded, namespace, "condition=Ready", "first")
    wait(embedded, namespace, "condition=Ready", "second")
    look = """
import socket, ssl, time, urllib.request
deadline = time.monotonic() + 10
while True:
    try:
        print(urllib.request.urlopen('http://second.gang:8000/', timeout=2).status)
        break
    except OSError:
        if time.monotonic() > deadline:
            raise
        time.sleep(0.2)
folder = '/var/run/secrets/kubernetes.io/serviceaccount/'
request = urllib.request.Request('https://kubernetes.default.svc/version')
request.add_header('Authorization', 'Bearer ' + open(folder + 'token').read())
context = ssl.create_default_context(cafile=folder + 'ca.crt')
print(socket.gethostbyname('kubernetes.default'), urllib.request.urlopen(request, context=context, timeout=5).status)
"""

    said = embedded.kubectl("exec", "-n", namespace, "first", "--", "python", "-c", look)

    assert ["200", "10.96.0.1 200"] == said.splitlines()


def test_port_forward_reaches_a_pod(embedded, namespace, start):
    start("server", SERVE)
    wait(embedded, namespace, "condition=Ready", "server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(binaries.path_of("kubectl")), f"--kubeconfig={embedded.kubeconfig}", "port-forward", "-n", namespace]
    with subprocess.Popen([*command, "pod/server", f"{port}:8000"], stdout=subprocess.PIPE, text=True) as forward:
        assert forward.stdout is not None
        forward.stdout.readline()
        status = urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10).status
        forward.terminate()

    assert 200 == status


def test_the_node_offers_gpus_and_gangs_are_served(embedded, namespace, start):
    start("gpu", "print('scheduled')", limits={"nvidia.com/gpu": "8"})
    wait(embedded, namespace, "jsonpath={.status.phase}=Succeeded", "gpu")

    assert "podgroups" in embedded.kubectl("api-resources", "--api-group=scheduling.k8s.io", "-o", "name")


def test_requests_are_counted_in_the_audit_log(embedded):
    marker = f"/version?marker={time.monotonic_ns()}"
    embedded.kubectl("get", "--raw", marker)
    deadline = time.monotonic() + 5
    while marker not in embedded.plane.audit_log.read_text() and time.monotonic() < deadline:
        time.sleep(0.1)
    events = [line for line in embedded.plane.audit_log.read_text().splitlines() if marker in line]

    assert 1 == len(events)
    assert "Metadata" == json.loads(events[0])["level"]
