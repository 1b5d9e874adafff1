"""A worker's account of its time: phases in, causes out, and the sum is always the time that passed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganger.contract import REPORT_CAUSES, REPORT_PHASES
from ganger_trainer.board import Board
from ganger_trainer.ledger import Ledger
from ganger_trainer.reports import Ended, Entered, Progress, Started, Training

ENDED = Ended(rank=0, outcome="Done", reason="Done", message="", exit_code=0, time=0.0)


@pytest.fixture
def clock():
    """A clock that a test moves: `clock[0]` is now."""
    return [100.0]


@pytest.fixture
def hear(clock):
    """Hear reports at times since the board was made; return the board."""
    board = Board(clock=lambda: clock[0])

    def at(*reports):
        for seconds, report in reports:
            clock[0] = 100.0 + seconds
            board.hear(report)
        return board

    return at


def test_each_second_is_of_the_phase_in_which_it_passed(hear, clock):
    board = hear(
        (2, Entered(rank=0, phase="Restoring")),
        (5, Training(rank=0, total_steps=9)),
        (15, Entered(rank=0, phase="Checkpointing")),
        (16, Entered(rank=0, phase="Training")),
        (20, Entered(rank=0, phase="Evaluating")),
        (27, Entered(rank=0, phase="Training")),
    )
    clock[0] = 130.0

    assert {"starting": 2, "restoring": 3, "productive": 10 + 4 + 7 + 3, "checkpointing": 1} == board.seconds()
    assert "Training" == board.phase()


def test_a_script_that_reports_its_first_step_trains(hear):
    board = hear((7, Progress(rank=0, step=1)), (9, Progress(rank=0, step=2)))

    assert {"starting": 7, "restoring": 0, "productive": 2, "checkpointing": 0} == board.seconds()


def test_progress_says_that_the_rank_trains_if_the_end_of_a_save_was_lost(hear):
    board = hear((1, Entered(rank=0, phase="Checkpointing")), (3, Progress(rank=0, step=9)))

    assert "Training" == board.phase()


def test_the_lowest_local_rank_speaks_for_the_worker():
    board = Board(first_rank=4)
    board.hear(Training(rank=5, total_steps=9))
    assert "Starting" == board.phase()

    board.hear(Training(rank=4, total_steps=9))
    board.hear(Entered(rank=5, phase="Evaluating"))
    assert "Training" == board.phase()


def test_a_worker_that_is_stopped_says_so_and_still_accounts_for_its_last_save(hear, clock):
    board = hear((1, Training(rank=0, total_steps=9)))
    board.stop()
    hear((2, Progress(rank=0, step=5)), (3, Entered(rank=0, phase="Checkpointing")))
    clock[0] = 107.0

    assert "Stopping" == board.phase()
    assert {"starting": 1, "restoring": 0, "productive": 2, "checkpointing": 4} == board.seconds()


def test_a_worker_whose_lowest_rank_has_ended_is_stopping(hear):
    assert "Stopping" == hear((1, Training(rank=0, total_steps=9)), (2, ENDED)).phase()


def test_processes_that_began_are_counted_though_they_are_gone(hear):
    assert 2 == hear((0, Started(rank=0, pid=1)), (0, Started(rank=1, pid=2))).started()


@given(st.lists(st.tuples(st.sampled_from((*REPORT_PHASES, "Sleeping")), st.floats(-5, 1e6))))
def test_the_causes_add_up_to_the_time_passed_and_never_shrink(entries):
    ledger, now, before = Ledger(0.0), 0.0, dict.fromkeys(REPORT_CAUSES, 0.0)
    for phase, seconds in entries:
        now = max(now, now + seconds)
        ledger.enter(phase, now)
        account = ledger.seconds(now)
        assert tuple(account) == REPORT_CAUSES
        assert all(account[cause] >= before[cause] for cause in REPORT_CAUSES)
        before = account

    assert pytest.approx(now) == sum(ledger.seconds(now).values())
