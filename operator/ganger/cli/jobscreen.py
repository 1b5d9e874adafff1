"""The screen of one job: how it trains, where its time goes, what its workers do. Pure: facts in, lines out."""

from collections.abc import Iterator
from datetime import datetime

from rich.console import Group
from rich.text import Text

from ganger.api.observed import Pod
from ganger.api.types import TrainingJob
from ganger.cli import canvas, curve, eta, exports, figures, lastfailure, ledger, listing, report
from ganger.cli.canvas import LABEL_WIDTH, Piece, line, section
from ganger.cli.hint import hint
from ganger.cli.sentence import sentence
from ganger.cli.view import View
from ganger.contract import CONTAINER
from ganger.plan.gang import worker_of

WORKERS_MAX = 8
EVENTS_MAX = 5
AXIS_WIDTH = 10  # of the figures left of the curve
CURVE_HEIGHT_MIN, CURVE_HEIGHT_MAX = 3, 10
# A character and a colour for each cause, so that a bar can be read without colours too.
CAUSES = {
    "productive": ("█", "green"),
    "checkpointing": ("▓", "cyan"),
    "lost": ("x", "red"),
    "restoring": ("▒", "blue"),
    "starting": ("░", "magenta"),
    "restarting": ("/", "yellow"),
    "image": ("-", "bright_black"),
    "scheduling": (":", "bright_black"),
    "queued": (".", "bright_black"),
    "exporting": ("+", "green"),
    "suspended": ("_", "dim"),
}


def page(view: View, now: datetime, width: int, height: int | None) -> Group:
    """Return the screen. height: lines of the terminal, None for as many as there are. There must be a job."""
    job = view.job
    assert job is not None
    room = width - LABEL_WIDTH
    head = [*_header(job, now, width), *section("Progress", _progress(job, now, room))]
    tail = [
        *section("Samples/s", _rate(view, room)),
        *section("Goodput", _goodput(job, room)),
        *section("Workers", _workers(view, now)),
        *section("Checkpoint", [line(", ".join(report.checkpoint_parts(job, now)))]),
        *section("Files", [line(text) for text in exports.lines(job)]),
        *section("Failure", _failure(job, now, room)),
        *section("Events", _events(view, now)),
    ]
    hinted = section("Hint", _hint(view, now, room))
    left = CURVE_HEIGHT_MAX if height is None else height - len(head) - len(tail) - len(hinted) - 1
    loss = section("Loss", _loss(view, room, min(CURVE_HEIGHT_MAX, max(CURVE_HEIGHT_MIN, left))))
    return canvas.page([*head, *hinted, *loss, *tail], width, height)


def _header(job: TrainingJob, now: datetime, width: int) -> Iterator[Text]:
    status = job.status
    pieces: list[str | Piece] = [(job.metadata.name, "bold"), "  ", canvas.phase(status.phase or "Pending")]
    pieces.append(f"  {status.workers or f'0/{job.spec.workers}'} workers")
    if status.attempt:
        pieces.append(f"  attempt {status.attempt}")
    if status.round:
        pieces.append(f"  round {status.round}")
    pieces.append(f"  {figures.age(job.metadata.creation_timestamp, now)} old")
    left = line(*pieces)
    gap = width - left.cell_len - len(job.metadata.namespace)
    yield line(*pieces, f"{' ' * gap}", (job.metadata.namespace, "dim")) if gap > 1 else left
    if not status.is_true("Running") or status.finished:
        yield from canvas.paragraph(sentence(job, now), width)


def _progress(job: TrainingJob, now: datetime, room: int) -> Iterator[Text]:
    progress = job.status.progress
    if progress is None or progress.step is None:
        yield line("none reported yet")
        return
    words = f"step {listing.step(job)}" + (f"  epoch {progress.epoch}" if progress.epoch is not None else "")
    if progress.total_steps:
        share = progress.step / progress.total_steps
        percent = progress.percent or f"{100 * share:.0f}%"
        size = max(8, min(40, room - len(words) - 8))
        yield line((canvas.bar(share, size), "green"), f" {percent:>4}  {words}")
    else:
        yield line(words)
    left = eta.in_words(job, now)
    if left:
        likely = f" ({eta.LIKELIHOOD})" if "between" in left else ""
        yield line(f"done {left}", (likely if len(f"done {left}{likely}") <= room else "", "dim"))
    if progress.metrics:
        yield line("  ".join(f"{metric.name} {figures.number(metric.value)}" for metric in progress.metrics))


