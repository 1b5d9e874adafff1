"""Live settings against the real API server: from a patch to the workers' answers, to the status, to events."""

import time

import pytest

from apiclient import wait_for
from integration.operator.test_control_channel import control, heard

pytestmark = pytest.mark.integration
__all__ = ["control", "heard"]  # fixtures

SLOWER = {"step": 31, "values": [{"name": "lr", "value": "0.0001", "step": 31}]}


class Workers:
    """Both workers of the job, which say of live settings what they are told to say."""

    def __init__(self, heard):
        self.heard = heard
        self.tokens = [heard.token(f"digits-0-{worker}") for worker in (0, 1)]

    def say(self, *said):
        """Report once each; return what the answers ask for."""
        time.sleep(0.6)  # reports of a worker that come faster are limited
        found = [
            self.heard.post(token, worker=worker, step=20, totalSteps=99, live=live)
            for worker, (token, live) in enumerate(zip(self.tokens, said, strict=True))
        ]
        assert [200, 200] == [status for status, _ in found]
        return [answer.get("live") for _, answer in found]


@pytest.fixture
def workers(heard):
    return Workers(heard)


def patch(world, wanted):
    world.api.merge(f"{world.jobs}/digits", {"spec": {"liveConfig": wanted}})


def notes(world, reason):
    found = world.api.items(f"/apis/events.k8s.io/v1/namespaces/{world.namespace}/events")
    return [event["note"] for event in found if event["reason"] == reason]


def test_a_patch_is_asked_of_the_workers_and_is_in_status_and_event_when_both_have_it(heard, workers):
    world, none = heard.world, {"step": 1}
    pods = world.pod_names()
    patch(world, {"lr": 1e-4})
    wait_for(lambda: [{"lr": 1e-4}] * 2 == workers.say(none, none), 10, "the answer")
    workers.say(SLOWER, none)
    assert "liveConfig" not in world.status()

    workers.say(SLOWER, SLOWER)
    told = wait_for(lambda: world.status().get("liveConfig"), 15, "the acknowledgement")

    assert [{"name": "lr", "value": "0.0001", "appliedAtStep": 31}] == told
    wait_for(lambda: ["all workers train with lr=0.0001 from step 31 on"] == notes(world, "LiveConfigApplied"), 10)
    assert (0, pods) == (world.status().get("attempt", 0), world.pod_names())
    patch(world, {"lr": None})
    back = {"step": 61}
    wait_for(lambda: [{}, {}] == workers.say(back, back), 10, "the answer")
    wait_for(lambda: "liveConfig" not in world.status(), 15, "the way back")
    wait_for(
        lambda: "all workers train with lr as in spec.config from step 61 on" in notes(world, "LiveConfigApplied"), 9
    )


def test_a_refusal_is_a_condition_and_an_event_and_the_job_trains_on(heard, workers):
    world, why = heard.world, "lr must be > 0 and <= 1"
    refused = {"step": 1, "refused": [{"name": "lr", "value": "50", "reason": "OutOfBounds", "message": why}]}
    patch(world, {"lr": 50})
    wait_for(lambda: [{"lr": 50}] * 2 == workers.say(refused, refused), 10, "the answer")

    condition = wait_for(lambda: world.condition("LiveConfigRefused"), 15, "the condition")

    assert ("True", "OutOfBounds") == (condition["status"], condition["reason"])
    assert f"lr=50: {why}; the values before stay in force" == condition["message"]
    wait_for(lambda: [condition["message"]] == notes(world, "LiveConfigRefused"), 10, "the event")
    assert "Running" == world.status()["phase"]
    patch(world, {"lr": 1e-4})
    wait_for(lambda: [{"lr": 1e-4}] * 2 == workers.say(SLOWER, SLOWER), 10, "the answer")
    wait_for(lambda: "False" == world.condition("LiveConfigRefused")["status"], 15, "the end of it")


def test_names_that_no_task_can_have_and_too_much_of_them_stop_no_job(heard, workers):
    world = heard.world
    patch(world, {"learning rate": 1})
    wait_for(lambda: [{"learning rate": 1}] * 2 == workers.say(None, None), 10, "the answer")
    patch(world, {"learning rate": None, "words": "x" * 3000})
    wait_for(lambda: [None, None] == workers.say(None, None), 10, "no answer")

    condition = wait_for(lambda: world.condition("LiveConfigRefused"), 15, "the condition")

    assert "spec.liveConfig must be at most 2048 bytes as JSON; the values before stay in force" == condition["message"]
    assert "Running" == world.status()["phase"]
