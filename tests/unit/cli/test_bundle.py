"""`ganger report`: what is in the file, that no canary is, and what is said of what could not be read."""

import json
import stat
import tarfile

import pytest

from ganger.api.crd import definitions
from ganger.kube.errors import Forbidden

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJDQU5BUlkifQ.Q0FOQVJZQ0FOQVJZ"


@pytest.fixture
def troubled(ganger, monkeypatch, tmp_path):
    """A job with a restarted worker, an operator, and a canary wherever a secret could be."""
    monkeypatch.chdir(tmp_path)

    async def version():
        return (1, 37)

    async def discover(group):
        return {}

    async def review(resource, spec):
        return json.dumps({"status": {"allowed": True}}).encode()

    ganger.cluster.version, ganger.cluster.discover, ganger.cluster.review = version, discover, review
    for one in definitions():
        ganger.cluster.put("customresourcedefinitions", one)
    job = ganger.job(
        spec={
            "env": [{"name": "WANDB_API_KEY", "value": "CANARY-env"}],
            "config": {"password": "CANARY-config", "lr": 0.1},
            "checkpoint": {"volume": {"size": "1Gi"}, "everySteps": 10},
        },
        Running="Test",
        message="refused: token=CANARY-status",
    )
    job["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": '{"x":"CANARY-applied"}'}
    job["metadata"]["managedFields"] = [{"manager": "CANARY-manager"}]
    ganger.cluster.put("trainingjobs", job)
    pod = ganger.pod(0)
    pod["spec"] = {"containers": [{"name": "trainer", "env": [{"name": "HF_TOKEN", "value": "CANARY-pod"}]}]}
    pod["status"]["containerStatuses"][0]["restartCount"] = 1
    ganger.cluster.put("pods", pod)
    ganger.cluster.put("persistentvolumeclaims", {"metadata": {"name": "digits-checkpoints"}})
    event = {"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "digits-0-0"}, "reason": "Failed"}
    ganger.cluster.put("events", event | {"message": "pull with password=CANARY-event"})
    ganger.cluster.put(
        "deployments",
        {
            "metadata": {"name": "o", "namespace": "system", "labels": {"app.kubernetes.io/name": "ganger"}},
            "spec": {"env": [{"name": "DB_PASSWORD", "value": "CANARY-operator"}]},
        },
    )
    ganger.cluster.put(
        "pods",
        {
            "metadata": {"name": "o-1", "labels": {"app.kubernetes.io/name": "ganger"}},
            "spec": {"containers": [{"name": "operator"}]},
        },
    )
    ganger.logs.pods = {
        "digits-0-0": ["2026-01-01T12:00:01Z step 1 loss 0.5\n", f"2026-01-01T12:00:01Z bearer {JWT}\n"],
        "digits-0-0 previous": ["2026-01-01T12:00:00Z logged in as CANARY-env, url https://me:CANARY-url@h/\n"],
        "o-1": [
            f"2026-01-01T12:00:00Z {json.dumps(line)}\n"
            for line in (
                {"msg": "about it", "job": "digits", "namespace": "team", "level": "info"},
                {"msg": "FOREIGN", "job": "other", "namespace": "team", "level": "error"},
                {"msg": "lease lost", "level": "error"},
                {"msg": "QUIET", "level": "info"},
            )
        ],
    }
    return ganger


def contents(path):
    with tarfile.open(path) as archive:
        return {one.name.partition("/")[2]: archive.extractfile(one).read().decode() for one in archive.getmembers()}


def test_everything_is_in_it_and_no_secret_is(troubled, tmp_path):
    said = troubled("report", "digits")

    assert (0, "digits-report.tar.gz\n") == (said.code, said.out), said.err
    found = contents("digits-report.tar.gz")
    assert [
        "README.txt",
        "job.yaml",
        "pods.yaml",
        "events.txt",
        "claim.yaml",
        "status.txt",
        "logs/digits-0-0.log",
        "logs/digits-0-0.previous.log",
        "operator/system/deployment.yaml",
        "operator/system/o-1.log",
        "doctor.txt",
        "versions.txt",
    ] == list(found)
    whole = "\n".join(found.values())
    assert "CANARY" not in whole
    assert JWT not in whole
    assert "lr: 0.1" in found["job.yaml"]
    assert "step 1 loss 0.5" in found["logs/digits-0-0.log"]
    assert "logged in as <redacted>" in found["logs/digits-0-0.previous.log"]
    assert found["status.txt"].startswith("digits is running")
    assert "not in it" not in said.err


def test_of_the_operators_log_only_what_is_about_the_job_or_a_trouble_is_taken(troubled):
    troubled("report", "digits", "-f", "r.tgz")

    log = contents("r.tgz")["operator/system/o-1.log"]
    assert (True, True, False, False) == tuple(word in log for word in ("about it", "lease lost", "FOREIGN", "QUIET"))


def test_the_file_is_the_owners_and_is_not_written_over(troubled, tmp_path):
    troubled("report", "digits")

    assert 0o600 == stat.S_IMODE((tmp_path / "digits-report.tar.gz").stat().st_mode)
    again = troubled("report", "digits")
    assert (2, "error: digits-report.tar.gz is there already") == (again.code, again.problem[0])
    assert 0 == troubled("report", "digits", "--force").code
    assert ["digits-report.tar.gz"] == [one.name for one in tmp_path.iterdir()]


def test_what_may_not_be_read_is_told_and_the_rest_is_there(troubled):
    listed = troubled.cluster.list

    async def refusing(resource, *arguments, **named):
        if resource.plural in ("deployments", "events"):
            raise Forbidden(403, "Forbidden", f"cannot list {resource.plural}")
        return await listed(resource, *arguments, **named)

    troubled.cluster.list = refusing
    troubled.logs.pods["digits-0-0"] = [Forbidden(403, "Forbidden", "cannot get pods/log")]

    said = troubled("report", "digits")

    assert 0 == said.code
    assert [
        "not in it: events: cannot list events",
        "not in it: logs/digits-0-0.log: cannot get pods/log",
        "not in it: operator: cannot list deployments",
    ] == said.err.splitlines()[:3]
    assert "logs/digits-0-0.previous.log" in contents("digits-report.tar.gz")


def test_a_job_that_is_not_there_leaves_no_file(troubled, tmp_path):
    assert 3 == troubled("report", "nothing").code
    assert [] == list(tmp_path.iterdir())
