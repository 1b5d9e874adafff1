"""`ganger doctor` against the real API server: what it finds there, as whom, and with how many requests."""

import copy
import json

import pytest

from ganger.api.crd import crd
from ganger.cli import examination

pytestmark = pytest.mark.integration
# One for the version, two definitions, one each for Deployments, nodes, storage classes, policies and their bindings,
# and six rights; then scheduling.k8s.io with its versions, and Kueue's group, which is not served.
MOST_REQUESTS = 20


def findings(said):
    return {one["about"]: (one["level"], one["text"]) for one in json.loads(said.out)}


def test_a_bare_cluster_misses_the_operator_and_nodes(ganger):
    nodes = ganger.api.get("/api/v1/nodes")["items"]  # of other tests, and no kubelet is behind them
    said = ganger("doctor", "-o", "json", "--operator-namespace", ganger.namespace)
    found = findings(said)

    assert 1 == said.code, said.err
    assert ("ok", "v1alpha1, as this CLI knows it") == found["TrainingJob"] == found["TrainingProfile"]
    assert "ok" == found["API server"][0]
    assert ("mend", "no Deployment with the label app.kubernetes.io/name=ganger") == found["operator"]
    assert ("mend", f"none of {len(nodes)} is ready") == found["nodes"]
    assert {"ok"} == {level for about, (level, _) in found.items() if about.startswith("may ")}
    assert int(said.err.split("; ")[1].split()[0]) <= MOST_REQUESTS, said.err


def test_a_stranger_sees_what_strangers_may_see_and_no_traceback(ganger, control_plane, tmp_path):
    own = control_plane.kubeconfig_for("admin").read_text()
    stranger = tmp_path / "stranger"
    stranger.write_text(own.replace(control_plane.token_for("admin"), "not-a-token"))

    said = ganger("doctor", kubeconfig=str(stranger))

    assert 1 == said.code
    assert said.out.startswith("mend   API server   does not accept these credentials")


def test_a_user_without_rights_is_told_which_lack(ganger, control_plane):
    accounts = f"/api/v1/namespaces/{ganger.namespace}/serviceaccounts"
    control_plane.api.request("POST", accounts, {"metadata": {"name": "nobody"}})
    account = f"{accounts}/nobody/token"
    token = control_plane.api.request("POST", account, {"spec": {}})["status"]["token"]
    kubeconfig = control_plane.kubeconfig_for("admin").read_text().replace(control_plane.token_for("admin"), token)
    path = ganger._folder / "nobody"
    path.write_text(kubeconfig)

    said = ganger("doctor", "-o", "json", kubeconfig=str(path))
    found = findings(said)

    assert 1 == said.code
    assert ("mend", "no: ganger submit is refused") == found["may create trainingjobs"]
    assert {"unknown"} == {found[about][0] for about in ("TrainingJob", "operator", "nodes", "admission")}


def test_an_operator_of_another_definition_is_noticed(ganger, monkeypatch):
    newer = copy.deepcopy(crd())
    newer["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"].pop("image")
    monkeypatch.setattr(examination, "definitions", lambda: (newer,))

    assert "note" == findings(ganger("doctor", "-o", "json"))["TrainingJob"][0]


def test_a_deployment_and_its_lease_are_found(ganger):
    labels = {"app.kubernetes.io/name": "ganger"}
    pods = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    deployments = f"/apis/apps/v1/namespaces/{ganger.namespace}/deployments"
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": pods}
    ganger.api.create(deployments, {"metadata": {"name": "ganger", "labels": labels}, "spec": spec})

    found = findings(ganger("doctor", "-o", "json", "--operator-namespace", ganger.namespace))

    assert ("mend", f"ganger in namespace {ganger.namespace}: 0 of 0 ready") == found["operator"]
    assert ("mend", "nobody leads: jobs are not looked at") == found["lease"]
    assert "note" == found["metrics"][0]

    leases = f"/apis/coordination.k8s.io/v1/namespaces/{ganger.namespace}/leases"
    now = "2099-01-01T00:00:00.000000Z"
    lease = {"holderIdentity": "me", "renewTime": now, "leaseDurationSeconds": 4}
    ganger.api.create(leases, {"metadata": {"name": "ganger-operator"}, "spec": lease})

    found = findings(ganger("doctor", "-o", "json", "--operator-namespace", ganger.namespace))
    assert ("ok", "me leads") == found["lease"]
