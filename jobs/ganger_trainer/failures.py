"""How a training process can fail, and what each failure costs the job.

A failure is either the user's (the next attempt would end the same, so no traceback and no retry), a peer's (this rank
is a victim), or anything else (retried). Exit codes are the contract with the operator; reasons are for people and for
its rules. This module must not import torch: the supervisor classifies before torch is loaded.
"""

import re
import traceback
from typing import Final, Literal

from msgspec import Struct

from ganger.contract import ExitCode

TRACEBACK_LINES_MAX: Final = 24

# What gloo, NCCL and the TCP store say when the others do not come, do not answer, or are gone. They raise plain
# RuntimeErrors, so the text decides; the first class that matches is the one.
_RENDEZVOUS_TIMEOUT: Final = re.compile(
    r"waiting for clients|client socket has (timed out|failed)|wait timeout after", re.IGNORECASE
)
_COLLECTIVE_TIMEOUT: Final = re.compile(
    r"collective operation timeout|timed out waiting \d+ ?ms for (recv|send)|milliseconds before timing out|"
    r"failed to pass monitoredBarrier|Application timeout caused pair closure",
    re.IGNORECASE,
)
# Said with the types of a lost peer, but by the rank that failed.
_PORT_IN_USE: Final = re.compile(r"EADDRINUSE|address already in use", re.IGNORECASE)
_PEER_LOST: Final = re.compile(
    r"gloo|nccl|connection (was )?(closed|reset|refused)|broken pipe|socket (timeout|error)|tcpstore|"
    r"timed out (waiting|after)|process group|recvvalue|sendbytes|recvbytes",
    re.IGNORECASE,
)
VICTIMS: Final = frozenset({"PeerLost", "CollectiveTimeout", "RendezvousTimeout"})
_SENTENCES: Final = {
    "PeerLost": "another rank went away while this one was talking to it",
    "CollectiveTimeout": "a collective operation was not answered in time by every rank",
    "PortInUse": "another process has the port that this one was to listen on",
    "RendezvousTimeout": "not every rank came to the meeting point in time",
}
_PEER_LOST_TYPES: Final = frozenset({"DistBackendError", "DistNetworkError", "DistStoreError"})


class TrainerError(Exception):
    """An ending that has a name and an exit code of its own.

    The message is one sentence for people and names a remedy; it is printed without a traceback.
    """

    exit_code: ExitCode = ExitCode.RETRYABLE
    outcome: Literal["UserError", "Failed", "Fenced"] = "Failed"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class UserError(TrainerError):
    """The task, its configuration, its data or the environment is wrong: a retry would end the same."""

    outcome = "UserError"

    def __init__(self, reason: str, message: str, exit_code: ExitCode = ExitCode.BAD_CONFIG) -> None:
        super().__init__(reason, message)
        self.exit_code = exit_code


class NotAScalarError(UserError):
    """loss() returned something that has no gradient to follow: a list of losses, None, a number."""

    def __init__(self, loss: object) -> None:
        shape = f" of shape {tuple(loss.shape)}" if hasattr(loss, "shape") else ""
        super().__init__(
            "TaskInvalid",
            f"loss() returned a {type(loss).__name__}{shape}: return a scalar tensor, "
            "for example the mean over the batch",
        )


class FencedError(TrainerError):
    """A later attempt owns the checkpoints: this one must stop and write nothing."""

    exit_code = ExitCode.FENCED
    outcome = "Fenced"

    def __init__(self, message: str) -> None:
        super().__init__("Fenced", message)


class Failure(Struct, frozen=True, kw_only=True):
    """One classified ending of one process. `traceback` is "" where a traceback would not help."""

    outcome: Literal["UserError", "Failed", "Fenced"]
    reason: str
    message: str
    exit_code: int
    traceback: str = ""


def classify(error: BaseException) -> Failure:
    """Return the failure that `error` stands for. Never raises. Pure."""
    if isinstance(error, TrainerError):
        return Failure(outcome=error.outcome, reason=error.reason, message=str(error), exit_code=error.exit_code)
    text = f"{type(error).__name__}: {error}".strip()
    if is_peer_lost(error):
        reason = "PortInUse" if _PORT_IN_USE.search(text) else victim(text) or "PeerLost"
        return Failure(
            outcome="Failed",
            reason=reason,
            message=f"{_SENTENCES[reason]} ({text.splitlines()[0][:300]})",
            exit_code=ExitCode.RETRYABLE,
        )
    reason = "GpuOutOfMemory" if type(error).__name__ == "OutOfMemoryError" else "Exception"
    return Failure(
        outcome="Failed",
        reason=reason,
        message=text[:1000],
        exit_code=ExitCode.RETRYABLE,
        traceback=traceback_tail(error),
    )


def is_peer_lost(error: BaseException) -> bool:
    """True if `error` is what a collective raises when a peer has died, hung up or not answered."""
    if type(error).__name__ in _PEER_LOST_TYPES:
        return True
    return isinstance(error, RuntimeError | ConnectionError) and bool(victim(str(error)))


def victim(text: str) -> str:
    """Return the class of a rank that waited for others in vain, by what was raised; "" where it says no such thing."""
    kinds = (
        ("RendezvousTimeout", _RENDEZVOUS_TIMEOUT),
        ("CollectiveTimeout", _COLLECTIVE_TIMEOUT),
        ("PeerLost", _PEER_LOST),
    )
    return next((name for name, said in kinds if said.search(text)), "")


def traceback_tail(error: BaseException) -> str:
    """Return the last lines of the traceback of `error`, the most useful ones."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    return "\n".join(lines[-TRACEBACK_LINES_MAX:])
