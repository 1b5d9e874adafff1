"""The termination message of a session: what the operator reads when the pod has ended."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ganger.contract import TERMINATION_MESSAGE_BYTES_MAX

MESSAGE_CHARACTERS_MAX: Final = 900  # at most 4 bytes each: it fits


def compose(outcome: str, reason: str, message: str, last_activity: float | None) -> bytes:
    """Return the message of the contract. last_activity: seconds since 1970. Pure."""
    said = {"outcome": outcome, "reason": reason, "message": message[:MESSAGE_CHARACTERS_MAX]}
    if last_activity is not None:
        said["lastActivityTime"] = datetime.fromtimestamp(last_activity, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    data = json.dumps(said, ensure_ascii=False).encode()
    assert len(data) <= TERMINATION_MESSAGE_BYTES_MAX
    return data


def write(path: Path | None, data: bytes) -> None:
    """Write `data` to the kubelet's file, if there is one. Never raises: the exit code still says the most."""
    if path is None:
        return
    try:
        path.write_bytes(data)
    except OSError as error:
        print(f"warning: {path} cannot be written: {error.strerror}", file=sys.stderr, flush=True)
