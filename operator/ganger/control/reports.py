"""The newest report of every worker, in memory. Losing all of it costs one interval between two reports.

A job's speaker is its lowest worker that knows the step; where none does, the lowest that reports at all.
"""

from collections.abc import Iterator
from datetime import datetime

import msgspec
from msgspec import Struct

from ganger.plan.eta import Pace, estimate, observe
from ganger.plan.live import Heard, Live, LiveReport
from ganger.plan.track import Track
from ganger.plan.track import observe as compare

Key = tuple[str, str]  # namespace and name of a job


class Worker(Struct, kw_only=True):
    """What one worker's pod said last, its supervisor or a library inside it; at least one of the two spoke.

    heard: monotonic seconds of the supervisor's word. at: of the newer of the two, by the operator's clock.
    step_at: when `step` was first said.
    """

    pod_uid: str
    at: datetime
    own: LiveReport | None = None
    heard: float = 0.0
    foreign: LiveReport | None = None
    step: int | None = None
    step_at: datetime | None = None


class _Job(Struct, kw_only=True):
    uid: str
    attempt: int
    workers: dict[int, Worker] = {}
    pace: Pace = Pace()
    track: Track = Track()
    step: int = -1
    step_at: datetime | None = None


class Reports:
    """All jobs' reports. One event loop; nothing here waits."""

    def __init__(self) -> None:
        self._jobs: dict[Key, _Job] = {}
        self.num_workers = 0

    def worker(self, key: Key, uid: str, attempt: int, worker: int) -> Worker | None:
        """Return what the worker said last in that attempt of that very job, or None."""
        job = self._jobs.get(key)
        return job.workers.get(worker) if job is not None and (job.uid, job.attempt) == (uid, attempt) else None

    def take(self, key: Key, uid: str, pod_uid: str, report: LiveReport, at: datetime, heard: float) -> None:
        """Take in a report of a worker's supervisor."""
        job, worker = self._at(key, uid, pod_uid, report, at)
        worker.own, worker.heard = report, heard
        self._follow(job, worker)
        if report.ranks:
            known = [each.own for _, each in sorted(job.workers.items()) if each.own is not None]
            ranks = {beat.rank: (each.worker, beat) for each in known for beat in each.ranks}
            job.track = compare(job.track, ranks, at)

    def take_foreign(self, key: Key, uid: str, pod_uid: str, report: LiveReport, at: datetime) -> None:
        """Take in what a library inside the worker said; it adds to the supervisor's word and never replaces it."""
        job, worker = self._at(key, uid, pod_uid, report, at)
        worker.foreign = report
        self._follow(job, worker)

    def live(self, key: Key, uid: str, attempt: int) -> Live | None:
        """Return what is known of the gang in that attempt, with an estimate of its end, or None."""
        job = self._jobs.get(key)
        if job is None or (job.uid, job.attempt) != (uid, attempt) or not job.workers:
            return None
        speaker = _speaker(job)
        report = _whole(speaker)
        eta = None
        if report.step is not None and report.total_steps:
            eta = estimate(job.pace, report.step, report.total_steps, speaker.at)
        return Live(report=report, at=speaker.at, eta=eta, step_at=job.step_at)

    def heard(self, key: Key, uid: str, attempt: int) -> tuple[Heard, ...]:
        """Return what each worker of that attempt said last, by worker; () where none did."""
        job = self._jobs.get(key)
        if job is None or (job.uid, job.attempt) != (uid, attempt):
            return ()
        return tuple(
            Heard(report=_whole(worker), at=worker.at, step_at=worker.step_at)
            for _, worker in sorted(job.workers.items())
        )

    def track(self, key: Key, uid: str, attempt: int) -> Track:
        """Return how the ranks of that attempt keep up with each other; an empty track where nothing is known."""
        job = self._jobs.get(key)
        return job.track if job is not None and (job.uid, job.attempt) == (uid, attempt) else Track()

    def forget(self, key: Key) -> None:
        """Forget a job that is gone or has ended."""
        job = self._jobs.pop(key, None)
        self.num_workers -= len(job.workers) if job is not None else 0

    def clear(self) -> None:
        """Forget everything: another process leads now, and hears what comes."""
        self._jobs.clear()
        self.num_workers = 0

    def __iter__(self) -> Iterator[Key]:
        return iter(self._jobs)

    def _at(self, key: Key, uid: str, pod_uid: str, report: LiveReport, at: datetime) -> tuple[_Job, Worker]:
        job = self._jobs.get(key)
        if job is None or job.uid != uid:
            self.forget(key)
            job = self._jobs[key] = _Job(uid=uid, attempt=report.attempt)
        elif job.attempt != report.attempt:
            # The pace outlives the attempt: restarts are part of how long a job takes.
            self.num_workers -= len(job.workers)
            job.workers, job.attempt, job.track = {}, report.attempt, Track()
        worker = job.workers.get(report.worker)
        if worker is None or worker.pod_uid != pod_uid:
            self.num_workers += worker is None
            worker = job.workers[report.worker] = Worker(pod_uid=pod_uid, at=at)
        worker.at = at
        return job, worker

    def _follow(self, job: _Job, worker: Worker) -> None:
        report = _whole(worker)
        if report.step != worker.step:
            worker.step, worker.step_at = report.step, worker.at if report.step is not None else None
        if report.step is None or _speaker(job) is not worker:
            return
        job.pace = observe(job.pace, worker.at, report.step, job.attempt)
        if report.step != job.step:
            job.step, job.step_at = report.step, worker.at


def _speaker(job: _Job) -> Worker:
    # Whoever still speaks of the round before knows nothing of the present.
    newest = max(_round(worker) for worker in job.workers.values())
    present = [number for number, worker in job.workers.items() if _round(worker) == newest]
    knowing = [number for number in present if _whole(job.workers[number]).step is not None]
    return job.workers[min(knowing or present)]


def _round(worker: Worker) -> int:
    return worker.own.round if worker.own is not None else 0


def _whole(worker: Worker) -> LiveReport:
    """Return the supervisor's report, completed by what the library said where the supervisor knows no step."""
    own, said = worker.own, worker.foreign
    if own is None or said is None or own.step is not None:
        report = own or said
        assert report is not None, "a worker is made when one of the two speaks"
        return report
    return msgspec.structs.replace(
        own,
        phase="Training" if own.phase == "Starting" else own.phase,
        step=said.step,
        total_steps=said.total_steps,
        epoch=said.epoch,
        loss=said.loss,
        learning_rate=said.learning_rate,
        metrics=said.metrics,
    )
