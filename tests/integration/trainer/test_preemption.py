"""SIGTERM at every moment of a gang's life (F40): nothing is lost, or only what came after the last checkpoint."""

import signal
import socket

import pytest

from apiclient import wait_for

pytestmark = pytest.mark.integration
STEPS = 60
EVERY = {"everySteps": 20}


@pytest.fixture
def undisturbed(gangs):
    """The shards of the last step of a gang that nothing happened to."""
    whole = gangs("whole", config={"steps": STEPS}, checkpoint=EVERY)
    assert [0, 0] == whole.run().codes
    return whole.shards(STEPS)


@pytest.fixture
def held(gangs, tmp_path):
    """A gang that waits somewhere until `go` is made."""

    def make(**hold):
        gang = gangs(
            "held", config={"steps": STEPS, "stepSleep": 0.02, "go": str(tmp_path / "go")} | hold, checkpoint=EVERY
        )
        gang.go = tmp_path / "go"
        return gang.start()

    return make


def finish(gang):
    """The attempt after the disrupted one, with nothing held."""
    gang.go.touch()
    gang.attempt += 1
    ending = gang.run()
    assert [0, 0] == ending.codes
    return ending.messages[0].get("resumedFromStep"), gang.shards(STEPS)


@pytest.mark.parametrize("told", [0, 1])
def test_in_the_middle_of_a_step_all_stop_after_one_agreed_step_and_none_is_lost(held, undisturbed, told):
    gang = held(holdAt=33)
    gang.wait_for("step 33 is held")
    gang.signal(told)
    gang.go.touch()
    ending = gang.end()

    assert [143, 143] == ending.codes
    (step,) = {message["step"] for message in ending.messages}
    assert 33 <= step == ending.messages[0]["checkpoint"]["step"]
    assert (step, undisturbed) == finish(gang)


def test_in_the_middle_of_a_checkpoint_that_one_is_committed_and_the_last_step_too(held, undisturbed):
    gang = held(holdSave=20)
    gang.wait_for("the save is held")
    gang.signal(1)
    gang.go.touch()
    ending = gang.end()

    assert [143, 143] == ending.codes
    step = ending.messages[0]["step"]
    assert ["step_20", f"step_{step}"] == [name for name in gang.entries() if name.startswith("step_")]
    assert (step, undisturbed) == finish(gang)


def test_before_the_first_step_it_ends_at_once(held, undisturbed):
    gang = held(holdModel=True)
    gang.wait_for("the model is held", 1)
    gang.signal(1)
    assert 143 == gang.pods[1].wait(5)
    gang.signal(0)
    ending = gang.end(5)

    assert [143, 143] == ending.codes
    assert ["it had not begun to train"] * 2 == [message["message"] for message in ending.messages]
    assert (None, undisturbed) == finish(gang)


def test_during_the_rendezvous_it_ends_at_once(gangs):
    gang = gangs(workers=2, config={"steps": STEPS})
    gang.start()
    gang.signal(1, signal.SIGKILL)
    gang.pods[1].wait()
    wait_for(lambda: _listens(gang.port), 30, "worker 0 waits for the other")
    gang.signal(0)
    ending = gang.end(5)

    assert 143 == ending.codes[0]
    assert "Preempted" == ending.messages[0]["outcome"]


def _listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_twice_in_the_middle_of_a_checkpoint_ends_at_once_and_leaves_the_one_before_and_nothing_half(held, undisturbed):
    gang = held(holdSave=40)
    gang.wait_for("the save is held")
    gang.signal(0)
    wait_for(lambda: gang.message_path(0).exists(), 10, "the first SIGTERM was taken")
    assert "step_40.tmp-0" in gang.entries()
    gang.signal(0)
    assert 143 == gang.pods[0].wait(5)
    gang.signal(1)
    gang.signal(1)
    ending = gang.end(5)

    assert [143, 143] == ending.codes
    assert "a second SIGTERM ended it at once" == ending.messages[0]["message"]
    assert ["step_20"] == [name for name in gang.entries() if name.startswith("step_")]
    assert (20, undisturbed) == finish(gang)


def test_killed_because_the_grace_period_was_too_short_it_goes_on_from_the_checkpoint_before(held, undisturbed):
    gang = held(holdSave=40)
    gang.wait_for("the save is held")
    gang.signal(0)
    wait_for(lambda: gang.message_path(0).exists(), 10, "SIGTERM was taken")
    for worker in (0, 1):  # as the kubelet does at the end of the period
        gang.signal(worker, signal.SIGKILL)
    ending = gang.end(10)

    assert [-9, -9] == ending.codes
    assert "Preempted" == ending.messages[0]["outcome"]
    assert "within 60 s: raise spec.terminationGracePeriodSeconds" in ending.messages[0]["message"]
    assert (20, undisturbed) == finish(gang)
    assert [] == [name for name in gang.entries() if ".tmp-" in name]