def _loss(view: View, room: int, height: int) -> Iterator[Text]:
    points = view.loss.points
    progress = view.job.status.progress if view.job is not None else None
    if progress is None or progress.loss is None:
        return
    if len(points) < 2:  # a curve of one point is none
        yield line(progress.loss, ("  its curve begins with the next report", "dim"))
        return
    width = room - AXIS_WIDTH
    high, low = max(view.loss.values), min(view.loss.values)
    rows = curve.braille(points, width, height)
    for number, row in enumerate(rows):
        figure = figures.number(high) if number == 0 else figures.number(low) if number == height - 1 else ""
        yield line((f"{figure:>{AXIS_WIDTH - 1}} ", "dim"), (row, "cyan"))
    first, last = f"step {points[0][0]}", f"{points[-1][0]}: {progress.loss}"
    yield line((f"{' ' * AXIS_WIDTH}{first}{last:>{max(1, width - len(first))}}", "dim"))


def _rate(view: View, room: int) -> Iterator[Text]:
    assert view.job is not None
    now = listing.rate(view.job)
    if now or view.rate.points:
        yield line(f"{now or '0':<{AXIS_WIDTH}}", (curve.blocks(view.rate.values, room - AXIS_WIDTH), "cyan"))


def _goodput(job: TrainingJob, room: int) -> Iterator[Text]:
    parts = ledger.seconds(job.status.goodput)
    if not parts:
        return
    percent = ledger.ratio(job)
    sizes = curve.shares(list(parts.values()), min(60, room - len(percent) - 2))
    marks = [(CAUSES[cause][0] * size, CAUSES[cause][1]) for cause, size in zip(parts, sizes, strict=True)]
    yield line(f"{percent}  ", *marks)
    legend = [
        (f"{CAUSES[cause][0]} {cause} {figures.duration(spent)}", CAUSES[cause][1]) for cause, spent in parts.items()
    ]
    yield from canvas.wrapped(legend, room)
    if job.status.goodput is not None and job.status.goodput.lost_steps:
        yield line(f"{job.status.goodput.lost_steps} steps were lost to failures and rollbacks")


def _workers(view: View, now: datetime) -> Iterator[Text]:
    present = view.seen(now).present
    shown = sorted(present, key=lambda pod: (pod.status.phase in ("Running", "Succeeded"), worker_of(pod)))
    rows = [
        (
            report.called(pod).removeprefix("worker-"),
            report.state(pod),
            figures.age(_since(pod), now),
            pod.spec.node_name,
            pod.metadata.name,
        )
        for pod in shown[:WORKERS_MAX]
    ]
    for text in figures.table((), rows) if rows else ("no pods",):
        yield line(text)
    if len(present) > len(rows):
        yield line((f"and {len(present) - len(rows)} more", "dim"))


def _since(pod: Pod) -> datetime | None:
    """Return since when the pod is in its state."""
    for container in pod.status.container_statuses:
        if container.name == CONTAINER and container.state.terminated is not None:
            return container.state.terminated.finished_at
        if container.name == CONTAINER and container.state.running is not None:
            return container.state.running.started_at
    return pod.metadata.creation_timestamp


def _failure(job: TrainingJob, now: datetime, room: int) -> Iterator[Text]:
    failure = lastfailure.of(job)
    if failure is None:
        return
    yield from canvas.paragraph(lastfailure.headline(failure, now), room, "red")
    if failure.message:
        yield from canvas.paragraph(failure.message, room)
    for text in lastfailure.last_lines(failure):
        yield line(("| ", "dim"), text)


def _events(view: View, now: datetime) -> Iterator[Text]:
    for event in view.seen(now).newest_events()[:EVENTS_MAX]:
        style = "yellow" if event.type == "Warning" else ""
        age = figures.age(event.time, now)
        yield line((f"{age:<6} ", "dim"), (event.reason, style), f"  {' '.join(event.message.split())}")


def _hint(view: View, now: datetime, room: int) -> Iterator[Text]:
    found = hint(view.seen(now))
    if found is not None:
        yield from canvas.paragraph(found.cause, room, "yellow")
        yield from canvas.paragraph(f"-> {found.fix}", room)
