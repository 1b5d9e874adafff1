"""Whether a job that runs has told of its training, and what to do where it is silent. Pure."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct

from ganger.api.observed import Pod
from ganger.cli import figures
from ganger.cli.seen import Seen
from ganger.contract import ANNOTATION_CONTROL_CA, CONTROL_PORT

# Guesses: a first report waits for imports, a data set and a compiler; a later one for a slow step or an evaluation.
FIRST_REPORT = timedelta(minutes=3)
NEXT_REPORT = timedelta(minutes=3)
STEPS_WITHOUT_REPORT = 10


class Hint(Struct, frozen=True):
    """The cause of the trouble and what to do about it."""

    cause: str
    fix: str


DEAF = "its workers were made without a control channel"
LISTEN = "install the operator with control.enabled=true; workers that are made from then on have one"


def is_deaf(pods: Iterable[Pod]) -> bool:
    """Whether there are workers and none of them was told where to report; those that were carry an annotation."""
    found = list(pods)
    return bool(found) and not any(ANNOTATION_CONTROL_CA in pod.metadata.annotations for pod in found)


def silence(seen: Seen) -> Hint | None:
    """Return the hint of a running job that has said nothing for too long, or None while it speaks."""
    progress, running = seen.job.status.progress, seen.job.status.condition("Running")
    since = running.last_transition_time if running is not None else None
    if since is None:
        return None
    if is_deaf(seen.present):
        return Hint(f"nothing is reported before the end: {DEAF}", LISTEN) if progress is None else None
    if progress is None or progress.step is None:
        return _never(seen, since) if seen.now - since >= FIRST_REPORT else None
    if progress.updated_time is None:
        return None
    quiet = seen.now - max(progress.updated_time, since)
    return _stale(seen, quiet) if quiet >= max(NEXT_REPORT, STEPS_WITHOUT_REPORT * _step(seen)) else None


def _never(seen: Seen, since: datetime) -> Hint:
    spec, name = seen.job.spec, seen.job.metadata.name
    cause = f"the workers have run for {figures.age(since, seen.now)} and no progress was reported"
    if spec.script is not None:
        fix = "call ganger_trainer.report(step=..., loss=...) in the training loop"
        return Hint(cause, f"{fix}; Hugging Face's KubeflowCallback does too")
    if spec.command is not None:
        fix = "use a transformers whose Trainer has KubeflowCallback, or spec.script and ganger_trainer.report"
        return Hint(cause, fix)
    return Hint(
        cause, f"'ganger logs -f {name}' shows what the workers do; 'ganger request {name} stacks' where they are"
    )


def _stale(seen: Seen, quiet: timedelta) -> Hint:
    name = seen.job.metadata.name
    how_long = figures.duration(quiet.total_seconds())
    cause = f"nothing new was reported for {how_long}: the workers hang, or cannot reach the operator"
    look = f"'ganger logs -f {name}'"
    if seen.job.spec.command is None:
        look = f"'ganger request {name} stacks', then {look}"
    return Hint(cause, f"{look}; where they train on, let them reach the operator's port {CONTROL_PORT}")


def _step(seen: Seen) -> timedelta:
    """Return the mean time of a step, 0 where it is not known."""
    progress, goodput = seen.job.status.progress, seen.job.status.goodput
    if progress is None or not progress.step or goodput is None or goodput.seconds is None:
        return timedelta()
    return timedelta(seconds=goodput.seconds.productive / progress.step)
