"""How hard a gang is to preempt among its equals: by the work that it would lose now (docs/adr/0023-victims.md). Pure.

Kueue adds the annotation `kueue.x-k8s.io/priority-boost` of a Workload to its priority. What is written is a level of
the GPU-seconds since the newest committed checkpoint; each level begins with twice the work of the one below. A mark
says what was written last, and when: an annotation that differs from it is somebody else's, and is left alone.
"""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from ganger.api.queueing import ANNOTATION_BOOST, Workload
from ganger.api.types import TrainingJob
from ganger.contract import ANNOTATION_BOOST_MARK
from ganger.plan import ledger, lifecycle
from ganger.plan.environment import device_count
from ganger.plan.gang import Gang
from ganger.plan.live import Live

BOOST_MAX = 30  # level 30 begins with 5,000 years of a GPU; Kueue takes any integer of 32 bits
FIRST_SECONDS = 300  # of one GPU: what level 1 begins with
WRITE_SECONDS = 30.0  # between two writes while the gang trains

Annotations = dict[str, str | None]
_NOTHING: Annotations = {ANNOTATION_BOOST: None, ANNOTATION_BOOST_MARK: None}


class Mark(Struct, frozen=True):
    """What Ganger wrote last: a boost of 0 is no annotation at all."""

    boost: Annotated[int, Meta(ge=0, le=BOOST_MAX)]
    time: Annotated[datetime, Meta(tz=True)]


_decoder = msgspec.json.Decoder(Mark)


def kept(job: TrainingJob, gang: Gang, workload: Workload, live: Live | None, most: int, now: datetime) -> Annotations:
    """Return the annotations to write on the Workload of an admitted job, None for one to take away; {} for none.

    most: the highest boost; 0 turns it off. A gang that does not run has no work to lose. Where nobody has told yet how
    far a running gang is, as after a change of the operator, what is written stays.
    """
    if not most or not job.status.is_true(lifecycle.RUNNING):
        return dropped(workload)
    if not _is_ours(workload) or live is None or live.report.attempt != job.status.attempt or live.report.step is None:
        return {}
    mark = _mark(workload)
    held = mark.boost if mark is not None else 0
    seconds = ledger.lost(job, gang, live)[1] * gang.num_workers * (device_count(job.spec) or 1)
    wanted = level(seconds, held, most)
    # A clock that was set back must not hold a write up for longer.
    if wanted == held or (mark is not None and 0 <= (now - mark.time).total_seconds() < WRITE_SECONDS):
        return {}
    new = msgspec.json.encode(Mark(boost=wanted, time=now)).decode()
    return {ANNOTATION_BOOST: str(wanted) if wanted else None, ANNOTATION_BOOST_MARK: new}


def dropped(workload: Workload) -> Annotations:
    """Return what takes our boost away, {} where there is none of ours.

    Before a Workload waits for quota again: with a boost it would preempt its equals.
    """
    return _NOTHING if _is_ours(workload) and ANNOTATION_BOOST_MARK in workload.metadata.annotations else {}


def level(seconds: float, held: int, most: int) -> int:
    """Return the boost for so many GPU-seconds, 0 to `most`: up at once, down only when half of the held would do.

    So that an estimate which wavers at a step of the ladder costs no write.
    """
    reached = int(seconds // FIRST_SECONDS).bit_length()
    if reached < held and seconds >= FIRST_SECONDS * 2 ** (held - 1) / 2:
        reached = held
    return min(reached, most)


def _is_ours(workload: Workload) -> bool:
    """Whether nobody else has set, changed or removed the annotation since the mark was written."""
    found, mark = workload.metadata.annotations.get(ANNOTATION_BOOST), _mark(workload)
    if mark is None:
        return found is None and ANNOTATION_BOOST_MARK not in workload.metadata.annotations
    return found == (str(mark.boost) if mark.boost else None)


def _mark(workload: Workload) -> Mark | None:
    try:
        return _decoder.decode(workload.metadata.annotations.get(ANNOTATION_BOOST_MARK, ""))
    except msgspec.DecodeError:
        return None
