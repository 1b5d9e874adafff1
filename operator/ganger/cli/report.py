"""The page of `ganger status`: a sentence, then sections. Pure: facts in, lines out."""

from collections.abc import Iterator
from datetime import datetime

from ganger.api.observed import Pod
from ganger.api.types import TrainingJob
from ganger.cli import eta, exports, figures, lastfailure, ledger
from ganger.cli.hint import hint
from ganger.cli.listing import step
from ganger.cli.seen import Seen
from ganger.cli.sentence import sentence
from ganger.cli.terminal import escape
from ganger.plan import names, settings
from ganger.plan.elastic import size
from ganger.plan.gang import export_of, worker_of
from ganger.plan.report import report as last_word
from ganger.plan.report import terminated

EVENTS_MAX = 5
WORKERS_MAX = 16
LABEL_WIDTH = 12


def page(seen: Seen) -> list[str]:
    """Return the page, one line a fact."""
    lines = [escape(sentence(seen.job, seen.now))]
    found = hint(seen)
    if found is not None:
        lines += _section("Hint", [escape(found.cause), f"-> {escape(found.fix)}"])
    lines += _section("Progress", _progress(seen))
    lines += _section("Settings", _settings(seen.job))
    lines += _section("Workers", _workers(seen))
    lines += _section("Checkpoint", _checkpoint(seen))
    lines += _section("Files", [escape(line) for line in exports.lines(seen.job)])
    lines += _section("Profile", _profile(seen))
    lines += _section("Goodput", ledger.in_words(seen.job))
    lines += _section("Elastic", _elastic(seen))
    lines += _section("Restarts", _restarts(seen))
    lines += _section("Rollbacks", _rollbacks(seen))
    lines += _section("Conditions", _conditions(seen))
    lines += _section("Events", _events(seen))
    lines += _section("Next", [" | ".join(next_commands(seen))])
    return lines


def next_commands(seen: Seen) -> list[str]:
    """Return the commands that are useful now."""
    job = seen.job
    where = f" -n {job.metadata.namespace}" if job.metadata.namespace not in ("", "default") else ""
    name = f"{job.metadata.name}{where}"
    if job.status.finished:
        return [f"ganger logs {name}", f"ganger delete {name}"]
    if job.spec.suspend:
        return [f"ganger resume {name}", f"ganger delete {name}"]
    return [f"ganger watch {name}", f"ganger logs -f {name}", f"ganger wait {name}", f"ganger suspend {name}"]


def _section(label: str, facts: list[str]) -> list[str]:
    return [f"{label if number == 0 else '':<{LABEL_WIDTH}}{fact}" for number, fact in enumerate(facts)]


def _progress(seen: Seen) -> list[str]:
    progress = seen.job.status.progress
    if progress is None or progress.step is None:
        return ["none reported yet"]
    percent = f" ({progress.percent})" if progress.percent is not None else ""
    parts = [f"step {step(seen.job)}{percent}"]
    if progress.epoch is not None:
        parts.append(f"epoch {progress.epoch}")
    if progress.loss is not None:
        parts.append(f"loss {progress.loss}")
    if progress.samples_per_second is not None:
        parts.append(f"{figures.rate(progress.samples_per_second)} samples/s")
    if progress.updated_time is not None:
        parts.append(f"reported {figures.age(progress.updated_time, seen.now)} ago")
    lines = [escape(", ".join(parts))]
    left = eta.in_words(seen.job, seen.now)
    if left:
        lines.append(f"done {left} ({eta.LIKELIHOOD})" if "between" in left else f"done {left}")
    metrics = "  ".join(f"{metric.name} {figures.number(metric.value)}" for metric in progress.metrics)
    return lines + ([escape(metrics)] if metrics else [])


def _settings(job: TrainingJob) -> list[str]:
    """Tell each live setting that is in force or asked for."""
    held = {value.name: value for value in job.status.live_config}
    wanted, refused, lines = job.spec.live_config, settings.refused(job.status) or "", []
    for name in sorted({*held, *wanted}):
        line = f"{name} as in spec.config"
        if name in held:
            line = f"{name}={held[name].value} from step {held[name].applied_at_step} on"
        if name not in wanted:
            line += "; to be taken back"
        elif name not in held or held[name].value != settings.text(wanted[name]):
            is_refused = settings.told(name, wanted[name]) in refused
            line += f"; {settings.text(wanted[name])} is {'refused' if is_refused else 'asked for'}"
        lines.append(escape(line))
    return lines


def _workers(seen: Seen) -> list[str]:
    job = seen.job
    summary = f"{job.status.workers or f'0/{job.spec.workers}'} ready, attempt {job.status.attempt}"
    shown = sorted(seen.present, key=lambda pod: (pod.status.phase in ("Running", "Succeeded"), worker_of(pod)))
    rows = [
        [called(pod), state(pod), escape(pod.spec.node_name), escape(pod.metadata.name)] for pod in shown[:WORKERS_MAX]
    ]
    lines = figures.table((), rows) if rows else []
    left_out = len(shown) - len(rows)
    return [summary, *lines] + ([f"and {left_out} more"] if left_out else [])


