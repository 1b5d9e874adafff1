"""The chart's admission policies and roles on a real API server, and users with the rights that a test gives them."""

import json
import secrets
import urllib.error
from typing import NamedTuple

import pytest

from apiclient import ApiClient, wait_for
from ganger_dev import binaries
from golden.chart.rendered import Chart

RBAC = "/apis/rbac.authorization.k8s.io/v1"
SYSTEM = "ganger-system"
PLURALS = {
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts",
    "Role": RBAC + "/namespaces/{namespace}/roles",
    "RoleBinding": RBAC + "/namespaces/{namespace}/rolebindings",
    "ClusterRole": RBAC + "/clusterroles",
    "ClusterRoleBinding": RBAC + "/clusterrolebindings",
    "ValidatingAdmissionPolicy": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
}
SUBMITS = {"apiGroups": ["ganger.dev"], "resources": ["trainingjobs"], "verbs": ["*"]}
SHARES = {"apiGroups": ["ganger.dev"], "resources": ["trainingprofiles"], "verbs": ["*"]}
OPENS = {"apiGroups": ["ganger.dev"], "resources": ["devsessions"], "verbs": ["*"]}
MAKES_PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}


class Answer(NamedTuple):
    """What the server said: the HTTP code, and the message of a refusal."""

    code: int
    message: str = ""


class User:
    """A service account whose token is the only thing that its requests carry."""

    def __init__(self, plane, admin: ApiClient, namespace: str, name: str) -> None:
        self.name = f"system:serviceaccount:{namespace}:{name}"
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        token = admin.call("POST", path, request)["status"]["token"]
        self.api = ApiClient(plane.url, plane.ca, token)

    def ask(self, method: str, path: str, body=None, content_type: str = "application/json") -> Answer:
        """Send one request."""
        try:
            self.api.call(method, path, body, content_type)
        except urllib.error.HTTPError as error:
            return Answer(error.code, json.loads(error.read())["message"])
        return Answer(200)


class Guarded:
    """A control plane with the chart's guards, and the administrator's client."""

    def __init__(self, plane, admin: ApiClient, chart: Chart) -> None:
        self.plane = plane
        self.admin = admin
        self.chart = chart

    def apply(self, objects) -> None:
        """Make what is not there and bring the rest up to date."""
        for found in objects:
            root = PLURALS[found["kind"]].format(namespace=found["metadata"].get("namespace"))
            path = f"{root}/{found['metadata']['name']}?fieldManager=test&force=true&fieldValidation=Strict"
            self.admin.call("PATCH", path, found, "application/apply-patch+yaml")

    def make_namespace(self, name: str, **labels: str) -> str:
        """A namespace that takes pods; its name."""
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        self.admin.create("/api/v1/namespaces", body)
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        wait_for(lambda: self.admin.get(account), 30, f"{name} has its account")
        return name

    def user(self, namespace: str, *rules, name: str = "") -> User:
        """A new user with these rights in the namespace."""
        name = name or f"user-{secrets.token_hex(4)}"
        meta = {"name": name, "namespace": namespace}
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
        subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
        group = "rbac.authorization.k8s.io/v1"
        self.apply([
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
            {"apiVersion": group, "kind": "Role", "metadata": meta, "rules": list(rules)},
            {"apiVersion": group, "kind": "RoleBinding", "metadata": meta, "roleRef": reference, "subjects": [subject]},
        ])  # fmt: skip
        return User(self.plane, self.admin, namespace, name)


def jobs(namespace: str) -> str:
    """Where the jobs of a namespace are."""
    return f"/apis/ganger.dev/v1alpha1/namespaces/{namespace}/trainingjobs"


def pods(namespace: str) -> str:
    """Where the pods of a namespace are."""
    return f"/api/v1/namespaces/{namespace}/pods"


def a_job(name: str = "digits", **spec):
    """A job that asks for little."""
    body = {"apiVersion": "ganger.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": name}}
    return body | {"spec": {"task": "m:t"} | spec}


def a_profile(name: str = "shared", **spec):
    """A profile that says what `spec` says."""
    body = {"apiVersion": "ganger.dev/v1alpha1", "kind": "TrainingProfile", "metadata": {"name": name}}
    return body | {"spec": spec}


def policies(objects):
    """Those objects that guard."""
    return [found for found in objects if found["kind"].startswith("ValidatingAdmission")]


@pytest.fixture(scope="session")
def guarded(control_plane, crd):
    """The chart's policies, account and roles, in force."""
    helm = binaries.path_of("helm")
    if not helm.exists():
        pytest.skip("helm is not built: `make test` builds it, or `python -m ganger_dev.binaries helm`")
    admin = ApiClient(control_plane.url, control_plane.ca, control_plane.token_for("admin"))
    found = Guarded(control_plane, admin, Chart(helm))
    found.make_namespace(SYSTEM)
    objects = [one for one in found.chart.objects({"operator": {"isolateJobs": True}}) if one["kind"] in PLURALS]
    objects = [one for one in objects if not one["metadata"]["name"].endswith(".labels")]  # test_labels.py has it
    found.apply(objects)
    probe = found.user(SYSTEM, SUBMITS)
    path = f"{jobs(SYSTEM)}?dryRun=All"
    wait_for(lambda: probe.ask("POST", path, a_job()).code == 403, 30, "the policies are in force")
    yield found
    for one in policies(objects):
        admin.delete(f"{PLURALS[one['kind']]}/{one['metadata']['name']}")


@pytest.fixture(scope="session")
def place(guarded):
    """A namespace for tests that store nothing in it."""
    return guarded.make_namespace("guarded")


@pytest.fixture(scope="session")
def submitter(guarded, place):
    """Whoever may make jobs and pods there."""
    return guarded.user(place, SUBMITS, MAKES_PODS)


@pytest.fixture(scope="session")
def operator(guarded):
    """Whoever holds the operator's token."""
    return User(guarded.plane, guarded.admin, SYSTEM, "ganger")
