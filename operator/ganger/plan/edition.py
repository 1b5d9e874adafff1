"""Which edition of the spec, and which values of its profile, a pod or a Workload was made from.

A frozen field changes only while spec.suspend is true, but nobody has to wait for the operator in between: a job that
is suspended, edited and resumed while no operator looks never stopped. Its pods say what they were made from, so that
those of an older edition are seen and make room; else a gang would train for ever what its manifest no longer says.
The values of a profile are known by a digest of their own: no edit of the job tells that they are others.
"""

import hashlib
from collections.abc import Iterable

import msgspec

from ganger.api.freeze import FROZEN
from ganger.api.observed import Pod
from ganger.api.profile import digest
from ganger.api.queueing import Workload
from ganger.api.status import ProfileStatus
from ganger.api.types import TrainingJob, TrainingJobSpec, encode
from ganger.contract import ANNOTATION_EDITION, ANNOTATION_PROFILE

_DIGITS = 16  # of the digest: to tell two editions of one job apart, not to resist anybody


def edition(job: TrainingJob) -> str:
    """Return the generation of the job and a digest of every frozen field. Pure.

    job: as it is stored. With an operator's default image in it, every edit after an upgrade would be another edition.
    Where it names a profile, the spec counts as its user wrote it: what the profile adds comes with the first status.
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


def values_mark(kept: ProfileStatus | None) -> dict[str, str]:
    """Return the annotation of what is made with these values of a profile; none without a profile. Pure."""
    return {} if kept is None else {ANNOTATION_PROFILE: digest(kept.values)}


def has_other_values(made: Iterable[Pod | Workload], kept: ProfileStatus | None) -> bool:
    """Whether any of these was made with other values of a profile than are kept, which nobody knows any more. Pure."""
    wanted = values_mark(kept).get(ANNOTATION_PROFILE)
    return any(one.metadata.annotations.get(ANNOTATION_PROFILE) != wanted for one in made)


def _digest(job: TrainingJob) -> str:
    free = {"workers"} if job.spec.elastic is not None else set()  # within its bounds
    spec = encode(msgspec.convert(job.written, TrainingJobSpec) if job.written else job.spec)
    frozen = {each.field: spec[each.field] for each in FROZEN if each.field in spec and each.field not in free}
    return hashlib.sha256(msgspec.json.encode(frozen, order="sorted")).hexdigest()[:_DIGITS]
