"""Settings that change while a job trains: what is sent, who has taken it, what is said of it (docs/adr/0026). Pure.

Level-triggered: the whole of spec.liveConfig goes to the workers with every answer and into every pod that is made, and
they say what is in force. Nothing here stops a job: what cannot be served is a condition, and training goes on.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from ganger.api.status import LiveValue, TrainingJobStatus
from ganger.api.types import TrainingJob
from ganger.contract import LIVE_CONFIG_BYTES_MAX
from ganger.plan.facts import state
from ganger.plan.gang import Gang
from ganger.plan.live import Heard, LiveSettings
from ganger.plan.seen import Event
from ganger.plan.wish import is_too_large

PATH = "spec.liveConfig"
REFUSED, APPLIED = "LiveConfigRefused", "LiveConfigApplied"
_VALUE_CHARACTERS = 64  # of a value that is refused, in a report


def agreed(job: TrainingJob, gang: Gang, heard: Iterable[Heard]) -> LiveSettings | None:
    """Return what all workers of the present round train with, None until every one of them has said the same."""
    said = {each.report.worker: each.report.live for each in heard if each.report.round == job.status.round}
    first = said.get(0)
    whole = len(said) == gang.num_workers and all(live == first for live in said.values())
    return first if whole else None


def noted(job: TrainingJob, status: TrainingJobStatus, live: LiveSettings | None, now: datetime) -> TrainingJobStatus:
    """Return the status with what is in force, and with the condition that something is refused."""
    if live is not None:
        values = (LiveValue(name=each.name, value=each.value, applied_at_step=each.step) for each in live.values)
        status = msgspec.structs.replace(status, live_config=tuple(values))
    found = _refusals(job, live)
    if found:
        why = f"{'; '.join(words for _, words in found)}; the values before stay in force"
        return state(status, job, now, (REFUSED, True, found[0][0], why))
    if live is None or status.condition(REFUSED) is None:
        return status
    return state(status, job, now, (REFUSED, False, "Accepted", ""))


def refused(status: TrainingJobStatus) -> str | None:
    """Return what of spec.liveConfig is refused and why, as the status has it, or None."""
    condition = status.condition(REFUSED)
    return condition.message if condition is not None and condition.status == "True" else None


def told(name: str, value: Any) -> str:
    """Return the words with which the refusal of that value begins."""
    return f"{name}={text(value)[:_VALUE_CHARACTERS]}: "


def text(value: Any) -> str:
    """Return a value as the JSON text in which workers tell it."""
    return msgspec.json.encode(value, order="sorted").decode()


def events(job: TrainingJob, new: TrainingJobStatus, live: LiveSettings | None) -> tuple[Event, ...]:
    """Return the events of what the new status tells and the job's present one does not."""
    old = {value.name: value.value for value in job.status.live_config}
    now = {value.name: value for value in new.live_config}
    parts = [
        f"{name}={value.value} from step {value.applied_at_step} on"
        for name, value in now.items()
        if old.get(name) != value.value
    ]
    since = f" from step {live.step} on" if live is not None else ""
    parts += [f"{name} as in spec.config{since}" for name in old if name not in now]
    found = [Event(reason=APPLIED, message="all workers train with " + ", ".join(parts))] if parts else []
    why = refused(new)
    if why is not None and why != refused(job.status):
        found.append(Event(reason=REFUSED, message=why, warning=True))
    return tuple(found)


def _refusals(job: TrainingJob, live: LiveSettings | None) -> list[tuple[str, str]]:
    """Return reason and sentence of everything in the present spec that is not in force and will not be."""
    spec = job.spec
    if spec.live_config and spec.task is None:
        return [("NoTask", f"{PATH} is for a task: nothing tells a script or a command of it")]
    if is_too_large(spec):
        return [("TooLarge", f"{PATH} must be at most {LIVE_CONFIG_BYTES_MAX} bytes as JSON")]
    found = []
    for each in live.refused if live is not None else ():
        words = f"{each.name}={each.value}: "
        # What was refused may have been mended since.
        if each.name in spec.live_config and words == told(each.name, spec.live_config[each.name]):
            found.append((each.reason, words + each.message))
    return found
