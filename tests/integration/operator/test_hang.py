"""A gang that reports and does not move, against the real API server: suspected, asked for its stacks, restarted."""

import time

import pytest

from apiclient import wait_for
from ganger.plan.hang import CONFIRM_SECONDS
from integration.operator.test_control_channel import Control

pytestmark = pytest.mark.integration
LIMIT = 2


@pytest.fixture
def control(world):
    control = Control(world)
    control.start()
    wait_for(world.leader, 20, "a leader")
    return control


class Ranks:
    """Two workers of one rank each that report where they are; they move or stand still."""

    def __init__(self, control, attempt=0):
        self.control, self.attempt = control, attempt
        self.tokens = [control.token(f"digits-{attempt}-{worker}") for worker in (0, 1)]
        self.moved = time.monotonic()
        self.step = 40

    def move(self):
        self.moved, self.step = time.monotonic(), self.step + 1

    def report(self, **said):
        """Both report; the answers. Rank 1 is stopped in the data, rank 0 waits for it."""
        time.sleep(0.6)  # the desk hears a worker twice a second at most
        age = time.monotonic() - self.moved
        answers = []
        for rank, (stage, state) in enumerate((("backward", "S"), ("data", "T" if age > LIMIT else "S"))):
            beat = {
                "rank": rank,
                "step": self.step,
                "steps": self.step,
                "stage": stage,
                "ageSeconds": age,
                "state": state,
            }
            longest = {"first": 0.5, "step": 0.1}
            status, answer = self.control.post(
                self.tokens[rank], attempt=self.attempt, worker=rank, step=self.step, totalSteps=100, ranks=[beat],
                longest=longest, **said,
            )  # fmt: skip
            assert 200 == status, answer
            answers.append(answer)
        return answers


def events(world, reason):
    found = world.api.items(f"/apis/events.k8s.io/v1/namespaces/{world.namespace}/events")
    return [event["note"] for event in found if event["reason"] == reason]


def test_a_gang_that_stands_still_is_restarted_and_its_culprit_named(control):
    world = control.world
    world.running_job(failurePolicy={"hang": {"timeoutSeconds": LIMIT}})
    ranks = Ranks(control)
    for _ in range(4):
        ranks.move()
        ranks.report()
    assert {} == world.condition("HangSuspected")

    def asked():
        wanted = [answer["directives"] for answer in ranks.report()]
        return wanted if all(wanted) else None

    (first,), (second,) = wait_for(asked, 15, "the question for stacks")
    assert first == second
    assert "DumpStacks" == first["kind"]
    assert "True" == world.condition("HangSuspected")["status"]
    suspected = time.monotonic()
    done = {"done": [first["id"]]}
    assert [[], []] == [answer["directives"] for answer in ranks.report(**done)], "they are asked once"

    def restarted():
        last = world.status().get("restarts", {}).get("last")
        if last is None:
            ranks.report(**done)
        return last

    last = wait_for(restarted, CONFIRM_SECONDS + 10, "the restart")
    assert time.monotonic() - suspected >= CONFIRM_SECONDS - 1
    assert ("Hang", 1, "digits-0-1") == (last["reason"], last["rank"], last["pod"])
    assert "rank 1 is stopped (process state T), at step 44, data" in last["message"]
    assert 1 == world.status()["restarts"]["counted"]
    assert "False" == world.condition("HangSuspected")["status"]
    wait_for(lambda: events(world, "HangSuspected"), 15, "the event")
    assert "all ranks show their stacks in their pods' logs" in events(world, "HangSuspected")[0]
    wait_for(lambda: any("Hang: no rank has made progress" in note for note in events(world, "Restarting")), 15)


def test_a_gang_that_moves_again_is_left_alone(control):
    world = control.world
    world.running_job(failurePolicy={"hang": {"timeoutSeconds": LIMIT}})
    ranks = Ranks(control)

    def condition(status):
        ranks.report()
        return world.condition("HangSuspected").get("status") == status

    wait_for(lambda: condition("True"), 15, "the suspicion")
    ranks.move()
    ranks.report()
    wait_for(lambda: world.condition("HangSuspected")["status"] == "False", 5, "its end")
    assert None is world.status().get("restarts")


def test_workers_that_fall_silent_are_not_taken_for_hung(control):
    world = control.world
    world.running_job(failurePolicy={"hang": {"timeoutSeconds": LIMIT}})
    ranks = Ranks(control)
    ranks.report()
    time.sleep(CONFIRM_SECONDS + LIMIT + 2)
    control.world.api.merge(f"{world.jobs}/digits", {"metadata": {"annotations": {"wake": "up"}}})  # a pass
    time.sleep(1)

    assert {} == world.condition("HangSuspected")
    assert "Running" == world.status()["phase"]
