"""The termination message: JSON of the contract, never longer than the kubelet keeps."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganger.contract import OUTCOMES, TERMINATION_MESSAGE_BYTES_MAX, ExitCode
from ganger_trainer import lastword
from ganger_trainer.board import Board
from ganger_trainer.reports import Progress, Saved, Training
from ganger_trainer.verdict import Verdict

DONE = Verdict(exit_code=ExitCode.DONE, outcome="Done", reason="Done")
PREEMPTED = Verdict(exit_code=ExitCode.PREEMPTED, outcome="Preempted", reason="Preempted")
USER_ERROR = Verdict(
    exit_code=ExitCode.BAD_CONFIG, outcome="UserError", reason="ConfigInvalid", message="config: unknown key 'x'",
    rank=1, rank_exit_code=ExitCode.BAD_CONFIG,
)  # fmt: skip
FAILED = Verdict(
    exit_code=ExitCode.RETRYABLE, outcome="Failed", reason="Exception", message="ValueError: no", rank=3,
    rank_exit_code=1, traceback='File "toy.py", line 3\nValueError: no',
)  # fmt: skip
FENCED = Verdict(
    exit_code=ExitCode.FENCED, outcome="Fenced", reason="Fenced", message="attempt 2 owns it", rank=0,
    rank_exit_code=ExitCode.FENCED,
)  # fmt: skip


def said(verdict, *reports):
    board = Board()
    for report in reports:
        board.hear(report)
    return json.loads(lastword.fit(lastword.compose(verdict, board)))


@pytest.mark.parametrize(
    ("verdict", "message"),
    [
        (DONE, {"outcome": "Done", "reason": "Done"}),
        (PREEMPTED, {"outcome": "Preempted", "reason": "Preempted"}),
        (
            USER_ERROR,
            {
                "outcome": "UserError", "reason": "ConfigInvalid", "message": "config: unknown key 'x'",
                "rank": 1, "exitCode": 78,
            },
        ),
        (
            FAILED,
            {
                "outcome": "Failed", "reason": "Exception", "message": "ValueError: no", "rank": 3, "exitCode": 1,
                "traceback": 'File "toy.py", line 3\nValueError: no',
            },
        ),
        (
            FENCED,
            {"outcome": "Fenced", "reason": "Fenced", "message": "attempt 2 owns it", "rank": 0, "exitCode": 75},
        ),
    ],
    ids=OUTCOMES,
)  # fmt: skip
def test_each_outcome_says_what_the_contract_lists(verdict, message):
    assert message == said(verdict)


def test_progress_checkpoint_and_metrics_are_told_of_the_lowest_local_rank():
    message = said(
        DONE,
        Training(rank=2, total_steps=40, resumed_from=20),
        Progress(rank=3, step=39, loss=9.0),
        Progress(rank=2, step=40, total_steps=40, epoch=3, loss=0.25, metrics={"accuracy": 0.5}),
        Saved(step=30, seconds=0.1, bytes=7, kept=1, saved_at="2026-01-01T00:00:00Z"),
        Saved(step=40, seconds=0.1, bytes=8, kept=2, saved_at="2026-01-01T00:00:09Z"),
        Saved(step=41, seconds=0.1, reason="ENOSPC", message="full"),
    )

    assert {
        "outcome": "Done", "reason": "Done", "step": 40, "totalSteps": 40, "epoch": 3, "loss": 0.25,
        "metrics": {"accuracy": 0.5}, "resumedFromStep": 20,
        "checkpoint": {"step": 40, "bytes": 8, "kept": 2, "verified": True, "savedAt": "2026-01-01T00:00:09Z"},
    } == message  # fmt: skip


def test_resumed_from_step_0_is_told_and_a_beginning_is_not():
    assert 0 == said(DONE, Training(rank=0, total_steps=1, resumed_from=0))["resumedFromStep"]
    assert "resumedFromStep" not in said(DONE, Training(rank=0, total_steps=1))


texts = st.text(st.characters(codec="utf-8"), max_size=6000)


@given(texts, texts, st.dictionaries(st.text(max_size=200), st.floats(allow_nan=False, allow_infinity=False)))
def test_any_message_fits_and_stays_json(message, trace, metrics):
    verdict = msgspec.structs.replace(FAILED, message=message, traceback=trace)
    board = Board()
    board.hear(Progress(rank=0, step=7, metrics=metrics))

    data = lastword.fit(lastword.compose(verdict, board))

    assert len(data) <= TERMINATION_MESSAGE_BYTES_MAX
    told = json.loads(data)
    assert ("Failed", "Exception", 3, 1, 7) == (
        told["outcome"], told["reason"], told["rank"], told["exitCode"], told["step"],
    )  # fmt: skip


def test_a_long_traceback_loses_its_first_lines_and_keeps_the_error():
    lines = [f"line {number} " + "x" * 100 for number in range(100)]
    verdict = msgspec.structs.replace(FAILED, traceback="\n".join([*lines, "ValueError: the end"]))

    message = said(verdict, Progress(rank=0, step=1, metrics={"accuracy": 0.5}))

    assert message["traceback"].endswith("ValueError: the end")
    assert "line 0 " not in message["traceback"]
    assert {"accuracy": 0.5} == message["metrics"]
    assert 3500 < len(json.dumps(message)) <= TERMINATION_MESSAGE_BYTES_MAX


def test_metrics_that_do_not_fit_are_left_out_and_the_message_stays():
    board_metrics = {f"metric-{number}-" + "x" * 400: 1.0 for number in range(16)}

    message = said(FAILED, Progress(rank=0, step=1, metrics=board_metrics))

    assert "metrics" not in message
    assert "ValueError: no" == message["message"]


KILLED = msgspec.structs.replace(FAILED, reason="ProcessKilled", traceback="")


def last_lines(verdict, lines, *reports):
    board = Board()
    for report in reports:
        board.hear(report)
    data = lastword.fit(lastword.compose(verdict, board, lines))
    assert len(data) <= TERMINATION_MESSAGE_BYTES_MAX
    return json.loads(data)


def test_last_lines_are_told_of_a_failure_without_a_traceback_only():
    lines = ["terminate called", "what(): no memory"]

    assert lines == last_lines(KILLED, lines)["lastLines"]
    for verdict in (DONE, PREEMPTED, USER_ERROR, FAILED, FENCED):
        assert "lastLines" not in last_lines(verdict, lines)


def test_last_lines_lose_the_first_ones_and_go_before_the_metrics():
    lines = [f"{number} " + "é" * 390 for number in range(10)]

    message = last_lines(KILLED, lines, Progress(rank=0, step=1, metrics={"accuracy": 0.5}))
    assert lines[-len(message["lastLines"]) :] == message["lastLines"]
    assert 3 <= len(message["lastLines"]) < 10
    assert {"accuracy": 0.5} == message["metrics"]

    crowded = last_lines(KILLED, lines, Progress(rank=0, step=1, metrics={str(n) + "x" * 240: 1.0 for n in range(15)}))
    assert "lastLines" not in crowded
    assert 15 == len(crowded["metrics"])


def test_a_file_that_cannot_be_written_is_a_warning(tmp_path, capsys):
    lastword.write(tmp_path / "no" / "such", {"outcome": "Done"})

    assert "cannot be written" in capsys.readouterr().out
