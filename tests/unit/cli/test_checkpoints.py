"""`ganger checkpoints`: a row for each job and each volume that is left; prune takes the latter alone."""

import json
import sys

import pytest

from builders import at

SPEC = {"checkpoint": {"volume": {"size": "1Gi"}, "everySteps": 10}}
POINT = {"latestStep": 600, "latestTime": at(0).isoformat(), "bytes": 12_897_485, "verified": True, "kept": 3}


def claim(ganger, job="digits", phase="Bound", name=None, **labels):
    labels = {"app.kubernetes.io/managed-by": "ganger", "ganger.dev/job": job} | labels
    status = {"phase": phase} | ({"capacity": {"storage": "1Gi"}} if phase == "Bound" else {})
    spec = {"resources": {"requests": {"storage": "2Gi"}}}
    metadata = {"name": name or f"{job}-checkpoints", "namespace": "team", "labels": labels}
    return ganger.cluster.put("persistentvolumeclaims", {"metadata": metadata, "spec": spec, "status": status})


def rows(said):
    return [" ".join(line.split()) for line in said.out.splitlines()]


def test_a_row_tells_what_the_status_knows_and_what_is_left(ganger):
    ganger.job(spec=SPEC, phase="Running", checkpoint=POINT | {"quarantined": ["step_500.corrupt"]})
    ganger.job("new", spec=SPEC)
    ganger.job("none")
    claim(ganger)
    claim(ganger, "new", phase="Pending")
    claim(ganger, "old")

    said = ganger("checkpoints", "ls")

    assert 0 == said.code
    assert [
        "JOB STATE STEP AGE SIZE VERIFIED KEPT DAMAGED CLAIM VOLUME",
        "digits running 600 60s 12.3 MiB yes 3 1 digits-checkpoints Bound 1Gi",
        "new pending new-checkpoints Pending 2Gi",
        "old job is gone old-checkpoints Bound 1Gi",
    ] == rows(said)
    assert [
        "digits: damaged and never loaded: step_500.corrupt",
        "a job of the same name goes on from what is left; 'ganger checkpoints prune' deletes it",
    ] == said.err.splitlines()


def test_one_job_is_shown_alone_and_for_scripts(ganger):
    ganger.job(spec=SPEC, checkpoint=POINT)
    ganger.job("other", spec=SPEC)

    (one,) = json.loads(ganger("checkpoints", "ls", "digits", "-o", "json").out)

    assert {
        "job": "digits",
        "exists": True,
        "claim": "digits-checkpoints",
        "step": 600,
        "time": at(0).isoformat(),
        "bytes": 12_897_485,
        "verified": True,
        "kept": 3,
        "damaged": [],
    } == one
    assert "missing" in ganger("checkpoints", "ls", "digits").out


def test_what_is_not_there_is_told(ganger):
    assert (0, "") == (ganger("checkpoints", "ls").code, ganger("checkpoints", "ls").out)
    assert 3 == ganger("checkpoints", "ls", "digits").code


def test_prune_deletes_what_is_left_and_nothing_else(ganger):
    ganger.job(spec=SPEC)
    shared = {"volume": {"claimName": "lent-checkpoints"}, "everySteps": 10}
    ganger.job(
        "borrower", spec={"checkpoint": shared, "volumes": [{"name": "d", "claim": {"claimName": "data-checkpoints"}}]}
    )
    claim(ganger)
    claim(ganger, "old")
    claim(ganger, "lent")  # a living job names it
    claim(ganger, "data")
    claim(ganger, "old", name="my-own")  # labelled by hand
    claim(ganger, "gone", **{"app.kubernetes.io/managed-by": "somebody"})

    said = ganger("checkpoints", "prune", "--yes")

    assert (0, "old-checkpoints deleted\n") == (said.code, said.out)
    assert ["delete old-checkpoints old-checkpoints-uid"] == ganger.cluster.writes
    assert "nothing to prune" in ganger("checkpoints", "prune").err


def test_prune_asks_and_without_an_answer_deletes_nothing(ganger, monkeypatch):
    claim(ganger, "old")

    said = ganger("checkpoints", "prune")
    assert (2, "  fix: add --yes") == (said.code, said.problem[2])

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    for answer, code in ((False, 1), (True, 0)):
        monkeypatch.setattr("click.confirm", lambda *_, answer=answer, **__: answer)
        assert code == ganger("checkpoints", "prune").code
    assert ["delete old-checkpoints old-checkpoints-uid"] == ganger.cluster.writes


def test_a_job_that_begins_while_one_is_asked_keeps_its_volume(ganger, monkeypatch):
    claim(ganger, "old")
    claim(ganger, "older")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.confirm", lambda *_, **__: bool(ganger.job("old", spec=SPEC)))

    said = ganger("checkpoints", "prune")

    assert (0, "older-checkpoints deleted\n") == (said.code, said.out)
    assert "old-checkpoints stays: it is in use, or gone" in said.err


def test_prune_of_one_job_leaves_the_others(ganger):
    claim(ganger, "old")
    claim(ganger, "older")

    assert "old-checkpoints deleted\n" == ganger("checkpoints", "prune", "old", "-y").out
    assert 2 == ganger("checkpoints", "ls", "-y").code


@pytest.mark.parametrize("stamp, left", [(None, True), ("2026-01-01T12:00:00Z", False)])
def test_a_claim_that_is_being_deleted_is_not_deleted_again(ganger, stamp, left):
    one = claim(ganger, "old")
    if stamp:
        one["metadata"]["deletionTimestamp"] = stamp
        ganger.cluster.put("persistentvolumeclaims", one)

    assert left == ("old-checkpoints deleted" in ganger("checkpoints", "prune", "-y").out)
