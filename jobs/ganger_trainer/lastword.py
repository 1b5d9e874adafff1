"""The termination message: one JSON object that outlives the pod in its status.

The kubelet cuts at 4096 bytes, which would leave broken JSON: so it is fitted here, traceback and last lines first,
metrics next.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from ganger.contract import TERMINATION_MESSAGE_BYTES_MAX
from ganger_trainer.board import Board
from ganger_trainer.verdict import Verdict

MESSAGE_CHARACTERS_MAX: Final = 1000
METRICS_MAX: Final = 16
LINES_MAX, LINE_CHARACTERS_MAX, LINES_BYTES_MAX = 10, 256, 4096  # of a failure that is reported


def compose(verdict: Verdict, board: Board, last_lines: Sequence[str] = ()) -> dict[str, Any]:
    """Return the message of the contract for `verdict`, with the last things that `board` heard.

    last_lines: what standard error said last; told of a failure that has no traceback.
    """
    message: dict[str, Any] = {"outcome": verdict.outcome, "reason": verdict.reason}
    if verdict.message:
        message["message"] = verdict.message[:MESSAGE_CHARACTERS_MAX]
    if verdict.rank is not None:
        message |= {"rank": verdict.rank, "exitCode": verdict.rank_exit_code}
    message |= progress(board)
    if verdict.traceback:
        message["traceback"] = verdict.traceback
    elif last_lines and verdict.outcome == "Failed":
        message["lastLines"] = list(last_lines)
    return message


def failure(verdict: Verdict, last_lines: Sequence[str] = ()) -> dict[str, Any]:
    """Return what a report says of the failure that `compose` would tell at the end of the pod."""
    said = verdict.traceback.splitlines() or last_lines
    lines = [line[:LINE_CHARACTERS_MAX] for line in said][-LINES_MAX:]
    whole: dict[str, Any] = {
        "reason": verdict.reason,
        "message": verdict.message[:MESSAGE_CHARACTERS_MAX],
        "exitCode": max(1, min(int(verdict.exit_code), 255)),
    }
    if verdict.rank is not None:
        whole["rank"] = verdict.rank
    while lines and len(msgspec.json.encode(lines)) > LINES_BYTES_MAX:
        del lines[0]
    return whole | ({"lastLines": lines} if lines else {})


def progress(board: Board) -> dict[str, Any]:
    """Return what is known of the training under the names of the contract; a report to the operator has it too."""
    message: dict[str, Any] = {}
    by_rank = board.progress_by_rank()
    if by_rank:
        last = by_rank[min(by_rank)]
        values = {"step": last.step, "totalSteps": last.total_steps, "epoch": last.epoch, "loss": last.loss}
        message = {key: value for key, value in values.items() if value is not None}
    if metrics := board.metrics():
        message["metrics"] = dict(list(metrics.items())[:METRICS_MAX])
    saved, _, _ = board.checkpoint()
    if saved is not None:
        message["checkpoint"] = {
            "step": saved.step, "bytes": saved.bytes, "kept": saved.kept, "verified": True, "savedAt": saved.saved_at,
        }  # fmt: skip
    if (damaged := board.quarantined()) is not None:
        message["quarantined"] = damaged
    if (rolled := board.rollbacks()) is not None:
        message["rollbacks"] = {"count": rolled.count, "step": rolled.step, "toStep": rolled.to_step}
    resumed = [report.resumed_from for report in board.training().values() if report.resumed_from is not None]
    if resumed:
        message["resumedFromStep"] = resumed[0]
    return message


def fit(message: dict[str, Any], limit: int = TERMINATION_MESSAGE_BYTES_MAX) -> bytes:
    """Return `message` as JSON of at most `limit` bytes.

    The traceback, or the last lines, lose their first ones, then metrics go, then text.
    """
    message = dict(message)
    while len(data := msgspec.json.encode(message)) > limit:
        if trace := message.pop("traceback", ""):
            lines = trace.splitlines()[1:] or [trace[len(trace) // 2 :]] if len(trace) > 1 else []
            if lines:
                message["traceback"] = "\n".join(lines)
        elif said := message.pop("lastLines", []):
            if said[1:]:
                message["lastLines"] = said[1:]
        elif "metrics" in message:
            del message["metrics"]
        else:
            message["message"] = message.get("message", "")[: -max(1, (len(data) - limit) // 4)]
    return data


def write(path: Path | None, message: dict[str, Any]) -> None:
    """Write `message` to the kubelet's file, if there is one. Never raises: the exit code still says the most."""
    if path is None:
        return
    try:
        path.write_bytes(fit(message))
    except OSError as error:
        print(f"warning: {path} cannot be written: {error.strerror}", flush=True)
