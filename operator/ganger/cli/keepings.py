"""What is known of checkpoints without looking into a volume: from the status of jobs and from their claims. Pure."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from msgspec import Struct

from ganger.api.types import TrainingJob
from ganger.cli import figures
from ganger.cli.status import claim_of
from ganger.contract import LABEL_JOB, LABEL_MANAGED_BY, MANAGED_BY
from ganger.plan import names

COLUMNS = ("JOB", "STATE", "STEP", "AGE", "SIZE", "VERIFIED", "KEPT", "DAMAGED", "CLAIM", "VOLUME")
GONE = "job is gone"


class Keeping(Struct, frozen=True, kw_only=True):
    """The checkpoints of one job, or the claim that is left of one. claim: as JSON, None where there is none."""

    name: str
    claim_name: str
    job: TrainingJob | None = None
    claim: dict[str, Any] | None = None

    @property
    def is_left(self) -> bool:
        """Whether the job is gone and nothing but a job of its name would use the claim again."""
        return self.job is None and self.claim is not None and not self.claim["metadata"].get("deletionTimestamp")


def keepings(jobs: Iterable[TrainingJob], claims: Iterable[dict[str, Any]]) -> list[Keeping]:
    """Return one for each job that keeps checkpoints, and one for each claim whose job is gone, by name."""
    present = list(jobs)
    by_name = {claim["metadata"]["name"]: claim for claim in claims}
    found = [
        Keeping(name=job.metadata.name, claim_name=claim_of(job), job=job, claim=by_name.get(claim_of(job)))
        for job in present
        if job.spec.checkpoint is not None
    ]
    living = {job.metadata.name for job in present}
    used = {claim for job in present for claim in _used(job)}
    found += [
        Keeping(name=owner, claim_name=name, claim=claim)
        for name, claim in by_name.items()
        if (owner := _owner(claim)) and owner not in living and name not in used
    ]
    return sorted(found, key=lambda one: (one.name, one.claim_name))


def _owner(claim: dict[str, Any]) -> str:
    """Return the name of the job that the claim was made for, "" where it was made for none."""
    labels = claim["metadata"].get("labels") or {}
    owner = str(labels.get(LABEL_JOB, ""))
    ours = labels.get(LABEL_MANAGED_BY) == MANAGED_BY and claim["metadata"]["name"] == names.claim(owner)
    return owner if ours else ""


def _used(job: TrainingJob) -> set[str]:
    """Return the claims that a job names, be they for its checkpoints, its data or its code."""
    found = {claim_of(job)}
    found |= {volume.claim.claim_name for volume in job.spec.volumes if volume.claim is not None}
    if job.spec.code is not None and job.spec.code.claim is not None:
        found.add(job.spec.code.claim.claim_name)
    return found


def row(one: Keeping, now: datetime) -> tuple[str, ...]:
    """Return the cells of a table, not escaped."""
    state = (one.job.status.phase or "Pending").lower() if one.job is not None else GONE
    point = one.job.status.checkpoint if one.job is not None else None
    cells = [""] * 6
    if point is not None:
        cells = [
            str(point.latest_step) if point.latest_step is not None else "",
            figures.age(point.latest_time, now),
            figures.size(point.bytes) if point.bytes is not None else "",
            {True: "yes", False: "no", None: ""}[point.verified],
            str(point.kept) if point.kept is not None else "",
            str(len(point.quarantined)) if point.quarantined else "",
        ]
    return (one.name, state, *cells, one.claim_name, volume(one.claim))


def volume(claim: dict[str, Any] | None) -> str:
    """Return phase and size of a claim."""
    if claim is None:
        return "missing"
    status = claim.get("status") or {}
    size = (status.get("capacity") or {}).get("storage")
    asked = ((claim.get("spec") or {}).get("resources") or {}).get("requests") or {}
    return f"{status.get('phase', 'Pending')} {size or asked.get('storage', '')}".strip()


def as_values(one: Keeping) -> dict[str, Any]:
    """Return the same for scripts; a key that is not known is absent."""
    found: dict[str, Any] = {"job": one.name, "exists": one.job is not None, "claim": one.claim_name}
    if one.claim is not None:
        found["volume"] = volume(one.claim)
    point = one.job.status.checkpoint if one.job is not None else None
    if point is not None:
        known = {
            "step": point.latest_step,
            "time": point.latest_time.isoformat() if point.latest_time is not None else None,
            "bytes": point.bytes,
            "verified": point.verified,
            "kept": point.kept,
        }
        found |= {key: value for key, value in known.items() if value is not None}
        found["damaged"] = list(point.quarantined)
    return found
