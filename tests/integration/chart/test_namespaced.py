"""Installed by somebody with rights in two namespaces and none in the cluster: Roles alone, and a job completes."""

import pytest
import yaml

from apiclient import wait_for
from ganger_dev import kubeconfig
from golden.chart.rendered import CHART
from golden.chart.test_rights import ISOLATING, NAMESPACED
from integration.chart.conftest import NAMESPACE, Helm
from integration.chart.test_install import DEFINITION, PROFILES, SESSIONS, established, remove_definitions
from integration.chart.test_rights import Restricted, follows

pytestmark = pytest.mark.integration


class Tenant(Restricted):
    """A namespace whose operator has no control channel, as the values say."""

    control = False


@pytest.fixture
def tenant(control_plane, namespaces, namespace, history, tmp_path):
    """A world that the administrator gave the definitions to, and no more."""
    world = Tenant(control_plane, namespace, tmp_path, history)
    world.watched = (namespace,)
    for path, name in (
        (PROFILES, "trainingprofiles"),
        (SESSIONS, "devsessions"),
        (DEFINITION, "trainingjobs"),
    ):
        body = yaml.safe_load((CHART / "files" / f"{name}.yaml").read_text())
        world.api.call("PATCH", f"{path}?fieldManager=kubectl&force=true", body, "application/apply-patch+yaml")
    wait_for(lambda: established(world.api), 30, "the definitions are established")
    wait_for(lambda: follows(world), 30, "the jobs are watched")
    yield world
    for operator in world.operators:
        operator.stop()
    remove_definitions(world.api)


@pytest.fixture
def installer(helm, tenant):
    """helm as an account that may do everything in the two namespaces."""
    api, name = tenant.api, "installer"
    accounts = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
    api.create(accounts, {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": name}})
    for namespace in (NAMESPACE, tenant.namespace):
        api.create(f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings", {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}],
        })  # fmt: skip
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    token = api.create(f"{accounts}/{name}/token", request)["status"]["token"]
    plane = tenant.control_plane
    config = kubeconfig.write(tenant.folder / "installer", name="ganger", url=plane.url, ca=plane.ca, token=token)
    tool = Helm(helm.program, config, tenant.folder)
    yield tool
    helm("uninstall", "ganger", "--ignore-not-found", "--wait")
    api.delete(f"{accounts}/{name}")


def test_rights_in_two_namespaces_suffice_to_install_and_to_train(installer, tenant):
    refused = installer.run("install", "ganger", chart=CHART)
    assert refused.returncode != 0
    assert "cannot" in refused.stderr

    isolating = NAMESPACED | {"operator": NAMESPACED["operator"] | ISOLATING["operator"]}
    installer("install", "ganger", chart=CHART, values=isolating | {"watchNamespaces": [tenant.namespace]})
    tenant.start_operator()
    wait_for(tenant.leader, 30, "a leader")
    tenant.running_job()
    for worker in ("digits-0-0", "digits-0-1"):
        tenant.end(worker, 0)
    tenant.wait_phase("Complete")

    found = tenant.requests()
    assert {NAMESPACE, tenant.namespace} == {request.namespace for request in found}
    assert not {401, 403} & {request.code for request in found}
