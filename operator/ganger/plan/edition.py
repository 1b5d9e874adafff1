"""Which edition of the spec a pod was made from.

A frozen field changes only while spec.suspend is true, but nobody has to wait for the operator in between: a job that
is suspended, edited and resumed while no operator looks never stopped. Its pods say what they were made from, so that
those of an older edition are seen and make room; else a gang would train for ever what its manifest no longer says.
"""

import hashlib
from collections.abc import Iterable

import msgspec

from ganger.api.freeze import FROZEN
from ganger.api.observed import Pod
from ganger.api.queueing import Workload
from ganger.api.types import TrainingJob, encode
from ganger.contract import ANNOTATION_EDITION

_DIGITS = 16  # of the digest: to tell two editions of one job apart, not to resist anybody


def edition(job: TrainingJob) -> str:
    """Return the generation of the job and a digest of every frozen field. Pure.

    job: as it is stored. With an operator's default image in it, every edit after an upgrade would be another edition.
    """
    return f"{job.metadata.generation}-{_digest(job)}"


def outdated(job: TrainingJob, pods: Iterable[Pod | Workload]) -> bool:
    """Whether a pod, or the Workload of a gang, was made from a spec in which a frozen field was another. Pure.

    Within one generation nothing has changed, whatever another version of the operator makes of the defaults. Pods of a
    version that did not say what they were made from are taken as they are.
    """
    marks = {pod.metadata.annotations.get(ANNOTATION_EDITION, "").partition("-") for pod in pods}
    changed = {digest for generation, _, digest in marks if digest and generation != str(job.metadata.generation)}
    return bool(changed - {_digest(job)}) if changed else False


def _digest(job: TrainingJob) -> str:
    free = {"workers"} if job.spec.elastic is not None else set()  # within its bounds
    spec = encode(job.spec)
    frozen = {each.field: spec[each.field] for each in FROZEN if each.field in spec and each.field not in free}
    return hashlib.sha256(msgspec.json.encode(frozen, order="sorted")).hexdigest()[:_DIGITS]
