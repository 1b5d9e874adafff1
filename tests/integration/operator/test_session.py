"""Sessions against the real API server: their starts and ends, their Secret, a fork, an operator without the kind."""

import base64
import json
import signal
import time

import pytest

from apiclient import wait_for
from sessions import KEY

pytestmark = pytest.mark.integration
IDLE = {"outcome": "Ended", "reason": "Idle", "message": "idle for 60 s", "lastActivityTime": "2026-01-01T00:00:00Z"}


class Desk:
    """The sessions of a world, with pods that obey."""

    def __init__(self, world) -> None:
        self.world = world
        self.api = world.api
        self.path = f"/apis/ganger.dev/v1alpha1/namespaces/{world.namespace}/devsessions"
        self.secrets = f"/api/v1/namespaces/{world.namespace}/secrets"
        assert world.history.follow(self.path)

    def make(self, name="notes", labels=None, **spec):
        metadata = {"name": name, "labels": labels or {}}
        body = {"apiVersion": "ganger.dev/v1alpha1", "kind": "DevSession", "metadata": metadata, "spec": spec}
        return self.api.create(self.path, body)

    def status(self, name="notes"):
        return (self.api.get(f"{self.path}/{name}") or {}).get("status", {})

    def wait_phase(self, phase, name="notes", timeout=20):
        wait_for(lambda: self.status(name).get("phase") == phase, timeout, f"{phase}, not {self.status(name)}")

    def change(self, body, name="notes"):
        return self.api.merge(f"{self.path}/{name}", body)

    def secret(self, name="notes"):
        return self.api.get(f"{self.secrets}/{name}-dev")

    def token(self, name="notes"):
        return base64.b64decode(self.secret(name)["data"]["token"]).decode()

    def say(self, pod, phase, state, *, ready=False):
        """The kubelet's word."""
        container = {"name": "session", "state": state, "image": "x", "imageID": "", "ready": ready, "restartCount": 0}
        status = {"phase": phase, "containerStatuses": [container]}
        condition = {"type": "Ready", "status": "True" if ready else "False"}
        self.api.merge(f"{self.world.pods}/{pod}/status", {"status": status | {"conditions": [condition]}})

    def run(self, pod="notes-dev-0"):
        wait_for(lambda: pod in self.world.pod_names(), 20, f"pod {pod}, not {self.world.pod_names()}")
        self.say(pod, "Running", {"running": {"startedAt": "2026-01-01T00:00:00Z"}}, ready=True)

    def end(self, pod="notes-dev-0", said=IDLE, code=0):
        times = {"startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T01:00:00Z"}
        word = {"exitCode": code, "reason": "Completed", "message": json.dumps(said)}
        self.say(pod, "Failed" if code else "Succeeded", {"terminated": word | times})

    def written(self):
        """Phase and message at each write of the session."""
        told = (found.get("status", {}) for kind, found in self.world.history.events if found["kind"] == "DevSession")
        return [(status.get("phase"), status.get("message")) for status in told]


@pytest.fixture
def desk(operated):
    return Desk(operated)


def test_a_session_runs_with_three_writes_and_none_while_it_idles(desk):
    desk.make(ssh={"authorizedKeys": [KEY]}, storage={"size": "1Gi"})
    desk.wait_phase("Starting")  # a kubelet that is faster than that write would save it
    desk.run()
    desk.wait_phase("Running")
    claim = desk.api.get(f"/api/v1/namespaces/{desk.world.namespace}/persistentvolumeclaims/notes-workspace")
    pod = desk.api.get(f"{desk.world.pods}/notes-dev-0")
    desk.api.merge(f"{desk.world.pods}/notes-dev-0", {"metadata": {"labels": {"a": "b"}}})  # news, of no meaning
    time.sleep(0.5)
    # The scheduler may have had its word in between, about whatever nodes other tests have left, which is told as well.
    words = ("nodes", "persistentvolumeclaim")
    written = desk.written()
    own = [phase for phase, message in written if not any(one in (message or "").lower() for one in words)]
    assert [None, "Starting", "Running"] == list(dict.fromkeys(phase for phase, _ in written))
    assert len(own) <= 3, written

    assert ("notes-dev", "notes-dev-0") == (desk.status()["secretName"], desk.status()["pod"])
    assert "ownerReferences" not in claim["metadata"]
    assert f"{KEY}\n" == pod["metadata"]["annotations"]["ganger.dev/authorized-keys"]
    assert 43 == len(desk.token())
    assert [("DevSession", "notes")] == [(o["kind"], o["name"]) for o in desk.secret()["metadata"]["ownerReferences"]]
    events = desk.api.items(f"/api/v1/namespaces/{desk.world.namespace}/events")
    log = desk.world.operators[0].log.read_text()
    for text in (json.dumps(events), json.dumps(desk.api.get(f"{desk.path}/notes")), json.dumps(pod), log):
        assert desk.token() not in text


