"""From what became of each local worker to one exit code and one sentence. Pure.

The culprit is the first worker, by time, that failed of itself: a rank that lost its peer is a victim, and so is one
that the agent ended because a sibling had failed. When all are victims, the culprit is in another pod, and the
operator finds it.
"""

import signal
from collections.abc import Mapping, Sequence

from msgspec import Struct

from ganger.contract import USER_ERRORS, ExitCode
from ganger_trainer.failures import VICTIMS
from ganger_trainer.reports import Ended, Exit


class Verdict(Struct, frozen=True, kw_only=True):
    """How this pod ends: the supervisor's exit code, and what the termination message says."""

    exit_code: int
    outcome: str
    reason: str
    message: str = ""
    rank: int | None = None
    rank_exit_code: int | None = None
    traceback: str = ""


def judge(
    ended: Sequence[Ended],
    exits: Sequence[Exit],
    agent: Mapping[int, tuple[int, int]],
    *,
    stop_requested: bool,
    stopping: frozenset[int] = frozenset(),
) -> Verdict:
    """Return the verdict on this pod.

    ended: last words of workers. exits: processes gone, in order of time. agent: what the elastic agent saw fail, as
    local rank -> (rank, exit code). stopping: ranks of scripts that were told to stop.
    """
    failures = _failures(ended, exits, agent)
    if not failures:
        # A program that ends with 0 after SIGTERM and says no more may have saved and left: to call that done would
        # lose the job, to call it preempted costs at most another start.
        unsure = bool(stopping) or not any(last.outcome == "Done" for last in ended)
        if any(last.outcome == "Preempted" for last in ended) or (stop_requested and unsure):
            return Verdict(exit_code=ExitCode.PREEMPTED, outcome="Preempted", reason="Preempted")
        return Verdict(exit_code=ExitCode.DONE, outcome="Done", reason="Done")
    if stop_requested and all(verdict.reason in VICTIMS | {"ProcessKilled"} for verdict in failures):
        codes = {verdict.rank_exit_code for verdict in failures}
        if codes <= {128 + signal.SIGTERM, ExitCode.RETRYABLE, None}:
            return Verdict(
                exit_code=ExitCode.PREEMPTED,
                outcome="Preempted",
                reason="Preempted",
                message="ended by SIGTERM, which it does not handle: steps since its last checkpoint are lost",
            )
    culprits = [verdict for verdict in failures if verdict.reason not in VICTIMS]
    # Whoever waited in vain tears its connections down, and those that it hangs up on are victims of that.
    waited = [verdict for verdict in failures if verdict.reason != "PeerLost"]
    return (culprits or waited or failures)[0]


def _failures(ended: Sequence[Ended], exits: Sequence[Exit], agent: Mapping[int, tuple[int, int]]) -> list[Verdict]:
    """Return one verdict for each worker that failed, the earliest first."""
    timed: list[tuple[float, Verdict]] = []
    spoken = {last.rank for last in ended}
    for last in ended:
        if last.outcome not in ("Done", "Preempted"):
            verdict = Verdict(
                exit_code=last.exit_code, outcome=last.outcome, reason=last.reason, message=last.message,
                rank=last.rank, rank_exit_code=last.exit_code, traceback=last.traceback,
            )  # fmt: skip
            timed.append((last.time, verdict))
    seen_by_agent = dict(agent.values())
    for gone in exits:
        code = gone.code if gone.code is not None else seen_by_agent.get(gone.rank)
        if gone.rank not in spoken and code not in (None, 0):
            timed.append((gone.time, _silent(gone.rank, code)))
    known = spoken | {gone.rank for gone in exits}
    for rank, code in seen_by_agent.items():
        if rank not in known and code:
            timed.append((float("inf"), _silent(rank, code)))
    return [verdict for _, verdict in sorted(timed, key=lambda item: item[0])]


def _silent(rank: int, code: int) -> Verdict:
    """Return the verdict on a worker that went without a word: killed, crashed in native code, or a foreign program."""
    if code < 0:
        name = signal_name(-code)
        hint = {
            "SIGKILL": "; often the memory limit: raise resources.limits.memory or lower the batch",
            "SIGSEGV": "; a crash in native code",
            "SIGBUS": "; often a full /dev/shm: raise sharedMemory",
            "SIGABRT": "; a crash in native code, or NCCL gave up on a peer",
        }.get(name, "")
        return Verdict(
            exit_code=128 - code,
            outcome="Failed",
            reason="ProcessKilled",
            message=f"rank {rank} was ended by {name}{hint}",
            rank=rank,
            rank_exit_code=128 - code,
        )
    return Verdict(
        exit_code=code,
        outcome="UserError" if code in USER_ERRORS else "Failed",
        reason="ProcessExited",
        message=f"rank {rank} exited with code {code}",
        rank=rank,
        rank_exit_code=code,
    )


def signal_name(number: int) -> str:
    """Return the name of a signal, for people."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
