"""Orders of another round: which are taken, what is forgotten between two rounds, and what a failure says of itself."""

import tempfile
import threading
import time

import msgspec
import pytest

from ganger.contract import ROUNDS_MAX
from ganger.plan import live
from ganger_trainer import lastword, rounds
from ganger_trainer.board import Board
from ganger_trainer.dispatch import Dispatch
from ganger_trainer.lastlines import LINES_MAX
from ganger_trainer.reports import Ended, Exit, Progress, Saved, Started, Training
from ganger_trainer.rounds import Orders
from ganger_trainer.save_requests import SaveRequests
from ganger_trainer.stacks import Listeners
from ganger_trainer.verdict import Verdict
from unit.trainer import kit

ORDER = {"round": 1, "rung": "Process"}


def test_an_order_is_carried_out_once():
    told = []
    orders = Orders(0, lambda: told.append(1))

    orders.hear(ORDER)
    orders.hear(ORDER)

    assert (1, "Process") == (orders.pending.round, orders.pending.rung)
    assert [1] == told
    orders.begin()
    orders.hear(ORDER)
    assert (1, None) == (orders.round, orders.pending)


@pytest.mark.parametrize(
    "answer",
    [
        {}, {"round": 3, "rung": "Process"}, {"round": "4", "rung": "Process"}, {"round": True, "rung": "Process"},
        {"round": 4}, {"round": 4, "rung": "Pods"}, {"round": 4, "rung": []}, {"round": ROUNDS_MAX, "rung": "Process"},
        {"round": 4.0, "rung": "Process"}, {"round": -1, "rung": "Container"},
    ],
)  # fmt: skip
def test_an_answer_that_orders_nothing_new_changes_nothing(answer):
    orders = Orders(3)

    orders.hear(answer)

    assert orders.pending is None


@pytest.mark.parametrize(("said", "seconds"), [(2.5, 2.5), (-1, 0), ("soon", 0), (None, 0), (1e12, 86_400.0)])
def test_an_order_begins_when_it_says_within_bounds(said, seconds):
    orders = Orders()
    before = time.monotonic()

    orders.hear(ORDER | {"startSeconds": said})

    assert before + seconds <= orders.pending.start <= time.monotonic() + seconds


def test_a_newer_order_replaces_one_that_waits():
    orders = Orders()
    orders.hear(ORDER)
    orders.hear({"round": 2, "rung": "Container"})

    orders.begin()

    assert 2 == orders.round


def test_whoever_waits_hears_the_order_of_another_thread():
    orders = Orders()
    orders.expect()
    threading.Timer(0.05, orders.hear, (ORDER,)).start()

    assert 1 == orders.wait(30).round


def test_a_refusal_ends_the_wait_and_an_old_one_does_not():
    orders = Orders()
    orders.refuse()
    orders.expect()
    assert not orders._answered.is_set()

    threading.Timer(0.05, orders.refuse).start()

    assert orders.wait(30) is None


def test_the_number_of_the_round_reaches_the_next_container_of_the_pod_and_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spec = kit.worker(tmp_path)
    assert 0 == rounds.read(spec)

    rounds.write(spec, 7)

    assert 7 == rounds.read(spec)
    for other in ({"attempt": 1}, {"worker": 1}, {"job_uid": "other"}):
        assert 0 == rounds.read(msgspec.structs.replace(spec, **other))
    for text in ("", "x", "-1", str(ROUNDS_MAX)):
        rounds.note(spec).write_text(text)
        assert 0 == rounds.read(spec)


def test_a_board_forgets_what_the_processes_before_said_of_themselves():
    board = Board()
    before = (
        Started(rank=0, pid=7), Training(rank=0, total_steps=9, resumed_from=3),
        Progress(rank=0, step=5, metrics={"accuracy": 1.0}), Saved(step=4, seconds=0.5),
        Ended(rank=0, outcome="Failed", reason="Exception", message="", exit_code=1, time=1.0),
    )  # fmt: skip
    for report in before:
        board.hear(report)
    board.fail({"reason": "Exception"})
    assert "Failed" == board.phase()

    board.begin()
    board.hear(Exit(0, 1, 2.0, 7))  # of the process before, heard late

    assert ("Starting", 0, None) == (board.phase(), board.started(), board.failure())
    assert ([], []) == board.endings()
    assert ({}, {}, {}) == (board.progress_by_rank(), board.training(), board.metrics())
    assert 4 == board.checkpoint()[0].step, "a checkpoint does not go with the process that wrote it"


def test_an_exit_of_a_process_of_this_round_is_heard():
    board = Board()
    board.hear(Started(rank=0, pid=8))
    board.hear(Exit(0, -9, 2.0, 8))

    assert 1 == len(board.endings()[1])


def test_a_failed_worker_that_ends_is_stopping():
    board = Board()
    board.fail({"reason": "Exception"})
    board.stop()

    assert ("Stopping", None) == (board.phase(), board.failure())


def failed(tmp_path, verdict, said=()):
    """The report of a failed worker in the operator's own reading."""
    board, spec = Board(), msgspec.structs.replace(kit.worker(tmp_path), processes=2)
    board.fail(lastword.failure(verdict, said))
    dispatch = Dispatch(spec, board, SaveRequests(None), Listeners(), tmp_path, Orders(3))
    assert "Failed" == dispatch.phase(), "though not all processes had begun"
    return live.decode(msgspec.json.encode(dispatch.report() | {"sequence": 1}))


def test_a_failed_worker_reports_its_round_and_its_failure(tmp_path):
    verdict = Verdict(
        exit_code=137, outcome="Failed", reason="ProcessKilled", message="rank 1 was ended", rank=1, rank_exit_code=137
    )
    report = failed(tmp_path, verdict, ["one", "two"])

    assert ("Failed", 3) == (report.phase, report.round)
    assert ("ProcessKilled", "rank 1 was ended", 1, 137, ("one", "two")) == (
        report.failure.reason, report.failure.message, report.failure.rank, report.failure.exit_code,
        report.failure.last_lines,
    )  # fmt: skip


def test_any_failure_is_accepted_and_its_newest_lines_are_kept(tmp_path):
    lines = ["😀" * 900 for _ in range(99)] + ["the last"]
    trace = "\n".join(lines)
    verdict = Verdict(exit_code=-300, outcome="Failed", reason="Exception", message="😀" * 5000, traceback=trace)

    report = failed(tmp_path, verdict)

    assert 1 <= report.failure.exit_code <= 255
    assert "the last" == report.failure.last_lines[-1]
    assert 1 < len(report.failure.last_lines) < LINES_MAX
    assert len(msgspec.json.encode(report)) < 16384


def test_requests_for_a_checkpoint_end_with_the_processes_that_they_asked(tmp_path):
    asking = SaveRequests(str(tmp_path / "reports"))
    asking.ask()
    asking.clear()
    asking.clear()

    taking = SaveRequests(str(tmp_path / "reports"))
    assert not taking.take()
    asking.ask()
    assert taking.take()
