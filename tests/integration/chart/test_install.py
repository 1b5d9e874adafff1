"""The chart as a cluster takes it: dry runs, install, upgrade, uninstall."""

import urllib.error

import pytest
import yaml

from apiclient import wait_for
from golden.chart.test_render import VALUES
from integration.chart.conftest import CHART, NAMESPACE, make_namespace

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("namespaces")]
DEFINITION = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/trainingjobs.ganger.dev"
PROFILES = DEFINITION.replace("trainingjobs", "trainingprofiles")
SESSIONS = DEFINITION.replace("trainingjobs", "devsessions")
ALL = (DEFINITION, PROFILES, SESSIONS)
OTHERS = (
    ("monitoring.coreos.com/v1", "ServiceMonitor"),
    ("monitoring.coreos.com/v1", "PodMonitor"),
    ("monitoring.coreos.com/v1", "PrometheusRule"),
    ("grafana.integreatly.org/v1beta1", "GrafanaDashboard"),
)


def path_of(found):
    group = found["apiVersion"]
    root = f"/apis/{group}" if "/" in group else f"/api/{group}"
    namespace = found["metadata"].get("namespace")
    kind = found["kind"].lower()
    plural = f"{kind.removesuffix('y')}ies" if kind.endswith("y") else f"{kind}s"
    return f"{root}/namespaces/{namespace}/{plural}" if namespace else f"{root}/{plural}"


def rendered(helm, values):
    served = [f"--api-versions={version}/{kind}" for version, kind in OTHERS]
    text = helm("template", "ganger", *served, chart=CHART, values=values)
    return [found for found in yaml.safe_load_all(text) if found]


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.usefixtures("others")
def test_the_server_takes_every_object_under_strict_validation(api, helm, name):
    for found in rendered(helm, VALUES[name]):
        path = f"{path_of(found)}/{found['metadata']['name']}"
        query = "fieldManager=test&dryRun=All&fieldValidation=Strict&force=true"
        taken = api.call("PATCH", f"{path}?{query}", found, "application/apply-patch+yaml")

        assert found["kind"] == taken["kind"]


def test_helm_installs_without_a_complaint_in_a_dry_run_on_the_server(helm):
    assert "STATUS: pending-install" in helm("install", "ganger", "--dry-run=server", chart=CHART)


def operator_pod(helm, **changes):
    (deployment,) = [found for found in rendered(helm, {}) if found["kind"] == "Deployment"]
    spec = deployment["spec"]["template"]["spec"] | {"serviceAccountName": "default"} | changes
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator"}, "spec": spec}


def test_a_namespace_of_the_level_restricted_takes_the_operators_pod(api, helm):
    make_namespace(api, "restricted", **{"pod-security.kubernetes.io/enforce": "restricted"})
    path = "/api/v1/namespaces/restricted/pods?dryRun=All&fieldValidation=Strict"
    api.call("POST", path, operator_pod(helm))

    with pytest.raises(urllib.error.HTTPError, match="403"):
        api.call("POST", path, operator_pod(helm, hostNetwork=True))


@pytest.fixture
def clean(helm, api):
    """Whatever a test installed is gone after it."""
    yield
    helm.run("uninstall", "ganger", "--ignore-not-found", "--wait")
    remove_definitions(api)


def remove_definitions(api):
    """Delete them and wait until they are gone."""
    for path in ALL:
        if api.get(path):
            api.delete(path)
        wait_for(lambda path=path: api.get(path) is None, 30, "the definition is gone")


def test_an_upgrade_keeps_the_certificate_that_the_operator_made(api, helm, clean):
    install(helm, api)
    secret = f"/api/v1/namespaces/{NAMESPACE}/secrets/ganger-control-tls"
    api.merge(secret, {"data": {"tls.crt": "eA==", "ca.crt": "eQ=="}})
    helm("upgrade", "ganger", chart=CHART, values={"operator": {"logLevel": "debug"}})

    assert {"tls.crt": "eA==", "ca.crt": "eQ=="} == api.get(secret)["data"]


def established(api):
    """Whether all definitions are: the one is no word on the other."""
    found = [(api.get(path) or {}).get("status", {}).get("conditions") or [] for path in ALL]
    return all(any((one["type"], one["status"]) == ("Established", "True") for one in each) for each in found)


def install(helm, api, *options, chart=CHART, values=None):
    helm("upgrade", "--install", "ganger", *options, chart=chart, values=values)
    wait_for(lambda: established(api), 30, "the definitions are established")


