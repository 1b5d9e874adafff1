"""Live progress: what real workers say while they train, through the Service of the chart, into `kubectl get`."""

import base64
import json
import time
import urllib.error
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from apiclient import ApiClient, wait_for
from ganger_dev import images

pytestmark = pytest.mark.e2e
EXAMPLES = Path(__file__).parents[2] / "jobs" / "examples"
SYSTEM = "ganger-system"


def example(name, **config):
    job = yaml.safe_load((EXAMPLES / name / "job.yaml").read_text())
    if config:
        job["spec"]["config"] |= config
    return job


def watched(namespace, name, until):
    """Every status of the job from now until `until` holds for one."""
    found = []

    def ended():
        status = namespace.status(name)
        if not found or status != found[-1]:
            found.append(status)
        if until(status):
            return True
        assert status.get("phase") != "Failed", f"{status}\n{namespace.logs(name)}"
        return False

    wait_for(ended, 180, f"{name}: the end of the watch")
    return found


def seconds(status):
    return status["goodput"]["seconds"]


def age(job, status):
    begin = datetime.fromisoformat(job["metadata"]["creationTimestamp"])
    return (datetime.fromisoformat(status["goodput"]["accountedTime"]) - begin).total_seconds()


def test_progress_is_seen_while_the_job_trains(namespace):
    namespace.apply(example("digits", epochs=400))
    first = watched(namespace, "digits", lambda status: status.get("progress", {}).get("etaTime"))[-1]
    later = watched(namespace, "digits", lambda status: status["progress"]["step"] > first["progress"]["step"])[-1]
    job = namespace.job("digits")

    assert "Running" == first["phase"]
    assert 0 < first["progress"]["step"] < later["progress"]["step"] < later["progress"]["totalSteps"]
    assert later["progress"]["samplesPerSecond"] > 0
    assert later["progress"]["etaEarliestTime"] <= later["progress"]["etaTime"] <= later["progress"]["etaLatestTime"]
    assert abs(sum(seconds(later).values()) - age(job, later)) < 0.01
    gap = datetime.fromisoformat(later["progress"]["updatedTime"]) - datetime.fromisoformat(
        first["progress"]["updatedTime"]
    )
    assert gap.total_seconds() >= 9.9, "one status write in ten seconds"
    header, line = namespace.kubectl("get", "tj", "digits", "-o", "wide").splitlines()
    assert ["STEP", "PROGRESS", "LOSS"] == [word for word in header.split() if word in ("STEP", "PROGRESS", "LOSS")]
    assert later["progress"]["percent"] in line
    assert later["progress"]["loss"] in line
    namespace.kubectl("delete", "tj", "digits", "--wait=true")


def test_a_whole_job_accounts_for_its_time(namespace):
    namespace.apply(example("digits", epochs=40))
    namespace.kubectl("wait", "--for=condition=Complete", "tj/digits", "--timeout=120s")
    job = namespace.job("digits")
    status = job["status"]
    parts = seconds(status)

    assert abs(sum(parts.values()) - age(job, status)) < 0.01
    assert parts["starting"] > 0
    assert parts["productive"] > 0
    assert parts.get("lost", 0) == 0
    assert 0 < status["goodput"]["ratio"] < 1


def test_a_checkpoint_is_saved_on_request(namespace):
    manifest = example("digits", epochs=400)
    manifest["spec"]["checkpoint"]["everySteps"] = 1_000_000
    namespace.apply(manifest)
    wait_for(lambda: namespace.status("digits").get("progress", {}).get("step"), 120, "a step")
    assert namespace.status("digits").get("checkpoint") is None
    command = namespace.installed.ganger(
        "-n", namespace.name, "request", "digits", "checkpoint", "--wait", "--timeout", "60s"
    )
    out, err = command.communicate(timeout=90)

    assert 0 == command.returncode, (out, err, namespace.logs("digits"))
    assert namespace.status("digits")["checkpoint"]["latestStep"] > 0
    assert namespace.status("digits")["checkpoint"]["verified"]
    namespace.kubectl("delete", "tj", "digits", "--wait=true")


