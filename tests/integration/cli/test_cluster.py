"""Commands that change and read a job, against the real API server; the test plays the operator."""

import re
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import yaml

from ganger.cli import manifests, submit
from ganger.kube.resources import Resource

pytestmark = pytest.mark.integration


def later(call, seconds=0.4):
    timer = threading.Timer(seconds, call)
    timer.start()
    return timer


def test_a_job_is_submitted_listed_and_deleted(ganger):
    submitted = ganger("submit", "-f", ganger.manifest())

    assert (0, "digits submitted\n") == (submitted.code, submitted.out)
    assert f"ganger logs -f digits -n {ganger.namespace}" in submitted.err
    assert ["digits", "Pending", "0/2", "0"] == ganger("list", "--no-headers").out.split()[:4]
    assert "trainingjob.ganger.dev/digits\n" == ganger("list", "-o", "name").out
    assert "ganger" == ganger.job()["metadata"]["managedFields"][0]["manager"]

    deleted = ganger("delete", "digits", "--yes")

    assert (0, "digits deleted\n") == (deleted.code, deleted.out)
    assert ganger.job() is None
    assert "no jobs in namespace" in ganger("list").err


def test_a_generated_name_is_told_and_names_the_next_commands(ganger):
    path = Path(ganger.manifest())
    path.write_text(path.read_text().replace("name: digits", "generateName: digits-"))

    said = ganger("submit", str(path))

    assert 0 == said.code, said.err
    name = said.out.split()[0]
    assert re.fullmatch(r"digits-[a-z0-9]{5}", name)
    assert f"ganger watch {name} -n {ganger.namespace}" in said.err
    assert ganger.job(name) is not None


def test_a_dry_run_of_the_server_shows_what_it_would_store_and_refuse_and_stores_nothing(ganger):
    said = ganger("submit", ganger.manifest(), "--dry-run", "server")

    assert 0 == said.code, said.err
    stored = yaml.safe_load(said.out)
    assert ("m:t", 2, "auto", False) == tuple(
        stored["spec"][field] for field in ("task", "workers", "processesPerWorker", "suspend")
    )
    assert {"name", "namespace", "uid", "creationTimestamp", "generation"} == set(stored["metadata"])
    assert ganger.job() is None
    assert 0 == ganger("submit", ganger.manifest()).code
    assert "already exists" in ganger("submit", ganger.manifest(), "--dry-run=server").err


