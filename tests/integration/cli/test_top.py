"""`ganger top` against the real API server, which serves no metrics.k8s.io."""

import json

import pytest

pytestmark = pytest.mark.integration


def test_what_pods_of_a_job_hold_is_added_up(ganger):
    ganger("submit", ganger.manifest())
    owner = {
        "apiVersion": "ganger.dev/v1alpha1",
        "kind": "TrainingJob",
        "name": "digits",
        "uid": ganger.job()["metadata"]["uid"],
        "controller": True,
    }
    resources = {"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"nvidia.com/gpu": "2"}}
    for worker in range(2):
        labels = {
            "app.kubernetes.io/managed-by": "ganger",
            "ganger.dev/job": "digits",
            "ganger.dev/job-uid": owner["uid"],
            "ganger.dev/attempt": "0",
            "ganger.dev/worker": str(worker),
        }
        environment = [{"name": "GANGER_ATTEMPT", "value": "0"}]
        container = {"name": "trainer", "image": "x", "resources": resources, "env": environment}
        metadata = {"name": f"digits-0-{worker}", "labels": labels, "ownerReferences": [owner]}
        ganger.api.create(ganger.pods, {"metadata": metadata, "spec": {"containers": [container]}})

    said = ganger("top", "-o", "json")

    assert 0 == said.code, said.err
    held = {"pods": 2, "gpu": 4, "cpu": 0.5, "memory": 2 << 30}
    assert [held | {"namespace": ganger.namespace, "job": "digits"}] == json.loads(said.out)
    assert ["digits", "2", "4", "500m", "2.0", "GiB"] == ganger("top").out.splitlines()[1].split()
    assert 0 == ganger("top", "nodes").code