def test_stacks_are_shown_on_request_and_training_goes_on(namespace):
    namespace.apply(example("digits", epochs=400))
    wait_for(lambda: namespace.status("digits").get("progress", {}).get("step"), 120, "a step")
    command = namespace.installed.ganger("-n", namespace.name, "request", "digits", "stacks")
    out, err = command.communicate(timeout=60)
    assert 0 == command.returncode, (out, err)

    wait_for(lambda: "loop.py" in namespace.kubectl("logs", "digits-0-0"), 30, "stacks of worker 0")
    wait_for(lambda: "loop.py" in namespace.kubectl("logs", "digits-0-1"), 30, "stacks of worker 1")
    before = namespace.status("digits")["progress"]["step"]
    wait_for(lambda: namespace.status("digits")["progress"]["step"] > before, 40, "further steps")
    namespace.kubectl("delete", "tj", "digits", "--wait=true")


def test_training_goes_on_while_the_operator_is_away(installed, namespace):
    namespace.apply(example("digits", epochs=100))
    wait_for(lambda: namespace.status("digits").get("progress", {}).get("step"), 120, "a step")
    installed.kubectl("-n", SYSTEM, "scale", "deployment/ganger", "--replicas=0")
    try:
        wait_for(lambda: not installed.operators(), 60, "no operator")
        pods = wait_for(
            lambda: (
                (pods := namespace.pods("digits"))
                and all(pod["status"]["phase"] == "Succeeded" for pod in pods)
                and pods
            ),
            120,
            "the workers end well by themselves",
        )
    finally:
        installed.kubectl("-n", SYSTEM, "scale", "deployment/ganger", "--replicas=2")
        installed.kubectl("-n", SYSTEM, "rollout", "status", "deployment/ganger", "--timeout=120s")
    status = namespace.wait_phase("digits", "Complete")

    assert 2 == len(pods)
    assert "100%" == status["progress"]["percent"]
    assert 0 == status.get("restarts", {}).get("total", 0)


def test_an_unmodified_hugging_face_script_shows_its_progress(installed, namespace):
    image = images.huggingface()
    images.build(image)
    images.load(image, installed.embedded.containerd)
    manifest = example("huggingface")
    manifest["spec"]["env"] = [{"name": "MAX_STEPS", "value": "500"}]
    namespace.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    statuses = watched(
        namespace,
        "huggingface",
        lambda status: status.get("phase") == "Running" and 0 < status.get("progress", {}).get("step", 0) < 500,
    )
    live = statuses[-1]["progress"]

    assert 500 == live["totalSteps"]
    wait_for(lambda: namespace.status("huggingface").get("progress", {}).get("loss"), 60, "a loss")
    status = namespace.wait_phase("huggingface", "Complete", 300)
    assert (500, "100%") == (status["progress"]["step"], status["progress"]["percent"])
    assert float(status["progress"]["loss"]) < 4.0, "ln 256 = 5.5 is what an untrained model has"


def test_the_workers_token_opens_nothing_else(namespace):
    """A leaked token names one job's pod: the API server itself does not know it."""
    namespace.apply(example("digits", epochs=400))
    wait_for(lambda: namespace.status("digits").get("phase") == "Running", 120, "running")
    token = namespace.kubectl("exec", "digits-0-0", "--", "cat", "/var/run/ganger/token").strip()
    plane = namespace.installed.embedded.plane
    with pytest.raises(urllib.error.HTTPError) as refused:
        ApiClient(plane.url, plane.ca, token).call("GET", "/api/v1/pods")

    assert 401 == refused.value.code
    assert time.time() < json.loads(_payload(token))["exp"] <= time.time() + 3700
    namespace.kubectl("delete", "tj", "digits", "--wait=true")


def _payload(token):
    part = token.split(".")[1]
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
