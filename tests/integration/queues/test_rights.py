"""The operator with the chart's rights and no others, where Kueue is: no refusal, and no right in vain."""

import pytest

from apiclient import wait_for
from ganger_dev import binaries, kubeconfig
from golden.chart.rendered import Chart
from golden.chart.test_rights import granted, roles_of
from integration.chart.test_rights import requests_of
from integration.operator.test_session import Desk
from integration.queues.conftest import LABEL, Queues

pytestmark = pytest.mark.integration
RBAC = "/apis/rbac.authorization.k8s.io/v1"


def bind(world, rules):
    """A service account of the namespace with these rules; its token."""
    name = f"{world.namespace}-operator"
    core = f"/api/v1/namespaces/{world.namespace}/serviceaccounts"
    world.api.create(core, {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": "operator"}})
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}}
    world.api.create(f"{RBAC}/clusterroles", role | {"rules": rules})
    binding = role | {"kind": "ClusterRoleBinding"}
    binding["roleRef"] = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    binding["subjects"] = [{"kind": "ServiceAccount", "name": "operator", "namespace": world.namespace}]
    world.api.create(f"{RBAC}/clusterrolebindings", binding)
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    return world.api.create(f"{core}/operator/token", request)["status"]["token"]


def life_of_a_queued_job(world):
    """Priorities of both kinds, admission, another queue while it waits, suspension and the end."""
    world.queue_job("digits", {"kueue.x-k8s.io/priority-class": f"{world.namespace}-high"})
    names = world.train("digits")
    world.queue_job("plain", queue="nowhere")  # its priority is the cluster's default
    wait_for(lambda: world.workload("plain"), 20, "the Workload of plain")
    world.api.merge(f"{world.jobs}/plain", {"metadata": {"labels": {"kueue.x-k8s.io/queue-name": "team"}}})
    wait_for(lambda: world.workload("plain")["spec"]["queueName"] == "team", 20, "another queue")
    world.api.merge(f"{world.jobs}/digits", {"spec": {"suspend": True}})
    world.stop_pods(names)
    wait_for(lambda: world.workload("digits") is None, 20, "no Workload of a suspended job")
    world.finish(world.train("plain"))
    world.wait_told("plain", "Finished", "True", "Succeeded")


def life_of_a_queued_session(world):
    """Its admission, its end and what follows."""
    desk = Desk(world)
    desk.make(labels={LABEL: "team"}, resources={"requests": {"cpu": "1"}})
    desk.run()
    world.wait_told("notes", "PodsReady", "True", "Started")
    desk.end()
    wait_for(lambda: world.workload("notes") is None, 20, "no Workload of a session at rest")


def test_kueues_rights_of_the_chart_are_what_jobs_and_sessions_in_queues_use(
    control_plane, kueue, crd, namespace, history, tmp_path
):
    if binaries.missing(["helm"]):
        pytest.skip("helm is not built: `make test` builds it, or `python -m ganger_dev.binaries helm`")
    chart = Chart(binaries.path_of("helm"))
    roles = roles_of(chart.objects())
    world = Queues(control_plane, namespace, tmp_path, history)
    world.make_queue()
    token = bind(world, [rule for role in roles for rule in role["rules"]])
    plane = control_plane
    config = kubeconfig.write(tmp_path / "kubeconfig", name="ganger", url=plane.url, ca=plane.ca, token=token)
    operator = world.start_operator(KUBECONFIG=str(config))
    try:
        wait_for(world.leader, 20, "a leader")
        life_of_a_queued_job(world)
        life_of_a_queued_session(world)
    finally:
        operator.stop()
    found = list(requests_of(plane, f"system:serviceaccount:{namespace}:operator"))
    without = granted(roles_of(chart.objects({"operator": {"kueue": False}})))
    used = {(request.verb, request.group, request.resource) for request in found}

    assert [] == [request for request in found if request.code in (401, 403)]
    assert granted(roles) - without == used - without
