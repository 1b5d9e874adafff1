"""All mistakes at once, none that is not one, and null as the API server takes it."""

import pytest

from ganger.api.status import TrainingJobStatus
from ganger.api.validate import check_manifest


def manifest(metadata=None, **spec):
    """A sound job, changed."""
    return {
        "apiVersion": "ganger.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "digits"} if metadata is None else metadata,
        "spec": {"task": "m:t"} | spec,
    }


def said(bad) -> list[str]:
    """The refusals as people read them."""
    return [str(error) for error in check_manifest(bad)[1]]


def paths(bad) -> list[str]:
    """The fields that are blamed."""
    return [error.path for error in check_manifest(bad)[1]]


def test_rules_are_asked_beside_a_structural_mistake():
    bad = manifest(
        {"name": "Digits"},
        workers="2",
        command=["a"],
        failurePolicy={"maxRestarts": -1, "backoff": {"baseSeconds": 9, "capSeconds": 1}},
        env=[{"name": "RANK", "value": "0"}, {"name": "A", "value": 1}],
    )

    assert [
        "metadata.name",
        "spec",
        "spec.env[0].name",
        "spec.env[1].value",
        "spec.failurePolicy.backoff.baseSeconds",
        "spec.failurePolicy.maxRestarts",
        "spec.workers",
    ] == sorted(paths(bad))


@pytest.mark.parametrize(
    "spec, blamed",
    [
        # Rules that read the field must not speak: they would see its default, or nothing.
        ({"workers": "9", "elastic": {"minWorkers": 1, "maxWorkers": 4}}, ["spec.workers"]),
        ({"task": 7}, ["spec.task"]),
        ({"volumes": [{"name": "V", "emptyDir": {}}], "volumeMounts": [{"name": "V", "mountPath": "/a"}]}, None),
        ({"checkpoint": {"volume": {"size": "x"}, "everySteps": 1}}, ["spec.checkpoint.volume.size"]),
        ({"volumes": [{"name": "v", "hostPath": {}}]}, ["spec.volumes[0].hostPath"]),
        ({"elastic": {"minWorkers": 1}}, ["spec.elastic.maxWorkers"]),
    ],
)
def test_a_rule_that_reads_a_misfit_is_not_asked(spec, blamed):
    wanted = blamed or ["spec.volumes[0].name", "spec.volumeMounts[0].name"]

    assert sorted(wanted) == sorted(paths(manifest(**spec)))


def test_null_is_the_same_as_absent():
    nothing = {"workers": None, "env": None, "nodeSelector": {"a": None}, "checkpoint": None}
    job, errors = check_manifest(manifest({"name": "a", "labels": None, "annotations": {"b": None}}, **nothing))

    assert [] == errors
    assert (1, (), {}) == (job.spec.workers, job.spec.env, job.spec.node_selector)


def test_null_does_not_stand_for_what_is_required_nor_for_an_item():
    assert ["spec.elastic.maxWorkers"] == paths(manifest(elastic={"minWorkers": 1, "maxWorkers": None}))
    assert ["spec.volumes[0]"] == paths(manifest(volumes=[None]))
    assert ["spec.replicas"] == paths(manifest(replicas=None))


def test_null_stays_in_a_free_form_field():
    job, _ = check_manifest(manifest(config={"resume": None}))

    assert {"resume": None} == job.spec.config


def test_what_kubectl_wrote_out_is_read_again():
    """`kubectl get tj -o yaml`: metadata of the server's, and a status, which is the server's business."""
    metadata = {
        "name": "digits",
        "namespace": "team",
        "uid": "u",
        "resourceVersion": "1",
        "generation": 2,
        "creationTimestamp": "2026-01-01T12:00:00Z",
        "managedFields": [{"manager": "kubectl"}],
        "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "y"}],
        "finalizers": ["example.com/f"],
    }
    job, errors = check_manifest(manifest(metadata) | {"status": {"phase": "Running"}})

    assert [] == errors
    assert "u" == job.metadata.uid


