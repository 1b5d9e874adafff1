"""Isolated jobs under attack: a real network, real pods, and NetworkPolicies that are enforced packet by packet."""

import json

import pytest

from apiclient import wait_for
from e2e.conftest import SYSTEM, _namespace
from e2e.test_training import example
from ganger_dev import policies
from ganger_dev.errors import DevError

pytestmark = pytest.mark.e2e
RENDEZVOUS, METRICS, EPHEMERAL = 29400, 9095, 41234
PORTS = (RENDEZVOUS, METRICS, EPHEMERAL)
# Listens as torchrun, the supervisor and gloo do, and answers datagrams as well.
LISTEN = f"""
import socket, threading
def answer(port):
    server = socket.create_server(("", port))
    while True:
        connection, _ = server.accept()
        connection.sendall(b"here")
        connection.close()
for port in {PORTS}:
    threading.Thread(target=answer, args=(port,), daemon=True).start()
echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
echo.bind(("", {EPHEMERAL}))
print("listening", flush=True)
while True:
    echo.sendto(*echo.recvfrom(64))
"""
# Tries every target at once; what is dropped is silent, and costs the time-out once.
KNOCK = """
import concurrent.futures, json, socket, sys
def tcp(address, port):
    with socket.create_connection((address, port), timeout=2.0) as connection:
        return connection.recv(16).decode()
def udp(address, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(2.0)
        one.sendto(b"here", (address, port))
        return one.recv(16).decode()
def knock(target):
    how, address, port = target
    try:
        return {"tcp": tcp, "udp": udp}[how](address, port)
    except OSError as error:
        return type(error).__name__
targets = json.loads(sys.argv[1])
with concurrent.futures.ThreadPoolExecutor(32) as pool:
    print(json.dumps(list(pool.map(knock, targets))))
"""
DOORS = (*(("tcp", port) for port in PORTS), ("udp", EPHEMERAL))
OPEN, SHUT = "here", "TimeoutError"
EVERYTHING = dict.fromkeys(DOORS, OPEN)
METRICS_ALONE = dict.fromkeys(DOORS, SHUT) | {("tcp", METRICS): OPEN}


@pytest.fixture(scope="module")
def isolating(installed):
    """The chart told to isolate jobs, on a network that enforces policies."""
    reason = policies.trouble()
    if reason:
        pytest.skip(reason)

    def told(isolates):
        switch = f"operator.isolateJobs={str(isolates).lower()}"
        installed.helm("upgrade", "ganger", "charts/ganger", "--namespace", SYSTEM, "--reuse-values", "--wait",
                       "--timeout", "3m", "--set", switch)  # fmt: skip

    told(isolates=True)
    try:
        embedded = installed.embedded
        with policies.enforced(embedded.folder, embedded.plane, embedded.node_name) as daemon:
            yield daemon
    finally:
        told(isolates=False)


@pytest.fixture(scope="module")
def team(isolating, shared_namespace):
    """A namespace with a gang of two, the victim, and everybody who might attack it."""
    listening(shared_namespace, "victim", workers=2)
    listening(shared_namespace, "neighbour", workers=1)
    bystander(shared_namespace)
    for pod in ("victim-0-0", "victim-0-1", "neighbour-0-0", "bystander"):
        address(shared_namespace, pod)
    return shared_namespace


@pytest.fixture(scope="module")
def abroad(isolating, installed):
    """Another namespace, with a job of the victim's own name in it."""
    for found in _namespace(installed):
        listening(found, "victim", workers=1)
        address(found, "victim-0-0")
        yield found


def listening(namespace, name, workers):
    """Submit a job whose workers listen at every door."""
    spec = {"command": ["python", "-c", LISTEN], "workers": workers, "terminationGracePeriodSeconds": 1}
    spec["resources"] = {"requests": {"cpu": "50m"}, "limits": {"memory": "128Mi"}}
    job = {"apiVersion": "ganger.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": name}, "spec": spec}
    namespace.apply(job)


def bystander(namespace):
    """A pod of no job, at whose doors nobody stands."""
    container = {
        "name": "main", "image": namespace.installed.image, "command": ["python", "-c", LISTEN],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }  # fmt: skip
    context = {"runAsNonRoot": True, "runAsUser": 4321, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"containers": [container], "securityContext": context, "terminationGracePeriodSeconds": 1}
    namespace.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bystander"}, "spec": spec})


def address(namespace, pod):
    """Where a pod is, once it listens."""
    path = f"{namespace.pods_path}/{pod}"
    logs = ("-n", namespace.name, "logs", pod)
    wait_for(lambda: "listening" in namespace.installed.kubectl(*logs, check=False), 60, f"{pod} listens")
    return wait_for(lambda: namespace.api.get(path)["status"].get("podIP"), 10, f"{pod} has an address")


def knock(namespace, pod, target):
    """What every door of the target says to the pod."""
    targets = json.dumps([(how, target, port) for how, port in DOORS])
    said = namespace.kubectl("exec", pod, "--", "python", "-c", KNOCK, targets)
    return dict(zip(DOORS, json.loads(said), strict=True))


@pytest.mark.parametrize("attacker", ["neighbour-0-0", "bystander"])
@pytest.mark.parametrize("worker", [0, 1])
def test_a_worker_is_reached_from_its_namespace_at_the_metrics_port_alone(team, attacker, worker):
    assert METRICS_ALONE == knock(team, attacker, address(team, f"victim-0-{worker}"))


def test_a_worker_is_reached_from_another_namespace_at_the_metrics_port_alone(team, abroad):
    assert METRICS_ALONE == knock(abroad, "victim-0-0", address(team, "victim-0-1"))


def test_nobody_joins_a_gang_by_its_label(team):
    label = f"ganger.dev/job-uid={team.job('victim')['metadata']['uid']}"
    for words in (("label", "pod", "bystander", label), ("label", "pod", "neighbour-0-0", "--overwrite", label)):
        with pytest.raises(DevError, match="the operator alone gives it"):
            team.kubectl(*words)


def test_workers_of_a_gang_reach_each_other_at_every_port(team):
    first, second = (address(team, f"victim-0-{worker}") for worker in range(2))

    assert EVERYTHING == knock(team, "victim-0-0", second)
    assert EVERYTHING == knock(team, "victim-0-1", first)


def test_what_a_worker_reaches_outside_is_not_restricted(team):
    assert EVERYTHING == knock(team, "victim-0-0", address(team, "bystander"))


def test_a_policy_beside_it_opens_the_door_that_it_names_and_no_other(team):
    """So the attacks above failed for the policy, and for nothing else."""
    target = address(team, "neighbour-0-0")
    assert METRICS_ALONE == knock(team, "bystander", target)
    door = {"ports": [{"port": EPHEMERAL, "protocol": "TCP"}]}
    spec = {"podSelector": {"matchLabels": {"ganger.dev/job": "neighbour"}}, "ingress": [door]}
    body = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "more"}, "spec": spec}
    team.apply(body)
    opened = METRICS_ALONE | {("tcp", EPHEMERAL): OPEN}
    wait_for(lambda: knock(team, "bystander", target) == opened, 20, "that door is open")
    team.kubectl("delete", "networkpolicy", "more")
    wait_for(lambda: knock(team, "bystander", target) == METRICS_ALONE, 20, "it is shut again")


def test_a_gang_meets_trains_and_saves_behind_its_policy(team):
    job = example("digits")
    job["spec"]["config"]["epochs"] = 1
    team.apply(job)
    status = team.wait_phase("digits", "Complete")

    assert "100%" == status["progress"]["percent"]
    assert status["checkpoint"]["verified"]
