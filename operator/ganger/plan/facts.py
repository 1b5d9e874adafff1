"""Facts about a job as conditions of its status. Pure."""

from datetime import datetime

import msgspec

from ganger.api.conditions import upsert
from ganger.api.status import TrainingJobStatus
from ganger.api.types import TrainingJob

Fact = tuple[str, bool, str, str]  # type, whether it is true, reason, message


def state(status: TrainingJobStatus, job: TrainingJob, now: datetime, *facts: Fact) -> TrainingJobStatus:
    """Return the status with the facts as conditions of the job's present generation; equal if they are known."""
    conditions = status.conditions
    for type_, true, reason, message in facts:
        conditions = upsert(conditions, type_, true, reason, message, now=now, generation=job.metadata.generation)
    return msgspec.structs.replace(status, conditions=conditions)
