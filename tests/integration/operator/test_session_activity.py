"""What sessions tell of their activity, on the real API server: tokens of real pods, and how often it is written."""

import json
import ssl
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest

from apiclient import wait_for
from integration.operator.conftest import free_port
from integration.operator.test_control_channel import SECRET, SERVICE
from integration.operator.test_session import Desk

pytestmark = pytest.mark.integration


def ago(seconds):
    """That long ago, as a supervisor writes it."""
    return (datetime.now(UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


class Reporting(Desk):
    """Sessions whose operator listens."""

    def __init__(self, world) -> None:
        super().__init__(world)
        self.port = free_port()
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "type": "Opaque"}
        world.api.create(self.secrets, body)

    def operate(self):
        operator = self.world.start_operator(
            GANGER_CONTROL_URL=f"https://localhost:{self.port}",
            GANGER_CONTROL_PORT=str(self.port),
            GANGER_CONTROL_SERVICE=SERVICE,
            GANGER_CONTROL_SECRET=SECRET,
            GANGER_POD_IP="10.1.2.3",
        )
        wait_for(self.world.leader, 20, "a leader")
        return operator

    def pod(self, name="notes-dev-0"):
        return self.api.get(f"{self.world.pods}/{name}")

    def token(self, pod):
        """A token as the kubelet projects it into the pod, by what the pod's volume says."""
        (volume,) = [one for one in pod["spec"]["volumes"] if one["name"] == "ganger-control"]
        asked = volume["projected"]["sources"][0]["serviceAccountToken"]
        bound = {"kind": "Pod", "apiVersion": "v1", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
        spec = {"audiences": [asked["audience"]], "expirationSeconds": asked["expirationSeconds"]}
        path = f"/api/v1/namespaces/{self.world.namespace}/serviceaccounts/default/token"
        return self.api.call("POST", path, {"spec": spec | {"boundObjectRef": bound}})["status"]["token"]

    def report(self, pod, last, *, idle=3600, token=None):
        """Status and answer of one report to the address that the pod has, by the authority that it has."""
        (container,) = pod["spec"]["containers"]
        (url,) = [one["value"] for one in container["env"] if one["name"] == "GANGER_SESSION_REPORT_URL"]
        trust = ssl.create_default_context(cadata=pod["metadata"]["annotations"]["ganger.dev/control-ca"])
        request = urllib.request.Request(url, method="POST")
        request.data = json.dumps({"lastActivityTime": last, "idleSeconds": idle}).encode()
        request.add_header("Authorization", f"Bearer {token or self.token(pod)}")
        try:
            with urllib.request.urlopen(request, context=trust, timeout=10) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def times(self):
        return self.status().get("lastActivityTime"), self.status().get("cullTime")

    def version(self):
        return self.api.get(f"{self.path}/notes")["metadata"]["resourceVersion"]


@pytest.fixture
def desk(world):
    found = Reporting(world)
    found.operator = found.operate()
    found.make()
    wait_for(lambda: "notes-dev-0" in world.pod_names(), 20, "its pod")
    return found


def test_a_session_that_runs_is_written_when_it_falls_idle_and_when_it_is_used_again(desk):
    first = desk.pod()
    began = ago(5)
    assert (200, {"nextReportSeconds": 30.0}) == desk.report(first, began)
    desk.run()
    desk.wait_phase("Running")
    # The write that says Running takes along what was heard before.
    assert (began, None) == desk.times()
    version = desk.version()
    for _ in range(3):
        time.sleep(0.55)  # the desk hears nobody more often
        assert 200 == desk.report(first, ago(0))[0]
    assert ((began, None), version) == (desk.times(), desk.version())

    # It falls idle half of its ten seconds after that.
    quiet = desk.status()["lastActivityTime"]
    cull = (datetime.fromisoformat(quiet) + timedelta(seconds=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
    wait_for(lambda: desk.report(first, quiet, idle=10)[0] == 200 and desk.times()[1], 20, "it is idle")
    assert (quiet, cull) == desk.times()
    version = desk.version()
    time.sleep(0.55)
    assert 200 == desk.report(first, quiet, idle=10)[0]
    assert version == desk.version()
    time.sleep(0.55)
    now = ago(0)
    assert 200 == desk.report(first, now, idle=10)[0]
    wait_for(lambda: desk.times() == (now, None), 10, f"it is used, not {desk.times()}")


def test_a_pod_speaks_for_its_own_session_alone_and_not_after_its_end(desk):
    desk.make("other")
    wait_for(lambda: "other-dev-0" in desk.world.pod_names(), 20, "the other one's pod")
    first, other = desk.pod(), desk.pod("other-dev-0")
    assert 200 == desk.report(first, ago(0))[0]
    assert 401 == desk.report(first, ago(0), token=desk.token(other))[0]
    desk.run()
    desk.wait_phase("Running")
    token = desk.token(first)
    desk.end()
    desk.wait_phase("Culled")

    assert 403 == desk.report(first, ago(0), token=token)[0]
    assert ("2026-01-01T00:00:00Z", None) == desk.times()
