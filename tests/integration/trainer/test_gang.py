"""Two pods on the loopback address: resume, preemption, victims and culprits."""

import json
import signal
import time

import pytest
from safetensors.torch import load_file

from ganger.contract import ExitCode

pytestmark = pytest.mark.integration


def state(gang, step):
    """Every tensor of the checkpoint of `step`, those of the generators included."""
    tensors = {}
    for path in sorted((gang.directory / "checkpoints" / f"step_{step}").glob("*.safetensors")):
        tensors |= load_file(path)
    return tensors


def assert_equal_bits(expected, actual):
    assert expected.keys() == actual.keys()
    different = [
        name
        for name in expected
        if not expected[name].equal(actual[name]) and not (expected[name].isnan().all() and actual[name].isnan().all())
    ]
    assert [] == different


@pytest.mark.parametrize("kill_at", [7, 23])
def test_killed_gang_resumes_to_the_same_bits_as_an_uninterrupted_one(gangs, kill_at):
    config = {"steps": 40, "stepSleep": 0.02}  # so that the checkpoint before the kill has time to be committed
    whole = gangs("whole", config=config)
    assert [0, 0] == whole.run().codes
    broken = gangs("broken", config=config)

    first = broken.run(killAt=kill_at, killRank=1)
    broken.attempt = 1
    second = broken.run()

    assert [ExitCode.RETRYABLE, 137] == first.codes
    assert "PeerLost" == first.messages[0]["reason"]
    assert "ProcessKilled" == first.messages[1]["reason"]
    assert [0, 0] == second.codes
    assert kill_at // 5 * 5 - 5 <= second.messages[0]["resumedFromStep"] < kill_at
    assert_equal_bits(state(whole, 40), state(broken, 40))
    assert whole.shards(40) == broken.shards(40)


def test_gang_stopped_by_sigterm_resumes_to_the_same_shards_as_an_uninterrupted_one(gangs):
    config = {"steps": 120, "stepSleep": 0.02}
    whole = gangs("whole", config=config, checkpoint={"everySteps": 1000})
    assert [0, 0] == whole.run().codes
    stopped = gangs("stopped", config=config, checkpoint={"everySteps": 1000})
    stopped.start().wait_for("step 10")

    stopped.signal(0)
    first = stopped.end()
    stopped.attempt = 1
    second = stopped.run()

    assert [143, 143] == first.codes
    assert [0, 0] == second.codes
    assert 0 < first.messages[0]["step"] == second.messages[0]["resumedFromStep"] < 120
    assert whole.shards(120) == stopped.shards(120)


def test_sigterm_to_one_pod_stops_all_at_one_step_with_a_checkpoint_and_no_lost_step(gangs):
    gang = gangs(config={"steps": 100000, "stepSleep": 0.002}, checkpoint={"everySteps": 100000})
    gang.start().wait_for("step 2")

    gang.signal(1)
    ending = gang.end()

    assert [143, 143] == ending.codes
    step = ending.messages[0]["step"]
    assert step == ending.messages[0]["checkpoint"]["step"]
    assert ["Preempted", "Preempted"] == [message["outcome"] for message in ending.messages]
    gang.attempt = 1
    gang.start().wait_for(f"resumed from step {step}")


def test_second_sigterm_ends_at_once(gangs):
    gang = gangs(workers=1, config={"steps": 1000, "stepSleep": 20.0})
    gang.start().wait_for("training begins")

    gang.signal(0)
    time.sleep(0.3)
    gang.signal(0)

    assert [143] == gang.end(seconds=5).codes


def test_error_in_user_code_is_told_with_its_traceback_and_the_other_pod_is_a_victim(gangs):
    ending = gangs(config={"steps": 40}).run(raiseAt=9)

    assert [ExitCode.RETRYABLE, ExitCode.RETRYABLE] == ending.codes
    assert "Exception" == ending.messages[0]["reason"]
    assert "a bug of the user" in ending.messages[0]["message"]
    assert "toy.py" in ending.messages[0]["traceback"]
    assert 0 == ending.messages[0]["rank"]
    assert "PeerLost" == ending.messages[1]["reason"]


def test_misspelt_key_fails_every_pod_in_the_same_words_without_a_traceback(gangs):
    ending = gangs(config={"epochs": 1, "batchsize": 8}).run()

    assert [ExitCode.BAD_CONFIG, ExitCode.BAD_CONFIG] == ending.codes
    assert "did you mean 'batchSize'?" in ending.messages[0]["message"]
    assert all("Traceback" not in log for log in ending.logs)


def test_missing_file_in_data_is_the_users_fault(gangs):
    ending = gangs(workers=1).run(missing="/nowhere/data.bin")

    assert [ExitCode.USER_INPUT_MISSING] == ending.codes
    assert "/nowhere/data.bin" in ending.messages[0]["message"]


def test_nan_loss_fails_without_retry_and_commits_no_checkpoint_after_it(gangs):
    gang = gangs(workers=1, config={"steps": 40, "nanAt": 12})

    ending = gang.run()

    assert [ExitCode.USER_DATA] == ending.codes
    assert "NonFiniteLoss" == ending.messages[0]["reason"]
    assert {"step_5", "step_10"} == {path.name for path in (gang.directory / "checkpoints").glob("step_*")}


def test_older_attempt_is_fenced_and_writes_nothing(gangs):
    gang = gangs(workers=1, config={"steps": 20}, attempt=3)
    assert [0] == gang.run().codes
    before = sorted(path.name for path in (gang.directory / "checkpoints").iterdir())

    gang.attempt = 2
    ending = gang.run()

    assert [ExitCode.FENCED] == ending.codes
    assert "Fenced" == ending.messages[0]["outcome"]
    assert before == sorted(path.name for path in (gang.directory / "checkpoints").iterdir())


def test_attempt_that_comes_back_from_a_lost_node_is_fenced_at_its_next_checkpoint(gangs, tmp_path):
    go = tmp_path / "go"
    gang = gangs(workers=1, config={"steps": 40, "holdAt": 8, "go": str(go)})
    gang.start().wait_for("step 8")
    fence = gang.directory / "checkpoints" / "FENCE"
    fence.write_text(json.dumps(json.loads(fence.read_text()) | {"attempt": 1}))
    before = gang.entries()

    go.touch()
    ending = gang.end()

    assert [ExitCode.FENCED] == ending.codes
    assert ("Fenced", "Fenced") == (ending.messages[0]["outcome"], ending.messages[0]["reason"])
    assert before == gang.entries()


def test_signal_names_are_for_people(gangs):
    gang = gangs(workers=1, config={"steps": 40})

    ending = gang.run(killAt=3)

    assert [128 + signal.SIGKILL] == ending.codes
    assert "SIGKILL" in ending.messages[0]["message"]
