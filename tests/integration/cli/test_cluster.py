"""Commands that change and read a job, against the real API server; the test plays the operator."""

import re
import time
from pathlib import Path

import pytest
import yaml

from ganger.cli import manifests, submit
from ganger.kube.resources import Resource
from integration.cli.conftest import later

pytestmark = pytest.mark.integration


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
