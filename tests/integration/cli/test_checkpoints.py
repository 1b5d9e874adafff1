"""`ganger checkpoints` against the real API server."""

import pytest

pytestmark = pytest.mark.integration


def put(ganger, job):
    path = f"/api/v1/namespaces/{ganger.namespace}/persistentvolumeclaims"
    labels = {"app.kubernetes.io/managed-by": "ganger", "ganger.dev/job": job}
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    ganger.api.create(path, {"metadata": {"name": f"{job}-checkpoints", "labels": labels}, "spec": spec})


def test_what_is_saved_and_what_is_left_is_listed_and_the_latter_pruned(ganger):
    ganger("submit", ganger.manifest(more="  checkpoint: {volume: {size: 1Gi}, everySteps: 10}\n"))
    ganger.says("Running", phase="Running", checkpoint={"latestStep": 7, "bytes": 2048, "verified": True, "kept": 1})
    put(ganger, "digits")
    put(ganger, "old")

    said = ganger("checkpoints", "ls")

    assert 0 == said.code, said.err
    assert [
        ["digits", "running", "7", "2.0", "KiB", "yes", "1", "digits-checkpoints", "Pending", "1Gi"],
        ["old", "job", "is", "gone", "old-checkpoints", "Pending", "1Gi"],
    ] == [line.split() for line in said.out.splitlines()[1:]]

    assert 2 == ganger("checkpoints", "prune").code
    pruned = ganger("checkpoints", "prune", "--yes")

    assert (0, "old-checkpoints deleted\n") == (pruned.code, pruned.out)
    path = f"/api/v1/namespaces/{ganger.namespace}/persistentvolumeclaims"
    left = [item["metadata"] for item in ganger.api.items(path) if not item["metadata"].get("deletionTimestamp")]
    assert ["digits-checkpoints"] == [one["name"] for one in left]
