"""What the end of a session's pod means: the session ended by itself, was hit by a disruption, or failed. Pure.

The text of a pod is not trusted: whatever does not decode is kept as plain text, cut to size.
"""

from datetime import datetime, timedelta
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from ganger.api.observed import Pod, Terminated
from ganger.api.pattern import matches
from ganger.contract import SESSION_CONTAINER, SESSION_ENDED
from ganger.plan.attribution import disruption

SHORT_RUN_SECONDS = 60.0
SHORT_RUNS_MAX = 3
SHORT_RUNS_WITHIN = timedelta(hours=1)
_TEXT_LENGTH_MAX = 600
_NO_SUPERVISOR = ("No module named ganger_session", "No module named 'ganger_session'")
_REASON = r"^[A-Za-z][A-Za-z0-9]{0,63}$"  # a condition takes no other
_NOT_STARTED = frozenset({"StartError", "ContainerCannotRun"})
_FOREIGN_IMAGE = "build it FROM pytorch-cuda-dev, or leave spec.image out of the session and of its job"

Kind = Literal["Culled", "Expired", "Lost", "Failed"]


class End(Struct, frozen=True, kw_only=True):
    """What became of a pod. kind: the phase that follows; of one that was Lost another pod takes the place."""

    kind: Kind
    reason: str
    message: str
    last_activity_time: datetime | None = None


class _Word(Struct, frozen=True, kw_only=True, rename="camel"):
    outcome: str = ""
    reason: str = ""
    message: str = ""
    last_activity_time: Annotated[datetime, Meta(tz=True)] | None = None


def end(pod: Pod) -> End:
    """Return what the end of a pod that is over means."""
    last, name = terminated(pod), pod.metadata.name
    word = _word(last)
    at = word.last_activity_time if word is not None else None
    if word is not None and word.outcome == SESSION_ENDED:
        said = word.message[:_TEXT_LENGTH_MAX]
        if word.reason == "Idle":
            return End(kind="Culled", reason="Idle", message=said or "nothing happened in it", last_activity_time=at)
        if word.reason == "Expired":
            return End(kind="Expired", reason="Expired", message=said or "its time is over", last_activity_time=at)
        why = disruption(pod) or "Stopped"
        return End(kind="Lost", reason=why, message=f"pod {name} was told to stop", last_activity_time=at)
    if pod.status.reason == "DeadlineExceeded":
        return End(kind="Expired", reason="Expired", message="its time is over, and it did not end by itself")
    if why := disruption(pod):
        text = pod.status.message or pod.status.reason
        return End(kind="Lost", reason=why, message=f"pod {name}: {text[:_TEXT_LENGTH_MAX]}".removesuffix(": "))
    if pod.metadata.deletion_timestamp is not None:
        return End(kind="Lost", reason="PodDeleted", message=f"pod {name} was deleted")
    return _failed(pod, last, word)


def terminated(pod: Pod) -> Terminated | None:
    """Return how the session's container ended, None where it never began or still runs."""
    statuses = pod.status.container_statuses
    return next((each.state.terminated for each in statuses if each.name == SESSION_CONTAINER), None)


def runs_short(pod: Pod, now: datetime) -> bool:
    """Whether a pod has not run for SHORT_RUN_SECONDS yet."""
    states = (each.state.running for each in pod.status.container_statuses if each.name == SESSION_CONTAINER)
    since = next((state.started_at for state in states if state is not None), None)
    return was_short(pod) if since is None else (now - since).total_seconds() < SHORT_RUN_SECONDS


def was_short(pod: Pod) -> bool:
    """Whether a pod that is over had run for less than SHORT_RUN_SECONDS, or never."""
    last = terminated(pod)
    if last is None or last.started_at is None or last.finished_at is None:
        return True
    return (last.finished_at - last.started_at).total_seconds() < SHORT_RUN_SECONDS


def counted(short_runs: tuple[datetime, ...], now: datetime) -> tuple[datetime, ...]:
    """Return the short runs of the last hour with one more of now."""
    return (*(at for at in short_runs if now - at < SHORT_RUNS_WITHIN), now)[-SHORT_RUNS_MAX:]


def _word(last: Terminated | None) -> _Word | None:
    if last is None or not last.message:
        return None
    try:
        return msgspec.json.decode(last.message, type=_Word)
    except msgspec.DecodeError:
        return None


def _failed(pod: Pod, last: Terminated | None, word: _Word | None) -> End:
    if last is None:
        text = ": ".join(word for word in (pod.status.reason, pod.status.message) if word)
        return End(kind="Failed", reason="PodRejected", message=text or f"pod {pod.metadata.name} was refused")
    said = last.message.strip()
    image = next((each.image for each in pod.status.container_statuses if each.name == SESSION_CONTAINER), "")
    if any(words in said for words in _NO_SUPERVISOR) or last.reason in _NOT_STARTED:
        message = f"image {image} holds no session: {_FOREIGN_IMAGE}"
        return End(kind="Failed", reason="ImageWithoutSession", message=message)
    if last.reason == "OOMKilled":
        message = "it used more than its memory limit; raise spec.resources.limits.memory and start it again"
        return End(kind="Failed", reason="OOMKilled", message=message)
    if word is not None and word.message:
        reason = word.reason if matches(_REASON, word.reason) else "Error"
        message = word.message[:_TEXT_LENGTH_MAX]
        return End(kind="Failed", reason=reason, message=message, last_activity_time=word.last_activity_time)
    tail = said[-_TEXT_LENGTH_MAX:]
    message = f"it ended with code {last.exit_code}" + (f": {tail}" if tail else "")
    return End(kind="Failed", reason=last.reason or "Error", message=message)
