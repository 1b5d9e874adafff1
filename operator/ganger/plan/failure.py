"""Decide what a gang does after one of its workers failed.

The whole gang shares one fate: a lost worker leaves the others waiting in a collective. Who is to blame is found by
`attribution`. The exit codes are those of `contract.ExitCode`; rules follow Job `podFailurePolicy` (KEP-3329): the
first match wins.
"""

from datetime import datetime
from typing import Literal

from msgspec import Struct

from ganger.api.policy import FailurePolicy
from ganger.api.status import Failure, Restarts
from ganger.api.types import TrainingJob
from ganger.contract import USER_ERRORS
from ganger.plan.attribution import cause, disruption, was_deleted, was_told_to_stop
from ganger.plan.gang import Gang
from ganger.plan.remedy import VICTIMS

VICTIM_WAIT_SECONDS = 3.0  # guessed: a kubelet reports an end within about a second


class Verdict(Struct, frozen=True, kw_only=True):
    """One decision about one attempt.

    action: `restart` makes a new attempt, counted or not; `fail` ends the job; `wait` gives the culprit time to show.
    note: why the job ends with this failure, where the failure alone does not say it. ignored: a rule forgives it.
    exclude: a rule wants the node avoided. delay_seconds: before the next attempt; 0.0 after a first failure, for
    waiting would only waste GPUs.
    """

    action: Literal["restart", "fail", "wait"]
    cause: Failure
    reason: str = ""
    note: str = ""
    counted: bool = False
    ignored: bool = False
    exclude: bool = False
    delay_seconds: float = 0.0


def action(policy: FailurePolicy, cause: Failure) -> str:
    """Return what the first rule that matches, or none of them, says of a failure that is no disruption."""
    for rule in policy.rules:
        if cause.exit_code in rule.on_exit_codes or cause.reason in rule.on_reasons:
            return rule.action
    return "FailJob" if cause.exit_code in USER_ERRORS else "Count"


def judge(job: TrainingJob, gang: Gang, *, progressed: bool, step: int | None = None, now: datetime) -> Verdict:
    """Return the gang's fate from its failed, leaving and missing workers.

    `progressed`: the attempt committed a checkpoint; the backoff starts anew. `step`: how far it came, where that is
    known. Raises AssertionError when nothing failed. Pure.
    """
    assert gang.failed or gang.leaving or gang.missing or gang.given_up, "nothing failed"
    found, pod = cause(job, gang, now)
    age_seconds = (now - (found.time or now)).total_seconds()
    disrupted = pod is None or bool(was_deleted(pod) or pod in gang.given_up or disruption(pod))
    stopped = pod is not None and was_told_to_stop(pod)
    if (
        (found.reason in VICTIMS or (stopped and not disrupted))
        and len(gang.failed) < gang.num_workers
        and age_seconds < VICTIM_WAIT_SECONDS
    ):
        # A victim's end may be seen before the culprit's; the kubelets report each on its own. And where one is told to
        # stop, all stop: the end of another may be seen before that of the one that is to blame for it.
        return Verdict(action="wait", cause=found)
    if disrupted or stopped:
        return Verdict(action="restart", cause=found, reason=found.reason)
    return weigh(job, found, progressed=progressed, step=step)


def weigh(job: TrainingJob, found: Failure, *, progressed: bool, step: int | None = None) -> Verdict:
    """Return what the policy does about a failure that is no disruption. Arguments as those of `judge`."""
    policy, restarts = job.spec.failure_policy, job.status.restarts or Restarts()
    wanted = action(policy, found)
    if wanted == "FailJob":
        return Verdict(action="fail", cause=found, reason=found.reason)
    if wanted == "Ignore":
        delay = backoff_seconds(policy, restarts, progressed=progressed)
        return Verdict(action="restart", cause=found, reason=found.reason, ignored=True, delay_seconds=delay)
    exclude = wanted == "ExcludeNode"
    without_progress = 0 if progressed else restarts.without_progress
    if restarts.counted >= policy.max_restarts:
        note = f"{restarts.counted} restarts are spent (failurePolicy.maxRestarts)"
        return Verdict(action="fail", cause=found, reason="MaxRestartsReached", note=note, counted=True)
    if policy.no_progress_restarts is not None and without_progress >= policy.no_progress_restarts:
        note = _no_progress(without_progress, (*restarts.steps_without_progress, step))
        return Verdict(action="fail", cause=found, reason="NoProgress", note=note, counted=True)
    delay = backoff_seconds(policy, restarts, progressed=progressed)
    return Verdict(
        action="restart", cause=found, reason=found.reason, counted=True, exclude=exclude, delay_seconds=delay
    )


def backoff_seconds(policy: FailurePolicy, restarts: Restarts, *, progressed: bool) -> float:
    """Return the backoff after one more failure. Ignored ones spend no restart, but spin as fast as counted ones."""
    in_a_row = 0 if progressed else restarts.without_progress + restarts.ignored_without_progress
    if in_a_row == 0:
        return 0.0
    # The exponent is clamped before use: 2.0 ** 10_000 would overflow.
    return min(policy.backoff.cap_seconds, policy.backoff.base_seconds * 2.0 ** min(in_a_row - 1, 40))


def _no_progress(restarts: int, steps: tuple[int | None, ...]) -> str:
    times = "1 restart" if restarts == 1 else f"{restarts} restarts in a row"
    known = ", ".join(str(step) for step in steps if step is not None)
    died = f"; it died at step {known}" if known else ""
    return f"{times} made no new checkpoint (failurePolicy.noProgressRestarts){died}"
