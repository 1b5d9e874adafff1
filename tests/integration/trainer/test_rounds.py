"""Restarts in place with real supervisors: the operator orders a round, and a pod's container may be started anew."""

import time

import pytest

from ganger.contract import RESTART_CONTAINER_EXIT_CODE, RESTART_WAIT_SECONDS, ExitCode
from operator_end import OperatorEnd

from .test_gang import assert_equal_bits, state

pytestmark = pytest.mark.integration

CONFIG = {"steps": 40, "stepSleep": 0.02}  # so that the checkpoint before the kill has time to be committed
# What the kubelet does with restartPolicyRules: the container starts anew as long as it ends with that code.
KUBELET = ("sh", "-c", f'while :; do "$@"; c=$?; [ $c = {RESTART_CONTAINER_EXIT_CODE} ] || exit $c; done', "sh")


@pytest.fixture
def operator(tmp_path):
    end = OperatorEnd(tmp_path).start()
    yield end
    end.stop()


@pytest.fixture
def broken(gangs, operator, tmp_path):
    """Make gangs that report to the operator."""

    def make(name="broken", **options):
        temporary = tmp_path / f"{name}-tmp"  # the emptyDir of the pods
        temporary.mkdir()
        return gangs(name, config=CONFIG, environ=operator.environ | {"TMPDIR": str(temporary)}, **options)

    return make


def whole(gangs):
    gang = gangs("whole", config=CONFIG)
    assert [0, 0] == gang.run().codes
    return gang


def rounds(operator, worker):
    """The rounds that a worker reported from, in order."""
    return list(dict.fromkeys(report.get("round", 0) for report in operator.of(worker)))


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_restarts_all_processes_in_their_pods_to_the_same_bits(gangs, broken, operator, rank):
    """Rank 0 too: the store through which the gang meets is not in it."""
    undisturbed = whole(gangs)
    operator.rungs = ["Process"]
    gang = broken()

    ending = gang.run(killAt=23, killRank=rank)

    assert [0, 0] == ending.codes, ending.logs
    assert_equal_bits(state(undisturbed, 40), state(gang, 40))
    assert undisturbed.shards(40) == gang.shards(40)
    assert [[0, 1], [0, 1]] == [rounds(operator, worker) for worker in (0, 1)]
    failures = [report["failure"] for report in operator.of(rank) if "failure" in report]
    assert ("ProcessKilled", rank, 137) == tuple(failures[0][key] for key in ("reason", "rank", "exitCode"))
    # The other pod's processes are victims, or the order of the round came to them first.
    assert {"PeerLost"} >= {report["failure"]["reason"] for report in operator.of(1 - rank) if "failure" in report}
    assert 1 == ending.logs[0].count("resumed from step")
    assert "Done" == ending.messages[0]["outcome"]


def test_a_round_says_of_the_present_what_is_true_of_the_present(gangs, broken, operator):
    operator.rungs = ["Process"]
    ending = broken().run(killAt=23, killRank=1)

    assert [0, 0] == ending.codes, ending.logs
    first = next(report for report in operator.of(0) if report.get("round") == 1)
    before = [report for report in operator.of(0) if "round" not in report][-1]
    assert sum(first["seconds"].values()) < sum(before["seconds"].values())
    assert "failure" not in first
    assert ending.messages[0]["resumedFromStep"] in (15, 20)


def test_a_second_failure_starts_the_containers_anew_and_the_rounds_go_on_counting(gangs, broken, operator):
    undisturbed = whole(gangs)
    operator.rungs = ["Process", "Container"]
    gang = broken(prefix=KUBELET)

    ending = gang.run(killAt=23, killRank=1, killRounds=2)

    assert [0, 0] == ending.codes, ending.logs
    assert undisturbed.shards(40) == gang.shards(40)
    assert [[0, 1, 2], [0, 1, 2]] == [rounds(operator, worker) for worker in (0, 1)]
    sequences = [report["sequence"] for report in operator.of(0) if report.get("round") == 2]
    assert 1 == sequences[0], "another supervisor"


def test_without_the_kubelets_rule_the_pods_end_with_the_code_that_asks_for_it(broken, operator):
    operator.rungs = ["Container"]

    ending = broken().run(killAt=23, killRank=1)

    assert [RESTART_CONTAINER_EXIT_CODE] * 2 == ending.codes
    assert ["PeerLost", "ProcessKilled"] == [message["reason"] for message in ending.messages]


def test_processes_that_a_new_container_found_at_work_are_no_culprits(broken, operator):
    """Whether a victim hears of its peer first or of the order is chance; what it says last must not be."""
    gang = broken().start(stepSleep=0.2)
    gang.wait_for("step 2")

    operator.ordered = ["Container"]

    ending = gang.end()
    assert [RESTART_CONTAINER_EXIT_CODE] * 2 == ending.codes
    assert ["PeerLost"] * 2 == [message["reason"] for message in ending.messages]
    assert "ProcessKilled" not in "".join(ending.logs)


def test_processes_that_still_run_are_ended_for_a_round_that_is_ordered(broken, operator):
    """As those of a rank that hangs: nobody died, the operator says so."""
    gang = broken().start(stepSleep=0.2)
    gang.wait_for("step 2")

    operator.ordered = ["Process"]

    gang.wait_for("round 1", worker=0)
    gang.wait_for("round 1", worker=1)
    assert [0, 0] == gang.end().codes
    assert [[0, 1], [0, 1]] == [rounds(operator, worker) for worker in (0, 1)]


def test_a_worker_that_gets_no_order_ends_with_its_code_once_its_patience_is_over(broken, operator):
    ending = broken().run(killAt=23, killRank=1)

    assert [ExitCode.RETRYABLE, 137] == ending.codes
    failed = [at for at, report in zip(operator.arrivals, operator.reports, strict=True) if "failure" in report]
    assert failed[-1] - failed[0] < RESTART_WAIT_SECONDS + 1


def test_a_worker_that_is_refused_ends_at_once(broken, operator):
    gang = broken().start(killAt=23, killRank=1)
    gang.wait_for("step 1/")
    operator.status = 403
    began = time.monotonic()

    ending = gang.end()

    assert [ExitCode.RETRYABLE, 137] == ending.codes
    failed = next(at for at, report in zip(operator.arrivals, operator.reports, strict=True) if "failure" in report)
    assert time.monotonic() - max(failed, began) < RESTART_WAIT_SECONDS / 2


def test_a_program_that_ends_with_the_code_of_the_container_rung_is_told_as_another_failure(gangs):
    gang = gangs(workers=1, task=None, environ={"GANGER_SCRIPT": '["train.py"]'})
    (gang.directory / "train.py").write_text(f"raise SystemExit({RESTART_CONTAINER_EXIT_CODE})")

    ending = gang.run()

    assert [ExitCode.RETRYABLE] == ending.codes
    assert RESTART_CONTAINER_EXIT_CODE == ending.messages[0]["exitCode"]