@pytest.mark.parametrize("status", ["x", {"phase": 7}, {"conditions": [1]}, None, []])
def test_a_status_is_dropped_as_it_is(status):
    job, errors = check_manifest(manifest() | {"status": status})

    assert [] == errors
    assert TrainingJobStatus() == job.status


def test_an_unknown_field_of_a_status_is_refused_all_the_same():
    """The API server looks for it before it drops the status."""
    status = {"phase": "Running", "progress": {"steps": 1}, "conditions": [{"typ": "a"}]}

    assert {
        "status.progress.steps: unknown field; did you mean 'step'?",
        "status.conditions[0].typ: unknown field; did you mean 'type'?",
    } == set(said(manifest() | {"status": status}))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_json_cannot_hold_is_refused_wherever_it_comes_from(number):
    """YAML is refused by its line; a manifest that a program made comes here."""
    refused = said(manifest(config={"a": [{"b": number}]}, resources={"limits": {"cpu": number}}))

    assert "spec.config.a[0].b: must be a finite number: JSON has no NaN and no infinity" == refused[0]
    assert refused[1].startswith("spec.resources.limits.cpu: must be an integer or a string")


def test_the_case_of_the_domain_is_free_in_an_annotation_alone():
    assert [] == said(manifest({"name": "a", "annotations": {"A.B/c": "x"}}))
    assert ["metadata.labels: 'A.B/c' is no key such as team or example.com/team"] == said(
        manifest({"name": "a", "labels": {"A.B/c": "x"}})
    )


@pytest.mark.parametrize(
    "metadata, refusal",
    [
        ([], "metadata: must be an object with a name, not a list"),
        ({}, "metadata.name: is required"),
        ({"name": ""}, "metadata.name: is required"),
        ({"lables": {}}, "metadata.lables: unknown field; did you mean 'labels'?"),
        ({"labels": {"a b": "c"}}, "metadata.labels: 'a b' is no key such as team or example.com/team"),
        ({"labels": {"x..y/b": "c"}}, "metadata.labels: 'x..y/b' is no key such as team or example.com/team"),
        ({"labels": {"a": "x" * 64}}, "metadata.labels.a: must be at most 63 characters, not 64"),
        ({"labels": {"a": 1}}, "metadata.labels.a: must be a string, not an integer (1); put it in quotes"),
        ({"annotations": {"a": "x" * 262_144}}, "metadata.annotations: must be at most 262144 bytes together"),
        (
            {"ownerReferences": [{"kind": "a", "name": "b", "uid": "c"}]},
            "metadata.ownerReferences[0].apiVersion: is required",
        ),
        (
            {"labels": {"a" * 254 + "/b": "c"}},
            f"metadata.labels: '{'a' * 80}...' is no key such as team or example.com/team",
        ),
        ({"generateName": "A-"}, "metadata.generateName: 'A-' is not allowed here: it must look like digits-"),
    ],
)
def test_metadata_is_judged_as_the_api_server_does(metadata, refusal):
    named = {"name": "a"} | metadata if metadata and "name" not in metadata else metadata

    assert [refusal] == said(manifest(named))


def test_another_kind_is_not_judged_by_our_fields():
    assert ["apiVersion: must be ganger.dev/v1alpha1, not 'batch/v1'", "kind: must be TrainingJob, not 'Job'"] == said(
        {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {}}}
    )


@pytest.mark.parametrize("name", ["a\n", "a" * 41, "-a", "a-", "A", "1a", "a.b", "a_b", "\u0430"])
def test_a_name_that_no_host_can_have_is_refused(name):
    assert ["metadata.name"] == paths(manifest({"name": name}))


def test_settings_fit_into_the_environment_of_a_process():
    """The kernel takes 128 KiB in one variable; beyond, the container would not start."""
    assert ["spec.config"] == paths(manifest(config={"a": "x" * 65_536}))
    assert [] == paths(manifest(config={"a": "x" * 60_000}))
    assert ["spec.script"] == paths(manifest(task=None, script=["x" * 4096] * 9))
    assert [] == paths(manifest(task=None, script=["x" * 4096] * 8))