def test_what_the_server_warns_of_is_told_on_stderr(ganger):
    policies = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
    name = f"warn-{ganger.namespace}"
    match = {"apiGroups": ["ganger.dev"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["trainingjobs"]}
    ganger.api.create(
        policies,
        {
            "metadata": {"name": name},
            "spec": {
                "matchConstraints": {"resourceRules": [match]},
                "validations": [{"expression": "object.spec.workers <= 2", "message": "more than 2 workers here"}],
            },
        },
    )
    selector = {"matchLabels": {"kubernetes.io/metadata.name": ganger.namespace}}
    ganger.api.create(
        f"{policies[:-8]}policybindings",
        {
            "metadata": {"name": name},
            "spec": {
                "policyName": name,
                "validationActions": ["Warn"],
                "matchResources": {"namespaceSelector": selector},
            },
        },
    )
    end = time.monotonic() + 30  # the API server takes a moment to compile a policy
    while "warning: " not in (said := ganger("submit", ganger.manifest(workers=3), "--dry-run=server")).err:
        assert time.monotonic() < end, "the policy never held"
        time.sleep(0.2)

    assert 0 == said.code
    assert "more than 2 workers here" in said.err


def test_another_user_is_asked_for_and_has_no_rights_of_the_kubeconfigs(ganger):
    said = ganger("list", "--as", "ann", "--as-group", "nobody-knows")

    assert 5 == said.code
    assert 'User "ann" cannot list resource "trainingjobs"' in said.err
    assert 0 == ganger("list", "--as", "ann", "--as-group", "system:masters").code


def test_the_definitions_of_the_cluster_are_of_this_version(ganger):
    said = ganger("version")

    assert 0 == said.code, said.err
    lines = {line.split("  ")[0]: line for line in said.out.splitlines()}
    assert "v1alpha1, as this CLI knows it" in lines["TrainingJob"]
    kinds = {"TrainingJob", "TrainingProfile", "DevSession"}
    assert {"client", "API server", "operator"} | kinds == set(lines)


def test_deleting_asks_first_and_does_nothing_without_an_answer(ganger):
    ganger("submit", ganger.manifest())

    said = ganger("delete", "digits")

    assert 2 == said.code
    assert "fix: add --yes" in said.err
    assert ganger.job() is not None


def test_a_name_that_is_taken_is_told_skipped_or_replaced(ganger):
    path = ganger.manifest()
    ganger("submit", path)
    uid = ganger.job()["metadata"]["uid"]

    refused = ganger("submit", path)
    assert 2 == refused.code
    assert "already exists" in refused.err
    assert "--if-exists replace" in refused.err

    assert "digits is there already\n" == ganger("submit", path, "--if-exists", "skip").out
    assert uid == ganger.job()["metadata"]["uid"]

    assert "digits replaced\n" == ganger("submit", path, "--if-exists", "replace").out
    assert uid != ganger.job()["metadata"]["uid"]


def test_a_namespace_that_does_not_exist_is_named(ganger):
    said = ganger("submit", ganger.manifest(), namespace="nowhere")

    assert 3 == said.code
    assert "why: there is no namespace nowhere" in said.err
    assert "fix: kubectl create namespace nowhere" in said.err


def test_a_cluster_without_the_operator_is_told_with_the_command_that_installs_it(ganger, monkeypatch):
    # The real answer for a group that nobody serves; the definition itself is shared with other tests.
    absent = Resource(group="absent.dev", version="v1alpha1", plural="trainingjobs", kind="TrainingJob")
    monkeypatch.setattr(submit, "TRAINING_JOBS", absent)

    said = ganger("submit", ganger.manifest())

    assert 3 == said.code
    assert "why: the operator is not installed in this cluster" in said.err
    assert "fix: helm install ganger" in said.err


def test_a_manifest_with_a_mistake_is_never_sent(ganger):
    path = ganger.manifest(workers=0)

    said = ganger("submit", path)

    assert 2 == said.code
    assert f"{path}:7: spec.workers: must be at least 1" in said.err
    assert ganger.job() is None


def test_a_field_that_only_the_server_refuses_is_told_with_its_line(ganger, monkeypatch):
    bad = ganger.manifest(workers=0)
    good = manifests.check_manifest

    def blind(manifest):
        return good(manifest | {"spec": manifest["spec"] | {"workers": 1}})

    monkeypatch.setattr(manifests, "check_manifest", blind)

    said = ganger("submit", bad)

    assert 2 == said.code
    assert f"why: {bad}:7: spec.workers: " in said.err
    assert "should be greater than or equal to 1" in said.err


def test_what_a_policy_of_the_cluster_refuses_is_told_in_its_words(ganger):
    policies = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
    name = f"small-{ganger.namespace}"
    match = {"apiGroups": ["ganger.dev"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["trainingjobs"]}
    body = {
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [match]},
            "validations": [{"expression": "object.spec.workers <= 2", "message": "at most 2 workers here"}],
        },
    }
    selector = {"matchLabels": {"kubernetes.io/metadata.name": ganger.namespace}}
    binding = {
        "metadata": {"name": name},
        "spec": {
            "policyName": name,
            "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": selector},
        },
    }
    ganger.api.create(policies, body)
    ganger.api.create(f"{policies[:-8]}policybindings", binding)
    end = time.monotonic() + 30  # the API server takes a moment to compile a policy
    while (said := ganger("submit", ganger.manifest(workers=3), "--if-exists", "replace")).code == 0:
        assert time.monotonic() < end, "the policy never held"
        time.sleep(0.2)

    assert 5 == said.code
    assert "at most 2 workers here" in said.err
    assert "fix: change what the policy names" in said.err


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