def test_an_uninstall_takes_the_definitions_along_where_they_are_not_kept(helm, api, clean):
    install(helm, api, values={"crds": {"keep": False}})
    helm("uninstall", "ganger", "--wait")

    wait_for(lambda: not any(map(api.get, ALL)), 30, "the definitions are gone")


def apply(api, path):
    """Bring a definition to the server by hand."""
    plural = path.rpartition("/")[2].partition(".")[0]
    body = yaml.safe_load((CHART / "files" / f"{plural}.yaml").read_text())
    query = "fieldManager=kubectl&fieldValidation=Strict"
    api.call("PATCH", f"{path}?{query}", body, "application/apply-patch+yaml")


def test_a_definition_that_was_applied_by_hand_is_adopted_only_when_asked(helm, api, clean):
    apply(api, DEFINITION)
    refused = helm.run("install", "ganger", chart=CHART)

    assert refused.returncode != 0
    assert "invalid ownership metadata" in refused.stderr
    install(helm, api, "--take-ownership")
    assert api.get(PROFILES)
    assert api.get(SESSIONS)
    assert "keep" == api.get(DEFINITION)["metadata"]["annotations"]["helm.sh/resource-policy"]


def test_a_definition_that_somebody_else_manages_is_left_alone(helm, api, clean):
    for path in ALL:
        apply(api, path)
    versions = [api.get(path)["metadata"]["generation"] for path in ALL]
    install(helm, api, values={"crds": {"enabled": False}})
    helm("uninstall", "ganger", "--wait")

    assert versions == [api.get(path)["metadata"]["generation"] for path in ALL]


def may(api, user, verb, resource, namespace, *, group="ganger.dev", groups=()):
    resource, _, subresource = resource.partition("/")
    attributes = {
        "namespace": namespace,
        "verb": verb,
        "group": group,
        "resource": resource,
        "subresource": subresource,
    }
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": attributes},
    }
    return api.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", body)["status"]["allowed"]


def test_built_in_roles_of_a_namespace_include_its_jobs(helm, api, clean):
    install(helm, api)
    for role in ("view", "edit", "admin"):
        body = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": role},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "User", "name": f"the-{role}er", "apiGroup": "rbac.authorization.k8s.io"}],
        }
        api.create("/apis/rbac.authorization.k8s.io/v1/namespaces/team-a/rolebindings", body)
    wait_for(lambda: may(api, "the-viewer", "list", "trainingjobs", "team-a"), 30, "roles are aggregated")
    wait_for(lambda: may(api, "the-editer", "create", "trainingjobs", "team-a"), 30, "roles are aggregated")
    wait_for(lambda: may(api, "the-adminer", "delete", "trainingjobs", "team-a"), 30, "roles are aggregated")

    assert may(api, "the-viewer", "get", "trainingprofiles", "team-a")
    assert not may(api, "the-viewer", "update", "trainingprofiles", "team-a")
    assert not may(api, "the-viewer", "list", "trainingprofiles", NAMESPACE)
    for user in ("the-editer", "the-adminer"):
        assert may(api, user, "create", "trainingprofiles", "team-a")
    for user in ("the-viewer", "the-editer", "the-adminer"):
        assert may(api, user, "get", "trainingjobs/status", "team-a")
        assert not may(api, user, "patch", "trainingjobs/status", "team-a")
        assert not may(api, user, "list", "trainingjobs", "team-b")
    assert not may(api, "the-viewer", "create", "trainingjobs", "team-a")
    assert may(api, "the-editer", "patch", "trainingjobs/scale", "team-a")


def test_rights_of_watched_namespaces_end_at_their_border(helm, api, clean):
    install(helm, api, values={"watchNamespaces": ["team-a"]})
    account = f"system:serviceaccount:{NAMESPACE}:ganger"

    wait_for(lambda: may(api, account, "create", "pods", "team-a", group=""), 10, "the role is known")
    assert not may(api, account, "create", "pods", "team-b", group="")
    assert not may(api, account, "list", "trainingjobs", "team-b")
    for namespace, allowed in (("team-a", True), (NAMESPACE, True), ("team-b", False)):
        assert allowed == may(api, account, "watch", "trainingprofiles", namespace)
    assert may(api, account, "create", "leases", NAMESPACE, group="coordination.k8s.io")
    assert not may(api, account, "create", "leases", "team-a", group="coordination.k8s.io")
