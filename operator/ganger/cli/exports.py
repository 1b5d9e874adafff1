"""What is known of a job's model files, for people and for scripts. Pure."""

from collections.abc import Sequence
from typing import Any

from ganger.api.status import Artifact
from ganger.api.types import TrainingJob
from ganger.cli import figures
from ganger.plan import names

COLUMNS = ("FORMAT", "STEP", "DIFFERENCE", "SIZE", "SHA256", "PATH")
_DIGITS = 12  # of the digest: to tell two files apart; -o json has all of it


def row(one: Artifact) -> tuple[str, ...]:
    """Return the cells of a table, not escaped."""
    return (
        one.format,
        str(one.step) if one.step is not None else "",
        f"{one.max_abs_diff:.2g}" if one.max_abs_diff is not None else "",
        figures.size(one.bytes) if one.bytes is not None else "",
        one.sha256[:_DIGITS],
        one.path,
    )


def table(files: Sequence[Artifact]) -> list[str]:
    """Return the files as a table with a head, not escaped."""
    return figures.table(COLUMNS, [row(one) for one in files])


def lines(job: TrainingJob) -> list[str]:
    """Return how far the model files of a job are, not escaped; nothing of a job that wants none."""
    if not job.spec.export:
        return []
    wanted, at = ", ".join(one.format for one in job.spec.export), job.status.export
    if job.status.artifacts:
        return table(job.status.artifacts)
    if at is None:
        return [f"{wanted}, when the training is done"]
    said = [f"{wanted}, by pod {names.export(job.metadata.name, at.number)}"]
    if job.status.finished:
        said = [f"{wanted}: not made"]
    if at.last is not None:
        said.append(f"last: {at.last.reason} in {at.last.pod}: {at.last.message}".rstrip(": "))
    return said


def as_values(files: Sequence[Artifact]) -> list[dict[str, Any]]:
    """Return the same for scripts, with whole digests; keys as in status.artifacts."""
    found = [
        {
            "format": one.format,
            "path": one.path,
            "sha256": one.sha256,
            "bytes": one.bytes,
            "maxAbsDiff": one.max_abs_diff,
            "step": one.step,
        }
        for one in files
    ]
    return [{key: value for key, value in one.items() if value is not None} for one in found]
