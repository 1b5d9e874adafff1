"""Commands that change a job which is there already, against the real API server; the test plays the operator."""

import re
from datetime import datetime, timedelta

import pytest

from integration.cli.conftest import later

pytestmark = pytest.mark.integration


def test_suspend_and_resume_change_one_field_and_are_idempotent(ganger):
    ganger("submit", ganger.manifest())

    assert "digits suspended\n" == ganger("suspend", "digits").out
    assert ganger.job()["spec"]["suspend"] is True
    assert "digits is suspended already\n" == ganger("suspend", "digits").out
    assert "digits resumed\n" == ganger("resume", "digits").out
    assert ganger.job()["spec"]["suspend"] is False


def test_a_job_that_ended_cannot_be_resumed(ganger):
    ganger("submit", ganger.manifest())
    ganger.says("Failed")

    said = ganger("resume", "digits")

    assert 2 == said.code
    assert "it is failed, and that is final" in said.err


def test_a_failed_job_is_made_anew_as_it_is_stored(ganger):
    more = "  checkpoint: {volume: {size: 1Gi}, everySteps: 10}\n"
    ganger("submit", ganger.manifest(more=more))
    ganger.says("Failed", checkpoint={"latestStep": 40})
    before = ganger.job()

    said = ganger("retry", "digits")

    assert (0, "digits retried\n") == (said.code, said.out), said.err
    assert "it goes on from step 40 of claim digits-checkpoints" in said.err
    after = ganger.job()
    assert before["metadata"]["uid"] != after["metadata"]["uid"]
    assert before["spec"] == after["spec"]
    assert not after.get("status", {}).get("conditions")
    assert 2 == ganger("retry", "digits").code


@pytest.mark.parametrize(
    "condition, goal, code",
    [
        ("Complete", "complete", 0),
        ("Failed", "complete", 1),
        ("Failed", "failed", 0),
        ("Complete", "failed", 1),
        ("Running", "running", 0),
        ("Suspended", "suspended", 0),
    ],
)
def test_wait_ends_when_the_status_says_so_and_mirrors_it(ganger, condition, goal, code):
    ganger("submit", ganger.manifest())
    timer = later(lambda: ganger.says(condition))

    said = ganger("wait", "digits", "--for", goal, "--timeout", "20s")
    timer.join()

    assert code == said.code, said.err
    assert said.out.startswith("digits ")


def test_wait_gives_up_in_time(ganger):
    ganger("submit", ganger.manifest())

    said = ganger("wait", "digits", "--timeout", "1s")

    assert 4 == said.code
    assert "job digits is not complete after 1 s" in said.err


def test_wait_says_when_the_job_is_deleted_or_was_never_there(ganger):
    ganger("submit", ganger.manifest())
    timer = later(lambda: ganger.api.delete(f"{ganger.jobs}/digits"))

    assert 3 == ganger("wait", "digits", "--timeout", "20s").code
    timer.join()
    said = ganger("wait", "digits", "--timeout", "20s")

    assert 3 == said.code
    assert "there is no job digits" in said.err


def test_a_checkpoint_is_asked_for_in_an_annotation_and_waited_for(ganger):
    more = "  checkpoint: {volume: {size: 1Gi}, everySteps: 10}\n"
    ganger("submit", ganger.manifest(more=more))
    assert "error: job digits cannot be asked for a checkpoint" in ganger("request", "digits", "checkpoint").err
    ganger.says("Running", phase="Running")
    created = datetime.fromisoformat(ganger.job()["metadata"]["creationTimestamp"])

    def save():
        asked = ganger.job()["metadata"]["annotations"]["ganger.dev/checkpoint-requested-at"]
        ganger.says("Running", checkpoint={"latestStep": 7, "latestTime": asked})

    timer = later(save, 1.5)
    said = ganger("request", "digits", "checkpoint", "--wait", "--timeout", "30s")
    timer.join()

    assert (0, "digits: checkpoint requested\ndigits: checkpoint of step 7 committed\n") == (said.code, said.out)
    text = ganger.job()["metadata"]["annotations"]["ganger.dev/checkpoint-requested-at"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text)
    assert created <= datetime.fromisoformat(text) < created + timedelta(minutes=1)


def test_stacks_are_asked_for_beside_the_annotations_that_are_there(ganger):
    ganger("submit", ganger.manifest())
    ganger.says("Running", phase="Running")
    ganger.api.merge(f"{ganger.jobs}/digits", {"metadata": {"annotations": {"team": "vision"}}})

    said = ganger("request", "digits", "stacks")

    assert 0 == said.code, said.err
    annotations = ganger.job()["metadata"]["annotations"]
    assert {"team", "ganger.dev/stacks-requested-at"} == set(annotations)


def test_a_setting_is_changed_waited_for_and_taken_back_beside_those_that_are_there(ganger):
    ganger("submit", ganger.manifest(more="  liveConfig: {clipNorm: 2}\n"))
    ganger.says("Running", phase="Running")

    def apply():
        assert {"clipNorm": 2, "lr": 0.0001} == ganger.job()["spec"]["liveConfig"]
        ganger.says("Running", liveConfig=[{"name": "lr", "value": "0.0001", "appliedAtStep": 41}])

    timer = later(apply, 1.5)
    said = ganger("set", "digits", "lr=1e-4", "--wait", "--timeout", "30s")
    timer.join()

    assert (0, "digits: lr=0.0001 requested\ndigits: lr=0.0001 holds from step 41 on\n") == (said.code, said.out), (
        said.err
    )
    assert 0 == ganger("set", "digits", "lr-", "clipNorm-").code
    assert {} == ganger.job()["spec"]["liveConfig"]
