"""The definition on a real API server: accepted as it is, and every promise of it kept."""

import json
import os
import subprocess

import pytest

from apiclient import wait_for
from ganger.api.defaults import fill
from ganger.api.types import decode, encode
from ganger.api.validate import check_manifest
from ganger_dev import binaries


def manifest(name: str, **spec):
    """A small job."""
    return {
        "apiVersion": "ganger.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {"task": "m:t"} | spec,
    }


@pytest.fixture
def definition(api):
    """The definition as the server keeps it."""
    return api.get("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/trainingjobs.ganger.dev")


@pytest.fixture
def kubectl(control_plane, server):
    """kubectl as a user has it, in the namespace of the jobs."""
    program = str(binaries.ensure("kubectl")["kubectl"])
    namespace = server.jobs.split("/")[-2]

    def run(*arguments: str) -> str:
        command = [program, "--kubeconfig", str(control_plane.kubeconfig), "-n", namespace, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"HOME": "/nonexistent"})
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_schema_is_structural_and_every_rule_within_the_cost_budget(definition):
    """The server drops nothing of it, complains of nothing, and would refuse rules that may cost too much."""
    conditions = {one["type"]: one for one in definition["status"]["conditions"]}

    assert "NonStructuralSchema" not in conditions
    assert "KubernetesAPIApprovalPolicyConformant" not in conditions
    assert "True" == conditions["NamesAccepted"]["status"]


def test_kubectl_knows_the_job_by_its_short_names_and_categories(server, kubectl):
    server.create(manifest("named", workers=3))

    for word in ("tj", "tjob", "trainingjob", "trainingjobs", "training", "all"):
        assert "trainingjob.ganger.dev/named" in kubectl("get", word, "-o", "name")


def test_kubectl_shows_the_columns(server, api, kubectl):
    labels = {"kueue.x-k8s.io/queue-name": "team-a"}
    body = manifest("columns", image="pytorch-cuda:v2.15")
    server.create(body | {"metadata": {"name": "columns", "labels": labels}})
    status = {
        "phase": "Running",
        "workers": "2/2",
        "progress": {"step": 120, "percent": "45%", "loss": "0.25", "etaTime": "2030-01-01T00:00:00Z"},
        "restarts": {"total": 1},
        "message": "it trains",
    }
    api.merge(f"{server.jobs}/columns/status", {"status": status})

    head, row = kubectl("get", "tj", "columns").splitlines()
    assert ["NAME", "PHASE", "WORKERS", "STEP", "PROGRESS", "LOSS", "RESTARTS", "AGE"] == head.split()
    assert ["columns", "Running", "2/2", "120", "45%", "0.25", "1"] == row.split()[:7]

    head, row = kubectl("get", "tj", "columns", "-o", "wide").splitlines()
    assert ["ETA", "CHECKPOINT", "QUEUE", "IMAGE", "PROFILE", "MESSAGE"] == head.split()[8:]
    assert "2030-01-01T00:00:00Z" in row
    assert "team-a" in row
    assert row.rstrip().endswith("it trains")


def test_kubectl_explains_every_field(kubectl):
    text = kubectl("explain", "tj.spec.checkpoint.volume", "--api-version=ganger.dev/v1alpha1")

    assert "Size of the volume that is made for the job." in text
    assert "whenDeleted" in text


def test_jobs_are_selected_by_fields(server, api):
    server.create(manifest("selected", suspend=True, priorityClassName="batch", managedBy="example.com/other"))
    server.create(manifest("not-selected"))
    api.merge(f"{server.jobs}/selected/status", {"status": {"phase": "Suspended"}})
    fields = {
        "spec.suspend": "true",
        "spec.priorityClassName": "batch",
        "spec.managedBy": "example.com/other",
        "status.phase": "Suspended",
    }
    for field, value in fields.items():
        found = api.items(f"{server.jobs}?fieldSelector={field}={value}")

        # Other tests keep jobs here too.
        assert {"selected"} == {job["metadata"]["name"] for job in found} & {"selected", "not-selected"}


def test_the_scale_subresource_resizes_an_elastic_job_within_its_bounds(server, api):
    server.create(manifest("elastic", workers=2, elastic={"minWorkers": 1, "maxWorkers": 4}))
    api.merge(f"{server.jobs}/elastic/status", {"status": {"readyWorkers": 2, "selector": "a=b"}})
    scale = api.get(f"{server.jobs}/elastic/scale")

    assert (2, 2, "a=b") == (scale["spec"]["replicas"], scale["status"]["replicas"], scale["status"]["selector"])

    path = f"{server.jobs}/elastic/scale"
    patch = "application/merge-patch+json"
    assert 200 == server.ask("PATCH", path, {"spec": {"replicas": 4}}, patch).code
    refused = server.ask("PATCH", path, {"spec": {"replicas": 5}}, patch)
    assert 422 == refused.code
    assert "elastic.minWorkers..elastic.maxWorkers" in refused.message


