"""The screen of all jobs: one line each, those that live first. Pure: facts in, lines out."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Group
from rich.text import Text

from ganger.api.observed import Metadata
from ganger.api.types import TrainingJob
from ganger.cli import canvas, eta, figures, ledger, listing
from ganger.cli.canvas import line
from ganger.cli.watching import Fleet

ORDER = ("Running", "Exporting", "Restarting", "Starting", "Pending", "Suspended", "Failed", "Complete")
GAP = "  "
BAR_MAX, BAR_MIN = 16, 6
NAME_ENOUGH, NAME_MIN = 20, 8  # a longer name is cut before a column is left out, a shorter one after
# In the order of the screen.
COLUMNS = (
    "NAMESPACE", "NAME", "PHASE", "WORKERS", "PROGRESS", "STEP", "LOSS", "SAMPLES/S", "ETA", "CKPT AGE", "RESTARTS",
    "GOODPUT",
)  # fmt: skip
# What a narrow terminal does without, the first first.
DISPENSABLE = ("GOODPUT", "CKPT AGE", "RESTARTS", "SAMPLES/S", "WORKERS", "LOSS", "STEP", "NAMESPACE")
_OLD = datetime.min.replace(tzinfo=UTC)


def page(found: Fleet, now: datetime, width: int, height: int | None, *, where: str) -> Group:
    """Return the screen. where: the namespace, or "" for all of them. height: lines of the terminal, None for all."""
    jobs = sorted(found.values(), key=_rank)
    title = line(
        (f"{len(jobs)} jobs" if len(jobs) != 1 else "1 job", "bold"), f" in {where or 'all namespaces'}", *_counts(jobs)
    )
    if not jobs:
        return canvas.page([title, line("'ganger submit -f job.yaml' starts one")], width, height)
    room = len(jobs) if height is None else max(1, height - 2)
    shown = jobs if len(jobs) <= room else jobs[: room - 1]
    rows = [_cells(job, now) for job in shown]
    lines = [title, *_table(rows, width, with_namespace=not where)]
    if len(shown) < len(jobs):
        lines.append(line((f"and {len(jobs) - len(shown)} more", "dim")))
    return canvas.page(lines, width, height)


def _counts(jobs: Sequence[TrainingJob | Metadata]) -> list[canvas.Piece | str]:
    counts = Counter(_phase(job) for job in jobs)
    pieces: list[canvas.Piece | str] = []
    for name in (*ORDER, "?"):
        if counts[name]:
            pieces += ["  ", canvas.phase(name), f" {counts[name]}"]
    return pieces


def _phase(job: TrainingJob | Metadata) -> str:
    return "?" if isinstance(job, Metadata) else job.status.phase or "Pending"


def _rank(job: TrainingJob | Metadata) -> tuple[int, float, str, str]:
    """Living jobs in the order of their phases and names, then the ended ones, the newest first."""
    metadata = job if isinstance(job, Metadata) else job.metadata
    phase = _phase(job)
    ended = None if isinstance(job, Metadata) else job.status.completion_time
    order = ORDER.index(phase) if phase in ORDER else 0
    if phase in ("Failed", "Complete"):
        order = len(ORDER)
    return order, -(ended or _OLD).timestamp() if order == len(ORDER) else 0.0, metadata.namespace, metadata.name


def _cells(job: TrainingJob | Metadata, now: datetime) -> dict[str, str]:
    if isinstance(job, Metadata):  # of a newer operator: it is there, and what it is stays unknown
        return {"NAMESPACE": job.namespace, "NAME": job.name, "PHASE": "?"}
    status, progress, point = job.status, job.status.progress, job.status.checkpoint
    end = eta.expected(job)
    return {
        "NAMESPACE": job.metadata.namespace,
        "NAME": job.metadata.name,
        "PHASE": _phase(job),
        "WORKERS": status.workers or f"0/{job.spec.workers}",
        "PROGRESS": (progress.percent or "") if progress is not None else "",
        "STEP": listing.step(job),
        "LOSS": (progress.loss or "") if progress is not None else "",
        "SAMPLES/S": listing.rate(job),
        "ETA": figures.duration((end - now).total_seconds()) if end is not None else "",
        "CKPT AGE": figures.age(point.latest_time if point is not None else None, now),
        "RESTARTS": str(status.restarts.total if status.restarts is not None else 0),
        "GOODPUT": ledger.ratio(job),
    }


def _table(rows: Sequence[dict[str, str]], width: int, *, with_namespace: bool) -> list[Text]:
    """Return header and rows in the columns that fit; the bar takes what is left, a long name is cut as the last."""
    widths = {name: max([len(name), *(len(row.get(name, "")) for row in rows)]) for name in COLUMNS}
    widths["PROGRESS"] = BAR_MIN + len(" 100%")
    if not with_namespace:
        del widths["NAMESPACE"]
    _shrink_name(widths, width, NAME_ENOUGH)
    for name in DISPENSABLE:
        if _total(widths) > width:
            widths.pop(name, None)
    _shrink_name(widths, width, NAME_MIN)
    widths["PROGRESS"] += min(BAR_MAX - BAR_MIN, max(0, width - _total(widths)))
    lines = [line((GAP.join(f"{name:<{size}}" for name, size in widths.items()), "dim"))]
    for row in rows:
        pieces: list[canvas.Piece | str] = []
        for name, size in widths.items():
            pieces += [_cell(name, row.get(name, ""), size), GAP]
        lines.append(line(*pieces[:-1]))
    return lines


def _shrink_name(widths: dict[str, int], width: int, least: int) -> None:
    over = max(0, _total(widths) - width)
    widths["NAME"] = max(min(widths["NAME"], least), widths["NAME"] - over)


def _cell(name: str, text: str, size: int) -> canvas.Piece:
    if name == "PROGRESS":
        if not text:
            return " " * size, ""
        length = size - len(" 100%")
        return f"{canvas.bar(int(text.rstrip('%')) / 100, length)} {text:>4}", "green"
    cut = text if len(text) <= size else f"{text[: size - 1]}…"
    if name == "PHASE":
        phase = canvas.phase(text)
        return f"{cut:<{size}}", phase[1]
    return f"{cut:<{size}}", ""


def _total(widths: dict[str, int]) -> int:
    return sum(widths.values()) + len(GAP) * (len(widths) - 1)
