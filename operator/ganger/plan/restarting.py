"""What follows on the end of a worker or a gang that goes back: an attempt or a round of another number, or the end.

Each answer is the one write that opens what comes next, and nothing else happens in that pass.
"""

from datetime import datetime

from ganger.api.status import Failure, Rung
from ganger.api.types import TrainingJob
from ganger.plan import ending, giveway, ladder, lifecycle
from ganger.plan.failure import Verdict, judge, weigh
from ganger.plan.gang import Gang
from ganger.plan.headway import headway
from ganger.plan.remedy import advised
from ganger.plan.seen import Decision, Event, Seen
from ganger.plan.site import Site

VICTIM_RETRY_SECONDS = 0.5
SAMPLE_LINES = 3  # of the last lines of whoever failed, in the event


def failed(
    job: TrainingJob,
    seen: Seen,
    members: Gang,
    fallen: Gang,
    now: datetime,
    site: Site,
    *,
    through: Verdict | None = None,
    hung: Failure | None = None,
) -> Decision:
    """Return what a failure leads to: another attempt, another round of this one, or the end of the job.

    fallen counts workers that only reported their failure as ended. through: a restart in place failed. hung: no rank
    moves, though nothing ended.
    """
    far = headway(job, fallen, seen.live)
    if hung is not None:
        verdict = weigh(job, hung, progressed=far.progressed, step=far.step)
    else:
        verdict = through or judge(job, fallen, progressed=far.progressed, step=far.step, now=now)
    cause = verdict.cause
    if verdict.action == "wait":
        return Decision(requeue_after_seconds=VICTIM_RETRY_SECONDS)
    where = f"pod {cause.pod}" if cause.pod else "a worker"
    code = "" if cause.exit_code is None else f" (exit code {cause.exit_code})"
    sentence = f"{where} ended with {cause.reason}{code}" + (f": {cause.message}" if cause.message else "")
    if hung is not None:
        sentence = f"{cause.reason}: {cause.message}"
    if cause.last_lines and not cause.message:
        sentence += ": " + " / ".join(cause.last_lines[-SAMPLE_LINES:])
    if verdict.action == "fail":
        if verdict.note:
            sentence = f"{verdict.note}; {sentence}"
        return ending.fail(job, members, now, verdict.reason, sentence, verdict)
    counted = "counted" if verdict.counted else "not counted"
    when = f" in {verdict.delay_seconds:.0f} s" if verdict.delay_seconds else ""
    rung: Rung = "Pods"
    if through is None:
        rung = ladder.rung(job, members, seen.heard, verdict, site, progressed=far.progressed, now=now)
    round_ = ladder.next_round(job, seen.heard)
    what = f"attempt {job.status.attempt + 1} starts" if rung == "Pods" else f"{ladder.NAMES[rung]} {round_} starts"
    message = f"{sentence}; {what}{when} ({counted})"
    return Decision(
        status=lifecycle.restarting(job, fallen, verdict, far, now, rung, round_),
        events=(Event(reason="Restarting", message=advised(message, cause), warning=verdict.counted),),
    )


def gives_way(job: TrainingJob, seen: Seen, members: Gang, fallen: Gang, now: datetime) -> Decision:
    """Return the decision by which a gang that is stuck leaves its places to another one."""
    verdict = giveway.verdict(job, members, now)
    status = lifecycle.restarting(job, fallen, verdict, headway(job, fallen, seen.live), now)
    message = (
        f"{verdict.cause.reason}: {verdict.cause.message}; attempt {status.attempt} starts in "
        f"{verdict.delay_seconds:.0f} s (not counted)"
    )
    return Decision(status=status, events=(Event(reason="Restarting", message=advised(message, verdict.cause)),))
