"""When a job will be done, in words: "in 12 min, between 11 and 14". Pure."""

from datetime import datetime

from ganger.api.types import TrainingJob

# From so many seconds on, in this unit of so many seconds, with so many decimals.
_UNITS = ((2 * 86400, 86400, "d", 1), (3 * 3600, 3600, "h", 1), (120, 60, "min", 0), (0, 1, "s", 0))
LIKELIHOOD = "8 times in 10"  # how often the end lies in the interval


def expected(job: TrainingJob) -> datetime | None:
    """Return when the last step is expected, or None where nobody knows or the job does not train."""
    progress = job.status.progress
    if progress is None or not job.status.is_true("Running") or job.status.finished:
        return None
    return progress.eta_time


def in_words(job: TrainingJob, now: datetime) -> str:
    """Return the time left with its interval, or "" where it is not known. All three figures are in one unit."""
    eta, progress = expected(job), job.status.progress
    if eta is None or progress is None:
        return ""
    left = (eta - now).total_seconds()
    if left <= 0:
        return "any moment"
    _, unit, name, decimals = next(row for row in _UNITS if left >= row[0])

    def figure(until: datetime) -> str:
        return f"{max(0.0, (until - now).total_seconds()) / unit:.{decimals}f}"

    words = f"in {figure(eta)} {name}"
    if progress.eta_earliest_time is None or progress.eta_latest_time is None:
        return words
    earliest, latest = figure(progress.eta_earliest_time), figure(progress.eta_latest_time)
    return words if earliest == latest else f"{words}, between {earliest} and {latest}"
