"""What is asked of running workers: save a checkpoint now, show the stacks.

A user asks by an annotation of the job; a suspicion that the gang hangs asks for the stacks, once.
An annotation's value is the time of the wish. A worker that was created before it does what it asks, once; one that was
created later is not meant, or every restart would repeat it.
"""

from datetime import datetime
from typing import Literal

from msgspec import Struct

from ganger.api.observed import Pod
from ganger.api.types import TrainingJob
from ganger.contract import ANNOTATION_CHECKPOINT, ANNOTATION_STACKS
from ganger.plan.lifecycle import HANG_SUSPECTED

Kind = Literal["Checkpoint", "DumpStacks"]
_KINDS: dict[str, Kind] = {ANNOTATION_CHECKPOINT: "Checkpoint", ANNOTATION_STACKS: "DumpStacks"}


class Directive(Struct, frozen=True, kw_only=True):
    """One wish. `id` is the same in every answer until the worker says that it is done."""

    id: str
    kind: Kind


def directives(job: TrainingJob, pod: Pod, done: tuple[str, ...] = ()) -> tuple[Directive, ...]:
    """Return what the worker in that pod still has to do. An annotation that is no time asks for nothing."""
    wanted = []
    for annotation, kind in _KINDS.items():
        text = job.metadata.annotations.get(annotation, "")
        at = _time(text)
        created = pod.metadata.creation_timestamp
        identity = f"{kind}-{text}"[:64]
        if at is not None and created is not None and at >= created and identity not in done:
            wanted.append(Directive(id=identity, kind=kind))
    suspicion = job.status.condition(HANG_SUSPECTED)
    if suspicion is not None and suspicion.status == "True" and suspicion.last_transition_time is not None:
        identity = f"Hang-{suspicion.last_transition_time.isoformat()}"
        if identity not in done:
            wanted.append(Directive(id=identity, kind="DumpStacks"))
    return tuple(wanted)


def _time(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo is not None else None
