"""A watch as lines for pipes and logs: one for each change, always the same keys in the same order. Pure.

A value that is not known is `-`, one with spaces or quotes is JSON. No value depends on when it is looked at.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

import msgspec

from ganger.api.observed import Metadata, Pod
from ganger.api.status import Failure
from ganger.api.types import TrainingJob
from ganger.cli import eta, lastfailure, ledger, report
from ganger.cli.seen import Event
from ganger.cli.terminal import escape
from ganger.cli.view import View
from ganger.cli.watching import Fleet
from ganger.plan.gang import attempt_of, worker_of


class Lines:
    """Says of each thing only what is new."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def job(self, view: View, now: datetime) -> list[str]:
        """Return the lines about one job and what belongs to it that were not said yet."""
        assert view.job is not None
        name = f"{view.job.metadata.namespace}/{view.job.metadata.name}"
        return self._new(_about(view, name, now), now)

    def fleet(self, found: Fleet, now: datetime) -> list[str]:
        """Return the lines about jobs that changed, came or went."""
        facts = {_name(job): f"{_name(job)} job {_pairs(_job(job))}" for job in found.values()}
        gone = {name: f"{name} deleted" for name in self._said if name not in facts}
        lines = self._new([*facts.items(), *gone.items()], now)
        for name in gone:
            del self._said[name]
        return lines

    def _new(self, facts: Iterable[tuple[str, str]], now: datetime) -> list[str]:
        lines = []
        for key, text in facts:
            if self._said.get(key) != text:
                self._said[key] = text
                lines.append(f"{_time(now)} {text}")
        return lines


def _about(view: View, name: str, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield what each line is about and its text."""
    job = view.job
    assert job is not None
    yield "job", f"{name} job {_pairs(_job(job))}"
    pods = [pod for pod in view.pods.values() if attempt_of(pod) == job.status.attempt]
    for pod in sorted(pods, key=worker_of):
        kind = "worker" if worker_of(pod) >= 0 else "export"
        yield f"pod {pod.metadata.name}", f"{name} {kind} {_pairs(_worker(pod))}"
    failure = lastfailure.of(job)
    if failure is not None:
        yield "failure", f"{name} failure {_pairs(_failed(failure))}"
        for number, text in enumerate(lastfailure.last_lines(failure)):
            key = f"last line {failure.attempt} {number}"
            yield key, f"{name} failure-line {_pairs({'attempt': failure.attempt, 'text': text})}"
    for event in reversed(view.seen(now).newest_events()):
        yield f"event {event.metadata.name}", f"{name} event {_pairs(_event(event))}"


def _name(job: TrainingJob | Metadata) -> str:
    metadata = job if isinstance(job, Metadata) else job.metadata
    return escape(f"{metadata.namespace}/{metadata.name}")


def _job(job: TrainingJob | Metadata) -> Mapping[str, object]:
    if isinstance(job, Metadata):
        return {"phase": "?", "message": "made by a newer operator: upgrade ganger"}
    status, progress, point = job.status, job.status.progress, job.status.checkpoint
    return {
        "phase": status.phase or "Pending",
        "workers": status.workers or f"0/{job.spec.workers}",
        "attempt": status.attempt,
        "step": progress.step if progress is not None else None,
        "steps": progress.total_steps if progress is not None else None,
        "loss": progress.loss if progress is not None else None,
        "samples_per_second": progress.samples_per_second if progress is not None else None,
        "eta": eta.expected(job),
        "checkpoint_step": point.latest_step if point is not None else None,
        "checkpoint_time": point.latest_time if point is not None else None,
        "restarts": status.restarts.total if status.restarts is not None else 0,
        "goodput": ledger.ratio(job) or None,
        "message": status.message,
    }


def _worker(pod: Pod) -> Mapping[str, object]:
    return {
        "worker": worker_of(pod) if worker_of(pod) >= 0 else None,
        "attempt": attempt_of(pod),
        "state": report.state(pod),
        "node": pod.spec.node_name or None,
        "pod": pod.metadata.name,
    }


def _failed(failure: Failure) -> Mapping[str, object]:
    return {
        "attempt": failure.attempt,
        "reason": failure.reason or None,
        "exit_code": failure.exit_code,
        "rank": failure.rank,
        "pod": failure.pod or None,
        "node": failure.node or None,
        "message": failure.message or None,
    }


def _event(event: Event) -> Mapping[str, object]:
    return {"type": event.type, "reason": event.reason or None, "message": event.message or None}


def _pairs(facts: Mapping[str, object]) -> str:
    return " ".join(f"{key}={_value(value)}" for key, value in facts.items())


def _value(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return _time(value)
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    plain = bool(text) and not any(character.isspace() or character in '"\\' for character in text)
    # JSON escapes C0; the rest of what a terminal obeys is shown as elsewhere.
    return escape(text if plain else msgspec.json.encode(text).decode())


def _time(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
