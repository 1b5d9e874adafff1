"""The restart ladder against the real API server: what a failed worker is told, and what the status says meanwhile."""

import time

import pytest

from apiclient import wait_for
from ganger.contract import RESTART_CONTAINER_EXIT_CODE

from .test_control_channel import control, heard  # noqa: F401 - fixtures

pytestmark = pytest.mark.integration
FAILURE = {"reason": "ProcessKilled", "message": "rank 1 was ended by SIGKILL", "rank": 1, "exitCode": 137}


def uids(world):
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in world.api.get(world.pods)["items"]}


def test_a_gang_climbs_the_ladder_and_only_the_last_rung_makes_pods(heard):  # noqa: F811
    world, pods = heard.world, uids(heard.world)
    tokens = [heard.token(f"digits-0-{worker}") for worker in (0, 1)]
    spec = world.api.get(f"{world.pods}/digits-0-0")["spec"]["containers"][0]
    assert [RESTART_CONTAINER_EXIT_CODE] == spec["restartPolicyRules"][0]["exitCodes"]["values"]
    for number, rung in enumerate(("Process", "Container"), start=1):
        for worker in (0, 1):
            assert 200 == heard.post(tokens[worker], worker=worker, round=number - 1, step=7)[0]
        wait_for(lambda: world.status()["phase"] == "Running", 10, "running")
        began = time.monotonic()

        status, answer = heard.post(tokens[1], worker=1, round=number - 1, phase="Failed", failure=FAILURE)

        assert (200, number, rung) == (status, answer["round"], answer["rung"])
        print(f"answered after {1000 * (time.monotonic() - began):.0f} ms")
        assert time.monotonic() - began < 2.0, "it was told in the answer, not in the next one"
        told = world.status()
        assert (0, number, "Restarting") == (told.get("attempt", 0), told["round"], told["phase"])
        last = told["restarts"]["last"]
        assert (rung, "ProcessKilled", 137, "digits-0-1") == (
            last["rung"], last["reason"], last["exitCode"], last["pod"],
        )  # fmt: skip
        time.sleep(0.6)
        assert number == heard.post(tokens[0], worker=0, round=number - 1)[1]["round"], "the other one learns it too"
        assert pods == uids(world)

    for worker in (0, 1):
        heard.post(tokens[worker], worker=worker, round=2, step=7)
    wait_for(lambda: world.status()["phase"] == "Running", 10, "running")
    status, _ = heard.post(tokens[1], worker=1, round=2, phase="Failed", failure=FAILURE)

    assert 403 == status
    told = world.status()
    assert (1, 0, "Pods", 3) == (
        told["attempt"], told.get("round", 0), told["restarts"]["last"]["rung"], told["restarts"]["counted"],
    )  # fmt: skip
