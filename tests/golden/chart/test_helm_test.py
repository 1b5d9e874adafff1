"""The hook of `helm test`: what it trains, with which rights, and what helm does with it."""

import pytest
import yaml

from ganger.api.validate import check_manifest
from golden.chart.test_rights import granted

NAME = "helm-test-ganger"


def hooks(chart, values=None):
    """Every object of the test, by its kind."""
    return {
        found["kind"]: found
        for found in chart.objects(values)
        if "helm.sh/hook" in found["metadata"].get("annotations", {})
    }


def job(chart, values=None):
    """The TrainingJob that the test makes."""
    return yaml.safe_load(hooks(chart, values)["ConfigMap"]["data"]["job.yaml"])


def pod(chart, values=None):
    return hooks(chart, values)["Job"]["spec"]["template"]


def script(chart, values=None):
    return pod(chart, values)["spec"]["containers"][0]["command"][-1]


def test_every_object_of_the_test_goes_when_it_has_passed_and_stays_for_a_look_when_it_has_not(chart):
    found = hooks(chart)

    assert {"ServiceAccount", "Role", "RoleBinding", "ConfigMap", "Job"} == set(found)
    for one in found.values():
        annotations = one["metadata"]["annotations"]
        assert "test" == annotations["helm.sh/hook"]
        assert "before-hook-creation,hook-succeeded" == annotations["helm.sh/hook-delete-policy"]
    assert "hook-succeeded,hook-failed" == found["Job"]["metadata"]["annotations"]["helm.sh/hook-output-log-policy"]


def test_what_the_job_needs_is_made_before_it(chart):
    weights = {
        kind: int(one["metadata"]["annotations"].get("helm.sh/hook-weight", 0)) for kind, one in hooks(chart).items()
    }

    assert ["Job"] == [kind for kind, weight in weights.items() if weight == max(weights.values())]


def test_it_trains_thirty_steps_in_the_image_that_jobs_get_and_fails_at_the_first_failure(chart):
    manifest = job(chart)

    assert [] == check_manifest(manifest)[1]
    assert (30, 0) == (manifest["spec"]["config"]["steps"], manifest["spec"]["failurePolicy"]["maxRestarts"])
    assert "image" not in manifest["spec"]


def test_values_add_to_the_job_and_change_it(chart):
    spec = {"tolerations": [{"operator": "Exists"}], "resources": {"limits": {"memory": "3Gi"}}}
    changed = job(chart, {"test": {"spec": spec}})["spec"]

    assert [{"operator": "Exists"}] == changed["tolerations"]
    assert {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "3Gi"}} == changed["resources"]
    assert 30 == changed["config"]["steps"]


@pytest.mark.parametrize("release", ["ganger", "r" * 53, "0"])
def test_the_job_has_a_name_that_fits_whatever_the_release_is_called(chart, release):
    maps = [found["data"] for found in chart.objects(release=release) if found["kind"] == "ConfigMap"]
    (text,) = [data["job.yaml"] for data in maps if "job.yaml" in data]

    assert [] == check_manifest(yaml.safe_load(text))[1]


@pytest.mark.parametrize(
    ("watched", "expected"),
    [([], "ganger-system"), (["team-a", "ganger-system"], "ganger-system"), (["team-b", "team-a"], "team-b")],
)
def test_it_trains_where_the_operator_watches(chart, watched, expected):
    values = {"watchNamespaces": watched}
    found = hooks(chart, values)

    assert {expected} == {found[kind]["metadata"]["namespace"] for kind in ("Role", "RoleBinding")}
    assert ["ganger-system"] == [subject["namespace"] for subject in found["RoleBinding"]["subjects"]]
    assert script(chart, values).count(f" -n {expected} ") == script(chart, values).count(" -n ")


def test_it_may_make_and_look_at_jobs_and_reads_nothing_else(chart):
    assert {
        *((verb, "ganger.dev", "trainingjobs") for verb in ("create", "get", "list", "watch", "delete")),
        ("create", "", "pods"),  # which the admission policy asks of whoever submits
        ("list", "", "pods"),
        ("list", "", "events"),
    } == granted([hooks(chart)["Role"]])


def test_without_roles_it_has_an_account_that_others_give_rights_to(chart):
    assert {"ServiceAccount", "ConfigMap", "Job"} == set(hooks(chart, {"rbac": {"create": False}}))


def test_its_pod_is_as_restricted_as_the_operators(chart):
    spec, operator = pod(chart)["spec"], chart.one("Deployment")["spec"]["template"]["spec"]

    assert operator["securityContext"] == spec["securityContext"]
    (own,), (other,) = spec["containers"], operator["containers"]
    assert (other["image"], other["securityContext"]) == (own["image"], own["securityContext"])


def test_no_selector_of_the_operator_finds_its_pod(chart):
    labels = pod(chart, {"commonLabels": {"team": "platform"}})["metadata"]["labels"]

    assert {"app.kubernetes.io/component", "app.kubernetes.io/part-of", "team"} == set(labels)


def test_only_a_cluster_that_is_not_ready_yet_is_tried_again(chart):
    spec = hooks(chart)["Job"]["spec"]
    (rule,) = spec["podFailurePolicy"]["rules"]

    # ganger's exit codes: 1 the job failed, 2 the manifest is wrong, 4 the time is over; 3 and 5 mean the cluster.
    assert ("FailJob", [1, 2, 4]) == (rule["action"], rule["onExitCodes"]["values"])
    assert (3, "Never") == (spec["backoffLimit"], spec["template"]["spec"]["restartPolicy"])


def test_it_waits_as_long_as_it_is_told_and_says_why_it_failed(chart):
    said = script(chart, {"test": {"timeoutSeconds": 900}})

    assert f"ganger wait -n ganger-system {NAME} --timeout 900s || {{" in said
    assert f"ganger status -n ganger-system {NAME}\n" in said


def test_it_can_be_left_out(chart):
    assert {} == hooks(chart, {"test": {"enabled": False}})