def test_changed_keys_change_in_the_pod_that_runs_with_one_write_and_none_to_the_session(desk):
    desk.make(ssh={"authorizedKeys": [KEY]})
    desk.run()
    desk.wait_phase("Running")
    before, told = desk.api.get(f"{desk.world.pods}/notes-dev-0"), desk.status()["message"]
    desk.change({"spec": {"ssh": {"authorizedKeys": [f"{KEY}-laptop"]}}})

    def keys():
        return desk.api.get(f"{desk.world.pods}/notes-dev-0")["metadata"]["annotations"]["ganger.dev/authorized-keys"]

    wait_for(lambda: f"{KEY}-laptop\n" == keys(), 20, "the new key, and the old one no more")
    pods = [found for kind, found in desk.world.history.events if found["kind"] == "Pod"]
    after = desk.api.get(f"{desk.world.pods}/notes-dev-0")
    wait_for(lambda: desk.status()["observedGeneration"] == 2, 20, "the session was looked at")
    assert (told, before["metadata"]["uid"], before["spec"]) == (
        desk.status()["message"],
        after["metadata"]["uid"],
        after["spec"],
    )
    assert 1 == len([found for found in pods if f"{KEY}-laptop" in str(found["metadata"]["annotations"])])


def test_an_idle_session_is_culled_and_goes_on_with_its_token_when_it_is_asked_to(desk):
    desk.make()
    desk.run()
    desk.wait_phase("Running")
    token = desk.token()
    desk.end()
    desk.wait_phase("Culled")
    desk.world.wait_pods(timeout=40)
    assert ("2026-01-01T00:00:00Z", "idle for 60 s") == (
        desk.status()["lastActivityTime"],
        desk.status()["message"],
    )

    desk.change({"metadata": {"annotations": {"ganger.dev/start-requested-at": "2999-01-01T00:00:00Z"}}})
    desk.run("notes-dev-1")
    desk.wait_phase("Running")
    assert (1, None, token) == (desk.status()["start"], desk.status().get("endTime"), desk.token())


def test_a_session_is_stopped_and_started_and_deleted_with_everything_but_its_claim(desk):
    desk.make(storage={"size": "1Gi"})
    desk.run()
    desk.wait_phase("Running")
    desk.change({"spec": {"suspend": True}})
    desk.world.wait_pods(timeout=40)
    desk.wait_phase("Stopped")
    token = desk.token()
    desk.api.delete(f"{desk.secrets}/notes-dev")  # whoever may do that has another token at the next start
    desk.change({"spec": {"suspend": False}})
    desk.run("notes-dev-1")
    desk.wait_phase("Running")
    assert token != desk.token()
    desk.api.delete(f"{desk.path}/notes")

    wait_for(lambda: desk.secret() is None and not desk.world.pod_names(), 60, "Secret and pod are collected")
    assert desk.api.get(f"/api/v1/namespaces/{desk.world.namespace}/persistentvolumeclaims/notes-workspace")


