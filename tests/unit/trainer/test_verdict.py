"""From what became of the workers to the exit code of the pod."""

import signal

import pytest

from ganger.contract import NOT_COUNTED, USER_ERRORS, ExitCode
from ganger_trainer.failures import FencedError, UserError, classify
from ganger_trainer.reports import Ended, Exit
from ganger_trainer.verdict import judge


def ended(rank, outcome="Done", code=0, reason="", time=1.0, message=""):
    return Ended(rank=rank, outcome=outcome, reason=reason or outcome, message=message, exit_code=code, time=time)


def gone(rank, code=0, time=2.0):
    return Exit(rank, code, time)


def verdict(ends, exits=(), agent=None, *, stop=False, stopping=()):
    return judge(ends, exits, agent or {}, stop_requested=stop, stopping=frozenset(stopping))


def test_exit_codes_are_those_that_the_operator_acts_on():
    assert {
        "DONE": 0, "RETRYABLE": 1, "USER_DATA": 65, "USER_INPUT_MISSING": 66, "FENCED": 75, "BAD_CONFIG": 78,
        "PREEMPTED": 143,
    } == {code.name: code.value for code in ExitCode}  # fmt: skip
    assert {65, 66, 78} == USER_ERRORS
    assert {75, 143} == NOT_COUNTED


def test_all_done_is_done():
    told = verdict([ended(0), ended(1)], [gone(0), gone(1)])

    assert (0, "Done") == (told.exit_code, told.outcome)


def test_a_rank_that_saved_and_left_makes_the_pod_preempted():
    told = verdict([ended(0, "Preempted", 143), ended(1, "Preempted", 143)], [gone(0), gone(1)], stop=True)

    assert (143, "Preempted") == (told.exit_code, told.outcome)


def test_a_task_that_was_done_when_sigterm_came_is_done():
    assert 0 == verdict([ended(0)], [gone(0)], stop=True).exit_code


def test_a_script_that_was_told_to_stop_is_preempted_though_it_ended_well():
    assert 143 == verdict([ended(0)], [gone(0)], stop=True, stopping=[0]).exit_code


def test_a_program_that_says_nothing_is_done_unless_it_was_asked_to_stop():
    assert 0 == verdict([], [gone(0)]).exit_code
    assert 143 == verdict([], [gone(0)], stop=True).exit_code


def test_the_first_rank_that_failed_of_itself_is_the_culprit():
    told = verdict(
        [
            ended(0, "Failed", 1, "PeerLost", time=1.0),
            ended(2, "Failed", 1, "Exception", time=3.0, message="late"),
            ended(1, "UserError", 65, "NonFiniteLoss", time=2.0, message="nan"),
        ]
    )

    assert (65, 1, "NonFiniteLoss", "nan") == (told.exit_code, told.rank, told.reason, told.message)


@pytest.mark.parametrize("victim", ["PeerLost", "CollectiveTimeout", "RendezvousTimeout"])
def test_a_victim_is_not_the_culprit_though_it_fell_first(victim):
    told = verdict([ended(0, "Failed", 1, victim, time=1.0), ended(1, "Failed", 1, "Exception", time=2.0)])

    assert ("Exception", 1) == (told.reason, told.rank)


def test_a_rank_that_waited_in_vain_comes_before_those_it_hung_up_on():
    told = verdict([ended(0, "Failed", 1, "PeerLost"), ended(1, "Failed", 1, "CollectiveTimeout", time=2.0)])

    assert ("CollectiveTimeout", 1) == (told.reason, told.rank)


def test_a_pod_of_victims_says_peer_lost_and_is_retried():
    told = verdict([ended(0, "Failed", 1, "PeerLost"), ended(1, "Failed", 1, "PeerLost", time=0.5)])

    assert (1, "PeerLost", 1) == (told.exit_code, told.reason, told.rank)


@pytest.mark.parametrize(
    ("number", "code", "hint"),
    [(signal.SIGKILL, 137, "memory limit"), (signal.SIGBUS, 135, "/dev/shm"), (signal.SIGSEGV, 139, "native code")],
)
def test_a_killed_rank_is_told_by_its_signal_with_a_remedy(number, code, hint):
    told = verdict([], [gone(4, -number)])

    assert (code, "Failed", "ProcessKilled", 4) == (told.exit_code, told.outcome, told.reason, told.rank)
    assert number.name in told.message
    assert hint in told.message


def test_a_program_that_ignores_the_protocol_and_dies_of_sigterm_is_preempted():
    told = verdict([], [gone(0, -signal.SIGTERM)], stop=True)

    assert 143 == told.exit_code
    assert "steps since its last checkpoint are lost" in told.message


def test_an_error_while_stopping_is_still_an_error():
    assert 78 == verdict([ended(0, "UserError", 78, "ConfigInvalid")], stop=True).exit_code


def test_an_exit_that_only_the_agent_saw_counts():
    told = verdict([], [gone(1, None)], {0: (1, 3)})

    assert (3, "ProcessExited", "Failed") == (told.exit_code, told.reason, told.outcome)
    assert "UserError" == verdict([], [], {0: (0, 78)}).outcome


@pytest.mark.parametrize(
    ("error", "code", "outcome", "reason"),
    [
        (UserError("ConfigInvalid", "no"), ExitCode.BAD_CONFIG, "UserError", "ConfigInvalid"),
        (UserError("DataInvalid", "no", ExitCode.USER_DATA), ExitCode.USER_DATA, "UserError", "DataInvalid"),
        (FencedError("no"), ExitCode.FENCED, "Fenced", "Fenced"),
        (ValueError("no"), ExitCode.RETRYABLE, "Failed", "Exception"),
        (RuntimeError("[gloo/transport] Connection closed by peer"), ExitCode.RETRYABLE, "Failed", "PeerLost"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ExitCode.RETRYABLE, "Failed", "Exception"),
        (ConnectionResetError("Connection reset by peer"), ExitCode.RETRYABLE, "Failed", "PeerLost"),
        (
            RuntimeError("[gloo/unbound_buffer.cc:78] Timed out waiting 2000ms for recv operation to complete"),
            ExitCode.RETRYABLE,
            "Failed",
            "CollectiveTimeout",
        ),
        (
            type("DistStoreError", (RuntimeError,), {})("Timed out after 3 seconds waiting for clients. 1/2 joined."),
            ExitCode.RETRYABLE,
            "Failed",
            "RendezvousTimeout",
        ),
        (
            type("DistNetworkError", (RuntimeError,), {})(
                "The server socket has failed to listen on any local network address. port: 29401, useIpv6: false, "
                "code: -98, name: EADDRINUSE, message: address already in use"
            ),
            ExitCode.RETRYABLE,
            "Failed",
            "PortInUse",
        ),
        (OSError(98, "Address already in use"), ExitCode.RETRYABLE, "Failed", "Exception"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"), 1, "Failed", "GpuOutOfMemory"),
    ],
)
def test_an_exception_is_classified_by_whose_fault_it_is(error, code, outcome, reason):
    failure = classify(error)

    assert (code, outcome, reason) == (failure.exit_code, failure.outcome, failure.reason)
    assert (reason in ("Exception", "GpuOutOfMemory")) == bool(failure.traceback)
