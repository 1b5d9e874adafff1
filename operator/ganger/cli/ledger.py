"""Where the time of a job went, for people: the ratio, and the causes with the largest first. Pure."""

import msgspec

from ganger.api.status import Goodput
from ganger.api.types import TrainingJob
from ganger.cli import figures

PRODUCTIVE = "productive"
# In the order in which a job meets them; a legend and a bar keep it.
CAUSES = (
    PRODUCTIVE,
    "checkpointing",
    "lost",
    "restoring",
    "starting",
    "restarting",
    "image",
    "scheduling",
    "queued",
    "exporting",
    "suspended",
)
SHOWN_MAX = 4


def seconds(goodput: Goodput | None) -> dict[str, float]:
    """Return the seconds of each cause that took any, in the order of `CAUSES`."""
    if goodput is None or goodput.seconds is None:
        return {}
    found = msgspec.structs.asdict(goodput.seconds)
    return {cause: found[cause] for cause in CAUSES if found[cause] > 0}


def ratio(job: TrainingJob) -> str:
    """Return the goodput as people read it, such as 83%, or "" where it is not known."""
    goodput = job.status.goodput
    return "" if goodput is None or goodput.ratio is None else f"{100 * goodput.ratio:.0f}%"


def losses(goodput: Goodput | None) -> list[tuple[str, float]]:
    """Return causes and seconds of what was not productive, the largest first."""
    found = [(cause, spent) for cause, spent in seconds(goodput).items() if cause != PRODUCTIVE]
    return sorted(found, key=lambda pair: -pair[1])


def in_words(job: TrainingJob) -> list[str]:
    """Return the lines of a page: the ratio, the biggest losses, the steps that were done twice."""
    goodput = job.status.goodput
    if goodput is None or goodput.ratio is None:
        return []
    total = sum(seconds(goodput).values())
    lines = [f"{ratio(job)} of {figures.duration(total)} went into steps that count"]
    lost = losses(goodput)[:SHOWN_MAX]
    if lost:
        lines.append("the rest: " + ", ".join(f"{cause} {figures.duration(spent)}" for cause, spent in lost))
    if goodput.lost_steps:
        lines.append(f"{goodput.lost_steps} steps were lost to failures and rollbacks")
    return lines