def test_a_page_of_a_job_tells_progress_and_obstacles(ganger):
    ganger("submit", ganger.manifest())
    ganger.says(
        "Running",
        phase="Running",
        workers="2/2",
        progress={"step": 50, "totalSteps": 200, "percent": "25%", "loss": "0.5"},
    )

    said = ganger("status", "digits")

    assert 0 == said.code, said.err
    assert said.out.startswith("digits is running: step 50 of 200 (25%), loss 0.5\n")
    assert "ganger logs -f digits" in said.out
    assert "digits" in ganger("status", "digits", "-o", "yaml").out


def test_a_job_without_pods_has_no_logs_yet(ganger):
    ganger("submit", ganger.manifest())

    said = ganger("logs", "digits")

    assert 3 == said.code
    assert "error: job digits has no logs yet" in said.err
    assert "fix: 'ganger logs -f digits' waits for them" in said.err


@pytest.mark.parametrize("node", ["", "nowhere"])
def test_logs_that_the_api_server_cannot_fetch_are_told(ganger, node):
    ganger("submit", ganger.manifest())
    labels = {
        "ganger.dev/job-uid": ganger.job()["metadata"]["uid"],
        "ganger.dev/attempt": "0",
        "ganger.dev/worker": "0",
    }
    owner = {
        "apiVersion": "ganger.dev/v1alpha1",
        "kind": "TrainingJob",
        "name": "digits",
        "uid": labels["ganger.dev/job-uid"],
        "controller": True,
    }
    container = {"name": "trainer", "image": "x", "env": [{"name": "GANGER_ATTEMPT", "value": "0"}]}
    ganger.api.create(
        ganger.pods,
        {
            "metadata": {"name": "digits-0-0", "labels": labels, "ownerReferences": [owner]},
            "spec": {"nodeName": node, "containers": [container]},
        },
    )

    assert 3 == ganger("logs", "digits").code

    running = {"name": "trainer", "state": {"running": {}}, "image": "x", "imageID": "", "ready": True}
    status = {"phase": "Running", "containerStatuses": [running | {"restartCount": 0}]}
    ganger.api.merge(f"{ganger.pods}/digits-0-0/status", {"status": status})
    said = ganger("logs", "digits")

    # Without a node the API server says "not yet"; of a node that does not answer it says so.
    assert (0 if not node else 5) == said.code, said.err
    assert node in said.err
    assert "Traceback" not in said.err


def test_following_a_job_ends_with_it(ganger):
    ganger("submit", ganger.manifest())
    timer = later(lambda: ganger.says("Complete"))

    said = ganger("logs", "-f", "digits")
    timer.join()

    assert 0 == said.code, said.err
    assert "digits is complete" in said.err


def test_submit_and_watch_mirrors_how_the_job_ends(ganger):
    timer = later(lambda: ganger.says("Failed", "MaxRestartsReached"), 1.0)

    said = ganger("submit", ganger.manifest(), "--watch")
    timer.join()

    assert 1 == said.code, said.err
    assert "digits failed: MaxRestartsReached" in said.err


def test_a_context_that_does_not_exist_is_told(ganger):
    said = ganger("list", "--context", "nowhere")

    assert 5 == said.code
    assert "error: there is no way to a cluster" in said.err
    assert "fix: 'kubectl config get-contexts'" in said.err


def test_a_stranger_is_told_to_log_in_again(ganger, control_plane, tmp_path):
    own = control_plane.kubeconfig_for("admin").read_text()
    stranger = tmp_path / "stranger"
    stranger.write_text(own.replace(control_plane.token_for("admin"), "not-a-token"))

    said = ganger("list", kubeconfig=str(stranger))

    assert 5 == said.code
    assert "why: the API server does not accept these credentials" in said.err
    assert "fix: log in again" in said.err
