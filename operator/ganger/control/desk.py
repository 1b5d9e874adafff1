"""Answers the workers: checks who reports, takes the report in, says when to report again and what is wanted.

Who may speak is decided in `proof`. Whatever is refused is counted.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from http import HTTPStatus
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from ganger.api.observed import Pod
from ganger.api.status import Rung
from ganger.api.types import TrainingJob
from ganger.contract import LABEL_JOB, REPORT_SECONDS
from ganger.control import foreign, proof
from ganger.control.proof import Refused
from ganger.control.reports import Key, Reports
from ganger.control.tokens import Tokens
from ganger.observe.server import Request, Response
from ganger.plan import hang, ladder, live, wish
from ganger.plan.directives import Directive, directives
from ganger.plan.gang import attempt_of, is_over, worker_of
from ganger.plan.ladder import RUNNING
from ganger.plan.live import LiveReport

PREFIX = "/v1/jobs/"
INTERVAL_SECONDS_MIN = 0.5  # between two reports of a worker; a phase that changes is told at once
REPORTS_PER_SECOND = 200.0  # of all workers together; more than that many times REPORT_SECONDS report less often
FAILED = "Failed"  # the phase of a worker that waits for what is decided on its failure
HOLD_SECONDS = 2.0  # how long it is kept waiting in one request, so that it hears at once


class Known(Protocol):
    """What the desk asks of the caches. None for what is not there."""

    def pod(self, namespace: str, name: str) -> Pod | None: ...  # noqa: D102
    def job(self, namespace: str, name: str) -> TrainingJob | None: ...  # noqa: D102


class _Sender(Struct, frozen=True, kw_only=True):
    """Who reports, confirmed."""

    job: TrainingJob
    pod: Pod
    worker: int


class _Answer(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    next_report_seconds: float
    directives: tuple[Directive, ...]
    round: int = 0
    rung: Rung | None = None
    start_seconds: float | None = None
    live: dict[str, Any] | None = None


class Desk:
    """The two POST routes below /v1/jobs/.

    leads: whether this process leads, or knows who does. elsewhere: host:port of the other process that leads a job,
    "" where this one does, None where none is known. forward: hands a request to the process at host:port. heard:
    called with a job of which there is news; urgent: with one whose news decides whether it goes on. counted: result
    and seconds.
    """

    def __init__(
        self,
        known: Known,
        tokens: Tokens,
        reports: Reports,
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        leads: Callable[[], bool],
        heard: Callable[[Key], None],
        urgent: Callable[[Key], None] | None = None,
        counted: Callable[[str, float], None] = lambda result, seconds: None,
        elsewhere: Callable[[Key], str | None] = lambda key: "",
        forward: Callable[[str, Request], Awaitable[Response]] | None = None,
    ) -> None:
        self._known = known
        self._tokens = tokens
        self._reports = reports
        self._now = now
        self._monotonic = monotonic
        self._leads = leads
        self._heard = heard
        self._urgent = urgent or heard
        self._counted = counted
        self._elsewhere = elsewhere
        self._forward = forward
        self._changes: dict[Key, asyncio.Event] = {}  # of jobs that somebody waits for; the next change sets it

    def changed(self, key: Key) -> None:
        """Wake the failed workers that wait for that job, which the caches show changed or gone."""
        if event := self._changes.pop(key, None):
            event.set()

    async def answer(self, request: Request) -> Response:
        """Answer one request below PREFIX. Never raises for anything that a client sent."""
        return await proof.answered(request, self._take, self._forward, self._counted)

    async def _take(self, request: Request) -> bytes:
        uid, _, kind = request.path.removeprefix(PREFIX).partition("/")
        if kind not in ("report", "progress"):
            raise Refused(HTTPStatus.NOT_FOUND, "unknown")
        proof.admit(request, self._leads)
        sender = await self._sender(request, uid)
        try:
            if kind == "progress":
                self._take_foreign(sender, request.body)
                return b"{}"
            return await self._take_own(sender, request.body)
        except msgspec.DecodeError as error:
            raise Refused(HTTPStatus.BAD_REQUEST, "malformed", str(error)) from error

    async def _sender(self, request: Request, uid: str) -> _Sender:
        """Return who reports. Raises Refused, Elsewhere where another process leads the job."""
        token, said = proof.said(request, uid)
        pod = self._known.pod(said.namespace, said.pod_name)
        job = self._known.job(said.namespace, pod.metadata.labels.get(LABEL_JOB, "")) if pod is not None else None
        if (
            pod is None
            or job is None
            or pod.metadata.uid != said.pod_uid
            or (job.metadata.uid, pod.metadata.controller_uid) != (uid, uid)
        ):
            raise Refused(HTTPStatus.FORBIDDEN, "unknown")
        proof.here(request, self._elsewhere(job.key))  # before all that its leader knows better than these caches
        if is_over(pod) or job.status.finished or attempt_of(pod) != job.status.attempt:
            raise Refused(HTTPStatus.FORBIDDEN, "stale")
        await proof.confirm(self._tokens, token, said, uid)
        return _Sender(job=job, pod=pod, worker=worker_of(pod))

    async def _take_own(self, sender: _Sender, body: bytes) -> bytes:
        report, uid = live.decode(body), sender.job.metadata.uid
        if (report.attempt, report.worker) != (attempt_of(sender.pod), sender.worker):
            raise Refused(HTTPStatus.FORBIDDEN, "forged", "the report is of another worker than its token")
        before = self._reports.worker(sender.job.key, uid, report.attempt, report.worker)
        heard = self._monotonic()
        if before is not None and before.own is not None and before.pod_uid == sender.pod.metadata.uid:
            # The supervisor of a later round may be a new process that counts from the beginning.
            if (report.round, report.sequence) <= (before.own.round, before.own.sequence):
                raise Refused(HTTPStatus.CONFLICT, "stale", f"sequence {before.own.sequence} was heard before")
            falls = report.phase == FAILED and before.own.phase != FAILED
            if heard - before.heard < INTERVAL_SECONDS_MIN and not falls and report.round == before.own.round:
                raise Refused(HTTPStatus.TOO_MANY_REQUESTS, "limited")
        self._reports.take(sender.job.key, uid, sender.pod.metadata.uid, report, self._now(), heard)
        waits = sender.job.status.round > 0 and not sender.job.status.is_true(RUNNING)
        urgent = report.phase == FAILED or waits or hang.is_news(sender.job, report)
        (self._urgent if urgent else self._heard)(sender.job.key)
        job = await self._decided(sender, report) if report.phase == FAILED else sender.job
        order = ladder.order(job.status, self._now())
        return msgspec.json.encode(
            _Answer(
                next_report_seconds=max(REPORT_SECONDS, self._reports.num_workers / REPORTS_PER_SECOND),
                directives=directives(job, sender.pod, report.done),
                round=order.round,
                rung=order.rung,
                start_seconds=order.start_seconds or None,
                live=wish.served(job.spec),
            )
        )

    async def _decided(self, sender: _Sender, report: LiveReport) -> TrainingJob:
        """Wait until it is decided what a failed worker does; return the job then, or as it is after HOLD_SECONDS.

        Raises Refused where the worker is to end.
        """
        try:
            async with asyncio.timeout(HOLD_SECONDS):
                while (job := self._present(sender, report)).status.round <= report.round:
                    # Nothing is awaited between the look and this, so no change is missed.
                    await self._changes.setdefault(job.key, asyncio.Event()).wait()
        except TimeoutError:
            return self._present(sender, report)
        return job

    def _present(self, sender: _Sender, report: LiveReport) -> TrainingJob:
        """Return the job as it is now. Raises Refused where it, or that attempt of it, is over."""
        job = self._known.job(*sender.job.key)
        if (
            job is None
            or job.status.finished
            or (job.metadata.uid, job.status.attempt) != (sender.job.metadata.uid, report.attempt)
        ):
            raise Refused(HTTPStatus.FORBIDDEN, "stale")
        return job

    def _take_foreign(self, sender: _Sender, body: bytes) -> None:
        attempt, uid = attempt_of(sender.pod), sender.job.metadata.uid
        before = self._reports.worker(sender.job.key, uid, attempt, sender.worker)
        total = before.foreign.total_steps if before is not None and before.foreign is not None else None
        report = foreign.decode(body, attempt=attempt, worker=sender.worker, known_total=total)
        self._reports.take_foreign(sender.job.key, uid, sender.pod.metadata.uid, report, self._now())
        self._heard(sender.job.key)