def test_status_is_a_world_of_its_own(server, api):
    """A user cannot forge a status on creation, and the controller cannot change the spec beside it."""
    made = server.create(manifest("forged") | {"status": {"phase": "Complete"}})
    after = api.merge(f"{server.jobs}/forged/status", {"spec": {"task": "x:y"}, "status": {"phase": "Running"}})

    assert "status" not in made.object
    assert ("m:t", "Running") == (after["spec"]["task"], after["status"]["phase"])


def test_the_status_that_the_controller_writes_is_accepted_and_comes_back(server, api):
    from builders import T0
    from ganger.api.conditions import upsert
    from ganger.api.status import Progress, TrainingJobStatus

    server.create(manifest("told"))
    status = TrainingJobStatus(
        phase="Running",
        conditions=upsert((), "Running", True, "GangRuns", "all workers run", now=T0, generation=1),
        progress=Progress(step=1, loss="nan", samples_per_second=1.5),
    )
    api.merge(f"{server.jobs}/told/status", {"status": encode(status)})

    assert status == decode(api.get(f"{server.jobs}/told")).status


def test_the_server_fills_in_the_defaults_of_the_types(server):
    """What the controller decodes is the same, whether the server filled it in or the types did."""
    sent = manifest("filled", checkpoint={"volume": {"size": "1Gi"}, "everySteps": 5}, failurePolicy={}, workers=2)
    stored = server.try_(sent).object

    assert decode(sent).spec == decode(stored).spec
    assert fill(decode(sent), "i").spec == fill(decode(stored), "i").spec
    # What a profile may say is stored as it was written, or nobody could tell what the user said.
    assert sent["spec"] | {"suspend": False, "processesPerWorker": "auto", "resources": {}} == stored["spec"]


def test_null_is_the_same_as_absent(server):
    answer = server.try_(manifest("nulls", workers=None, env=None, checkpoint=None, nodeSelector={"a": None}))

    assert (201, 1) == (answer.code, answer.object["spec"]["workers"])


@pytest.mark.parametrize(
    "more",
    [
        {"status": "x"},
        {"status": {"phase": 7}},
        {"status": {"progress": {"steps": 1}}},
        {"metadata": {"name": "a", "labels": {"a" * 254 + "/b": "c"}}},
        {"metadata": {"name": "a", "annotations": {"A.B/c": "x"}}},
        {"metadata": {"name": "a", "finalizers": [1]}},
        {"metadata": {"name": "a", "uid": 7}},
        {"metadata": {"name": "a", "ownerReferences": [{"kind": "K", "name": "n", "uid": "u"}]}},
        {"metadata": {"name": "a", "resourceVersion": "1", "selfLink": "x", "managedFields": [{"manager": "m"}]}},
        {"spec": {"task": "m:t", "resources": {"limits": {"memory": 10**19}}}},
        {"spec": {"task": "m:t", "config": {"a": 10**30}}},
    ],
    ids=str,
)
def test_what_surrounds_the_spec_is_judged_alike(server, more):
    body = manifest("a") | more

    assert server.try_(body).accepted == (not check_manifest(body)[1])


@pytest.mark.parametrize("field", ["script", "command"])
def test_a_program_must_fit_into_a_variable(server, field):
    """By its whole length: each word may be long, and there may be many."""
    answers = [server.try_(manifest("long", task=None, **{field: ["x" * 4096] * words})) for words in (8, 9)]

    assert [201, 422] == [answer.code for answer in answers]
    assert f"spec.{field}" in answers[1].message


@pytest.mark.parametrize("strictness, code", [("Strict", 400), ("Warn", 201), ("Ignore", 201)])
def test_unknown_fields_are_refused_under_strict_validation_alone(server, api, strictness, code):
    """Without it the server drops them: so the CLI always asks for it, as kubectl does."""
    import urllib.error

    path = f"{server.jobs}?dryRun=All&fieldValidation={strictness}"
    body = manifest("strict", replicas=2)
    if code == 201:
        assert "replicas" not in api.call("POST", path, body)["spec"]
        return
    with pytest.raises(urllib.error.HTTPError) as refused:
        api.call("POST", path, body)

    assert code == refused.value.code
    assert 'unknown field "spec.replicas"' in json.loads(refused.value.read())["message"]


def test_the_definition_survives_a_second_installation(api, crd, definition):
    """`helm upgrade` and `kubectl apply --server-side` send it again and again."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/trainingjobs.ganger.dev"
    from ganger.api.crd import crd as wanted

    url = f"{path}?fieldManager=test&force=true"
    api.call("PATCH", url, wanted(), "application/apply-patch+yaml")

    wait_for(lambda: api.get(path)["metadata"]["generation"] == definition["metadata"]["generation"], 5, "generation")
