"""Two and three pods on the loopback address: a NaN on one rank, a flipped bit on one rank."""

import pytest

from ganger.contract import ExitCode

pytestmark = pytest.mark.integration


def test_a_nan_on_one_rank_sends_all_back_to_the_checkpoint_in_the_same_processes(gangs):
    gang = gangs(
        config={"steps": 60, "stepSleep": 0.01, "nanAt": 23, "nanRank": 1},
        environ={"GANGER_NON_FINITE": "Rollback", "GANGER_MAX_ROLLBACKS": "2"},
    )
    ending = gang.run()

    assert [0, 0] == ending.codes
    rolled = ending.messages[0]["rollbacks"]
    assert (1, 20) == (rolled["count"], rolled["toStep"])
    assert 23 <= rolled["step"] <= 25, "the next save looks"
    assert 60 == ending.messages[0]["checkpoint"]["step"]
    assert f"step {rolled['step']}: a NaN or an infinity; back to the checkpoint of step 20" in ending.logs[0]
    assert 1 == ending.logs[0].count("(attempt 0, 2 processes"), "nothing was started anew"


def test_a_nan_on_one_rank_fails_the_job_where_the_policy_says_fail(gangs):
    ending = gangs(config={"steps": 60, "stepSleep": 0.01, "nanAt": 23, "nanRank": 1}).run()

    assert [ExitCode.USER_DATA, ExitCode.USER_DATA] == ending.codes
    assert ["NonFiniteLoss"] * 2 == [message["reason"] for message in ending.messages]
    assert 20 == ending.messages[0]["checkpoint"]["step"]


def test_a_flipped_bit_on_one_of_three_ranks_is_found_before_the_save_and_names_the_rank(gangs):
    gang = gangs(
        workers=3,
        config={"steps": 30, "stepSleep": 0.01, "flipAt": 13, "killRank": 1, "parameterCheckEverySteps": 1000},
    )
    first = gang.run()

    assert [ExitCode.RETRYABLE] * 3 == first.codes
    assert ["PeerLost", "ReplicaDivergence", "PeerLost"] == [message["reason"] for message in first.messages]
    assert "at step 15 the ranks no longer hold the same parameter" in first.messages[1]["message"]
    assert "rank 1 differs from the 2 others" in first.messages[1]["message"]
    assert 10 == first.messages[0]["checkpoint"]["step"], "what differs is not saved"
    gang.attempt = 1
    second = gang.run()
    assert [0, 0, 0] == second.codes
    assert 10 == second.messages[0]["resumedFromStep"]


def test_a_flipped_bit_is_found_at_the_step_that_the_config_names(gangs):
    gang = gangs(
        config={"steps": 30, "flipAt": 13, "killRank": 1, "parameterCheckEverySteps": 7},
        checkpoint={"everySteps": 1000},
    )
    ending = gang.run()

    assert ["ReplicaDivergence"] * 2 == [message["reason"] for message in ending.messages]
    assert "at step 14" in ending.messages[0]["message"]
    assert "which of the 2 ranks is wrong cannot be told" in ending.messages[0]["message"]


def test_an_anomaly_on_one_rank_is_named_by_it_and_ends_the_others(gangs):
    gang = gangs(
        config={"steps": 60, "nanAt": 23, "nanRank": 1, "detectAnomaly": True},
        environ={"GANGER_NON_FINITE": "Rollback", "GANGER_MAX_ROLLBACKS": "2"},
    )
    ending = gang.run()

    assert [ExitCode.RETRYABLE, ExitCode.USER_DATA] == ending.codes
    assert ["PeerLost", "NonFiniteOperation"] == [message["reason"] for message in ending.messages]
    assert "at step 23 the forward pass made a loss of nan" in ending.messages[1]["message"]
    assert 20 == ending.messages[0]["checkpoint"]["step"]
