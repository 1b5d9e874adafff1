"""Which fields of a running job the API server lets change: the same as the offline check says."""

import pytest

from ganger.api.freeze import FREE
from ganger.api.types import TrainingJobSpec, decode
from ganger.api.validate import check

BEFORE = {
    "task": "m:t",
    "workers": 2,
    "checkpoint": {"volume": {"size": "1Gi", "accessMode": "ReadWriteMany"}, "everySteps": 5},
    "volumes": [{"name": "v", "emptyDir": {}}],
    "data": [{"name": "set", "url": "https://example.com/a"}],
}
# One change of each field of the spec.
CHANGES = {
    "image": "other:v1",
    "task": "m:u",
    "script": ["a.py"],
    "command": ["a"],
    "config": {"lr": 1},
    "code": {"claim": {"claimName": "c"}},
    "data": [{"name": "set", "url": "https://example.com/b"}],
    "dataCache": {"claimName": "c"},
    "workers": 3,
    "elastic": {"minWorkers": 1, "maxWorkers": 4},
    "processesPerWorker": 2,
    "resources": {"limits": {"memory": "1Gi"}},
    "sharedMemory": "1Gi",
    "env": [{"name": "A", "value": "x"}],
    "envFrom": [{"secretRef": {"name": "s"}}],
    "volumes": [],
    "volumeMounts": [{"name": "v", "mountPath": "/more"}],
    "nodeSelector": {"a": "b"},
    "affinity": {"nodeAffinity": {}},
    "tolerations": [{"key": "a"}],
    "topologySpreadConstraints": [{"maxSkew": 1}],
    "requiredTopologyKey": "topology.kubernetes.io/rack",
    "priorityClassName": "batch",
    "schedulerName": "volcano",
    "serviceAccountName": "other",
    "imagePullSecrets": [{"name": "s"}],
    "runtimeClassName": "nvidia",
    "checkpoint": {"everySteps": 6},
    "failurePolicy": {"maxRestarts": 4},
    "liveConfig": {"lr": 1},
    "export": [{"format": "onnx"}],
    "suspend": True,
    "activeDeadlineSeconds": 9,
    "startDeadlineSeconds": 9,
    "ttlSecondsAfterFinished": 9,
    "cleanPodPolicy": "All",
    "terminationGracePeriodSeconds": 90,
    "profile": "gpu",
    "managedBy": "example.com/other",
}


def job(name: str, **spec):
    """A job with the fields of BEFORE."""
    return {
        "apiVersion": "ganger.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": BEFORE | spec,
    }


@pytest.fixture(scope="module")
def running(server):
    """A job that runs, as far as its spec says."""
    return server.create(job("frozen")).object


@pytest.fixture(scope="module")
def suspended(server):
    """The same, suspended."""
    return server.create(job("thawed", suspend=True)).object


def test_every_field_has_its_change():
    assert set(TrainingJobSpec.__struct_encode_fields__) == set(CHANGES)


@pytest.mark.parametrize("field", CHANGES)
def test_a_running_job_lets_the_free_fields_change_alone(server, running, field):
    # Another program takes the place of the task, lest the job be refused for having two.
    program = {"task": None} if field in ("script", "command") else {}
    answer = server.try_change("frozen", **{field: CHANGES[field]}, **program)

    if field in FREE:
        assert (200, "") == (answer.code, answer.message)
    else:
        assert 422 == answer.code
        changed = answer.message.partition("may change only while the job is suspended:")[2].partition(";")[0].split()
        assert sorted({field, *program}) == sorted(changed), answer.message
        assert "suspend the job first, or create a new one" in answer.message


@pytest.mark.parametrize("field", CHANGES)
def test_a_suspended_job_lets_every_field_change(server, suspended, field):
    program = {"task": None} if field in ("script", "command") else {}
    answer = server.try_change("thawed", **{field: CHANGES[field]}, **program)

    assert (200, "") == (answer.code, answer.message)


def test_a_job_cannot_be_suspended_and_changed_in_one_step(server, running):
    """Its pods are still there: they would belong to neither spec."""
    answer = server.try_change("frozen", suspend=True, image="other:v1")

    assert 422 == answer.code
    assert "may change only while the job is suspended: image;" in answer.message


@pytest.mark.parametrize("field", ["env", "envFrom", "volumeMounts", "nodeSelector", "tolerations", "resources"])
def test_an_empty_field_is_no_change(server, running, field):
    """Writing out what is there already must not be refused: `kubectl apply` of a longer file does that."""
    empty = {} if field in ("nodeSelector", "resources") else []
    answer = server.try_change("frozen", **{field: empty})

    assert (200, "") == (answer.code, answer.message)
    assert [] == check(decode(job("a", **{field: empty})), decode(job("a")))
