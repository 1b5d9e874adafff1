"""`ganger retry`: a failed job anew from its checkpoint, or a word why not, and never a job that is lost."""

import pytest
import yaml

from ganger.kube.errors import Forbidden

CHECKPOINT = {"checkpoint": {"volume": {"size": "1Gi"}, "everySteps": 10}}


def failed(ganger, **spec):
    job = ganger.job(spec=CHECKPOINT | spec, Failed="MaxRestartsReached", checkpoint={"latestStep": 40}, attempt=3)
    job["metadata"] |= {
        "labels": {"team": "vision"},
        "annotations": {
            "mine": "stays",
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
            "ganger.dev/checkpoint-requested-at": "2026-01-01T00:00:00Z",
        },
        "resourceVersion": "7",
    }
    return ganger.cluster.put("trainingjobs", job)


def test_a_failed_job_is_made_again_under_its_name_and_goes_on_from_its_checkpoint(ganger):
    failed(ganger)

    said = ganger("retry", "digits")

    assert (0, "digits retried\n") == (said.code, said.out)
    assert "it goes on from step 40 of claim digits-checkpoints" == said.err.splitlines()[0]
    assert "  ganger watch digits -n team" in said.err
    assert ["delete digits digits-uid", "create digits"] == ganger.cluster.writes
    made = ganger.cluster.objects["trainingjobs", "digits"]
    assert {"team": "vision"} == made["metadata"]["labels"]
    assert {"mine": "stays"} == made["metadata"]["annotations"]
    assert {"task": "m:t", "workers": 2, "suspend": False} | CHECKPOINT == made["spec"]
    assert "status" not in made
    assert "resourceVersion" not in made["metadata"]


@pytest.mark.parametrize(
    "spec, text",
    [
        ({"checkpoint": None}, "it begins at step 0: it keeps no checkpoints"),
        ({"checkpoint": CHECKPOINT["checkpoint"] | {"resume": "Never"}}, "it begins at step 0: resume Never"),
        (
            {"task": None, "script": ["x.py"]},
            "it finds in claim digits-checkpoints what the failed one has saved",
        ),
    ],
)
def test_where_the_new_job_begins_is_told(ganger, spec, text):
    failed(ganger, **spec)

    assert text == ganger("retry", "digits").err.splitlines()[0]


@pytest.mark.parametrize(
    "condition, why",
    [("Complete", "it is complete"), ("Running", "it has not failed: its operator restarts it by itself")],
)
def test_a_job_that_has_not_failed_is_left_alone(ganger, condition, why):
    ganger.job(**{condition: "Test"})

    said = ganger("retry", "digits")

    assert (2, f"  why: {why}") == (said.code, said.problem[1])
    assert [] == ganger.cluster.writes


def test_checkpoints_that_would_go_with_the_job_are_not_lost(ganger):
    failed(ganger, checkpoint={"volume": {"size": "1Gi", "whenDeleted": "Delete"}, "everySteps": 10})

    said = ganger("retry", "digits")

    assert (2, []) == (said.code, ganger.cluster.writes)
    assert "would go with the failed job (whenDeleted: Delete)" in said.problem[1]


def test_nothing_is_deleted_where_the_server_would_refuse_the_new_job(ganger):
    failed(ganger)
    ganger.cluster.refusal = Forbidden(403, "Forbidden", "no more jobs")

    said = ganger("retry", "digits")

    assert (5, []) == (said.code, ganger.cluster.writes)


def test_a_job_that_cannot_be_made_again_after_all_is_printed(ganger):
    failed(ganger)

    async def refuse(resource, namespace, manifest):
        raise Forbidden(403, "Forbidden", "exceeded quota: team")

    ganger.cluster.create = refuse

    said = ganger("retry", "digits")

    assert 5 == said.code
    assert ("digits", 2) == (yaml.safe_load(said.out)["metadata"]["name"], yaml.safe_load(said.out)["spec"]["workers"])
    assert "which is deleted, is on stdout" in said.problem[2]
