"""A real kube-apiserver for every integration test: one for the session, a fresh namespace for each test."""

import secrets
import urllib.error

import pytest

from apiclient import JOBS, ApiClient, History, wait_for
from ganger.api.crd import definitions


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory):
    """A control plane on loopback that ends with the session."""
    from ganger_dev.control_plane import start_control_plane

    plane = start_control_plane(tmp_path_factory.mktemp("control-plane"))
    yield plane
    plane.stop()


@pytest.fixture
def namespace(control_plane, histories):
    """A namespace of the test's own, watched throughout; its jobs end with it, other tests list those of all."""
    name = f"t-{secrets.token_hex(4)}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    control_plane.api.request("POST", "/api/v1/namespaces", body)
    # Pods are refused until the controller manager has made the namespace's service account.
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    wait_for(lambda: _exists(control_plane, account), 30, account)
    client = ApiClient(control_plane.url, control_plane.ca, control_plane.token_for("admin"))
    histories[name] = History(client, name)
    yield name
    histories[name].close()
    _end_jobs(client, name)
    assert [] == histories.pop(name).check()


@pytest.fixture(scope="session")
def histories():
    """The watched history of every namespace in use, by name."""
    return {}


@pytest.fixture
def history(namespace, histories):
    """What has happened in the test's namespace so far."""
    return histories[namespace]


@pytest.fixture(scope="session")
def crd(control_plane):
    """The definitions, served; the name of that of TrainingJob."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    for body in definitions():
        control_plane.api.request("POST", path, body)
    for body in definitions():
        name = body["metadata"]["name"]
        wait_for(lambda name=name: _is_established(control_plane, f"{path}/{name}"), 30, f"{name} is established")
        # Right after that the API server still answers 429, "storage is (re)initializing", for a second or two.
        served = f"/apis/{body['spec']['group']}/v1alpha1/{body['spec']['names']['plural']}"
        wait_for(lambda served=served: _exists(control_plane, served), 30, f"{served} is served")
    return definitions()[0]["metadata"]["name"]


def _is_established(plane, path):
    conditions = plane.api.request("GET", path).get("status", {}).get("conditions") or []
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


def _end_jobs(client, namespace):
    """Delete the jobs of the namespace. Where a test of the chart takes the definition away, it takes them along."""
    try:
        client.delete(JOBS.format(namespace=namespace))
    except urllib.error.HTTPError as error:
        if error.code not in (404, 429):  # not served any more, or just about not to be
            raise


def _exists(plane, path):
    try:
        return plane.api.request("GET", path)
    except urllib.error.HTTPError:
        return None