def test_a_session_of_the_same_name_never_gets_the_token_of_its_predecessor(desk):
    desk.make()
    desk.run()
    old = desk.token()
    desk.api.delete(f"{desk.path}/notes")
    made = desk.make()
    wait_for(lambda: desk.secret() and desk.token() != old, 60, "a Secret of its own")
    wait_for(lambda: "notes-dev-0" in desk.world.pod_names(), 60, "its pod")
    pod = desk.api.get(f"{desk.world.pods}/notes-dev-0")

    assert made["metadata"]["uid"] == pod["metadata"]["ownerReferences"][0]["uid"]
    assert made["metadata"]["uid"] == desk.secret()["metadata"]["ownerReferences"][0]["uid"]


def test_a_fork_waits_for_its_job_takes_it_over_and_outlives_it(desk):
    desk.make(fromJob="digits")
    wait_for(lambda: "there is no TrainingJob digits" in desk.status().get("message", ""), 20, "it says what it lacks")
    assert ("Pending", []) == (desk.status()["phase"], desk.world.pod_names())
    desk.world.submit(
        workers=1,
        image="mine:1",
        env=[{"name": "LEVEL", "value": "1"}],
        checkpoint={"volume": {"size": "1Gi"}, "everySteps": 1},
    )
    desk.run()
    desk.wait_phase("Running")
    (container,) = desk.api.get(f"{desk.world.pods}/notes-dev-0")["spec"]["containers"]
    mounts = {mount["mountPath"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}
    env = {one["name"]: one.get("value") for one in container["env"]}

    assert ("mine:1", True) == (container["image"], mounts["/checkpoints"])
    assert ("1", "digits", "m:t") == (env["LEVEL"], env["GANGER_JOB"], env["GANGER_TASK"])
    desk.api.delete(f"{desk.world.jobs}/digits")
    wait_for(lambda: desk.world.pod_names() == ["notes-dev-0"], 60, "the job's pods are gone")
    assert "Running" == desk.status()["phase"]


def test_a_pod_that_is_deleted_makes_room_for_another_one(desk):
    desk.make()
    desk.run()
    desk.wait_phase("Running")
    desk.api.delete(f"{desk.world.pods}/notes-dev-0", gracePeriodSeconds=0)
    desk.run("notes-dev-1")
    desk.wait_phase("Running")

    assert 1 == desk.status()["start"]


def test_another_operator_takes_over_without_a_second_pod(desk):
    desk.make()
    desk.run()
    desk.wait_phase("Running")
    uid = desk.api.get(f"{desk.world.pods}/notes-dev-0")["metadata"]["uid"]
    first = desk.world.operators[0]
    desk.world.start_operator("operator-b")
    first.signal(signal.SIGKILL)
    wait_for(lambda: desk.world.leader().startswith("operator-b"), 40, "the other one leads")
    desk.end()
    desk.wait_phase("Culled")

    assert [uid] == [pod["metadata"]["uid"] for kind, pod in desk.world.history.events if is_made(kind, pod)]


def is_made(kind, found):
    return (kind, found["kind"]) == ("ADDED", "Pod")


def test_a_session_in_a_queue_waits_and_says_that_kueue_is_not_served(desk):
    assert None is desk.api.get("/apis/kueue.x-k8s.io"), "another test installed Kueue before this one"
    desk.make(labels={"kueue.x-k8s.io/queue-name": "team"})
    desk.wait_phase("Pending")
    wait_for(lambda: "install Kueue 0.15 or later, or remove the label" in desk.status().get("message", ""), 20)

    assert [] == desk.world.pod_names()


def test_every_pod_that_a_session_can_be_is_taken_by_the_pod_security_level_restricted(desk):
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    desk.api.merge(f"/api/v1/namespaces/{desk.world.namespace}", {"metadata": {"labels": labels}})
    desk.make(ssh={"authorizedKeys": [KEY]}, storage={"claimName": "home", "path": "ann"}, fromJob="digits")
    desk.world.submit(workers=1, checkpoint={"volume": {"size": "1Gi"}, "everySteps": 1})
    desk.run()
    desk.wait_phase("Running")