def called(pod: Pod) -> str:
    """Return what a pod is for people: worker-0, export-0; not escaped."""
    return f"{names.EXPORT_PREFIX}{export_of(pod)}" if export_of(pod) >= 0 else f"worker-{worker_of(pod)}"


def state(pod: Pod) -> str:
    """Return what a pod does, waits for or ended with, in a word or two."""
    end = terminated(pod)
    if end is not None:
        said = last_word(pod)
        reason = said.reason or (end.reason if end.reason != "Error" else "")
        return escape(f"{pod.status.phase} (exit {end.exit_code}{f', {reason}' if reason and end.exit_code else ''})")
    for container in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        if container.state.waiting is not None and container.state.waiting.reason:
            return escape(container.state.waiting.reason)
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False":
            return escape(condition.reason or "Unschedulable")
    return "Stopping" if pod.metadata.deletion_timestamp is not None else escape(pod.status.phase)


def _checkpoint(seen: Seen) -> list[str]:
    parts = checkpoint_parts(seen.job, seen.now)
    if seen.job.spec.checkpoint is not None:
        parts.append(f"claim {seen.claim_name} ({seen.claim.status.phase if seen.claim is not None else 'missing'})")
    lines = [escape(", ".join(parts))]
    point = seen.job.status.checkpoint
    if point is not None and point.grace_seconds_needed is not None:
        period = seen.job.spec.termination_grace_period_seconds
        lines.append(f"a stop with a checkpoint takes up to {point.grace_seconds_needed} s of {period} s grace")
    if point is not None and point.quarantined:
        lines.append(escape(f"damaged and never loaded: {', '.join(point.quarantined)}"))
    return lines


def checkpoint_parts(job: TrainingJob, now: datetime) -> list[str]:
    """Return what is known of the newest checkpoint, not escaped."""
    if job.spec.checkpoint is None:
        return ["none are kept (spec.checkpoint is not set)"]
    point = job.status.checkpoint
    if point is None or point.latest_step is None:
        return ["none yet"]
    parts = [f"step {point.latest_step}"]
    if point.latest_time is not None:
        parts.append(f"{figures.age(point.latest_time, now)} ago")
    if point.bytes is not None:
        parts.append(figures.size(point.bytes))
    if point.verified is not None:
        parts.append("verified" if point.verified else "not verified")
    if point.kept is not None:
        parts.append(f"{point.kept} kept")
    return parts


def _profile(seen: Seen) -> list[str]:
    name, kept = seen.job.spec.profile, seen.job.status.profile
    if name is None:
        return []
    if kept is None:
        return [escape(f"{name}, not read yet")]
    return [escape(f"{kept.name} of namespace {kept.namespace}, generation {kept.generation}, as the job has read it")]


def _elastic(seen: Seen) -> list[str]:
    job, bounds = seen.job, seen.job.spec.elastic
    if bounds is None:
        return []
    lines = [f"{size(job)} of {job.spec.workers} workers, {bounds.min_workers} to {bounds.max_workers} are allowed"]
    last = job.status.resizes.last if job.status.resizes is not None else None
    if last is not None:
        lines.append(escape(f"last: {last.reason} {figures.age(last.time, seen.now)} ago: {last.message}"))
    return lines


def _rollbacks(seen: Seen) -> list[str]:
    rolled = seen.job.status.rollbacks
    if rolled is None:
        return []
    limit = seen.job.spec.failure_policy.max_rollbacks
    line = f"{rolled.count} (at most {limit}); last: a NaN or an infinity at step {rolled.last_step}"
    when = f", {figures.age(rolled.time, seen.now)} ago" if rolled.time is not None else ""
    return [f"{line}, back to step {rolled.to_step}{when}"]


def _restarts(seen: Seen) -> list[str]:
    restarts = seen.job.status.restarts
    if restarts is None or (restarts.total == 0 and restarts.last is None):
        return []
    last = restarts.last
    limit = seen.job.spec.failure_policy.max_restarts
    lines = [f"{restarts.total}, of which {restarts.counted} counted (at most {limit})"]
    if last is not None:
        lines.append(escape(f"last: {lastfailure.headline(last, seen.now)}"))
        if last.message:
            lines.append(escape(f"      {last.message}"))
        lines += [f"      | {line}" for line in lastfailure.last_lines(last)]
    return lines


def _conditions(seen: Seen) -> list[str]:
    rows = [
        [
            escape(f"{condition.type}={condition.status}"),
            escape(condition.reason),
            figures.age(condition.last_transition_time, seen.now),
            escape(condition.message),
        ]
        for condition in seen.job.status.conditions
    ]
    return figures.table((), rows) if rows else ["none yet"]


def _events(seen: Seen) -> list[str]:
    return figures.table((), list(_event_rows(seen))) if seen.events else ["none"]


def _event_rows(seen: Seen) -> Iterator[list[str]]:
    for event in seen.newest_events()[:EVENTS_MAX]:
        about = f"{event.involved_object.kind.lower()}/{event.involved_object.name}"
        cells = (event.type, event.reason, figures.age(event.time, seen.now), about, event.message)
        yield [escape(cell.replace("\n", " ")) for cell in cells]
