"""A real kube-apiserver for every integration test: one for the session, a fresh namespace for each test."""

import secrets
import time

import pytest

from ganger.api.crd import crd as definition


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory):
    """A control plane on loopback that ends with the session."""
    from ganger_dev.control_plane import start_control_plane

    plane = start_control_plane(tmp_path_factory.mktemp("control-plane"))
    yield plane
    plane.stop()


@pytest.fixture
def namespace(control_plane):
    """A namespace of the test's own; what is left in it ends with the control plane."""
    name = f"t-{secrets.token_hex(4)}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    control_plane.api.request("POST", "/api/v1/namespaces", body)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    control_plane.api.request("POST", f"/api/v1/namespaces/{name}/serviceaccounts", account)
    return name


@pytest.fixture(scope="session")
def crd(control_plane):
    """The TrainingJob definition, served; its name."""
    body = definition()
    name = body["metadata"]["name"]
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    control_plane.api.request("POST", path, body)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        conditions = control_plane.api.request("GET", f"{path}/{name}").get("status", {}).get("conditions") or []
        if {"Established"} <= {one["type"] for one in conditions if one["status"] == "True"}:
            return name
        time.sleep(0.05)
    raise AssertionError(f"{name} is not established after 30 s: {conditions}")
