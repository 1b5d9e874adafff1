"""Hears the sessions: when something was last done in each, from the pod of its present start alone.

What is heard is kept in memory. Losing all of it costs one interval between two reports.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Protocol

import msgspec

from ganger.api.observed import Pod
from ganger.api.session import DevSession
from ganger.contract import LABEL_SESSION, SESSION_REPORT_SECONDS
from ganger.control import proof
from ganger.control.proof import Refused
from ganger.control.tokens import Tokens
from ganger.observe.server import Request, Response
from ganger.plan import sessionactivity, sessionname
from ganger.plan.gang import is_over
from ganger.plan.sessionactivity import SessionReport

PREFIX = "/v1/sessions/"
INTERVAL_SECONDS_MIN = 0.5  # between two reports of a session
REPORTS_PER_SECOND = 50.0  # of all sessions together; more of them report less often
_REPORTS_IN_IDLE = 4  # at least so many in idleSeconds, where these are few

Key = tuple[str, str]  # namespace and name of a session


class Known(Protocol):
    """What the desk asks of the caches. None for what is not there."""

    def pod(self, namespace: str, name: str) -> Pod | None: ...  # noqa: D102
    def session(self, namespace: str, name: str) -> DevSession | None: ...  # noqa: D102


class _Heard(msgspec.Struct, frozen=True, kw_only=True):
    pod_uid: str
    at: float
    report: SessionReport


class SessionDesk:
    """The POST route below /v1/sessions/, and what was heard there.

    leads: whether this process leads. heard: called with a session of which there is news. counted: result and seconds.
    elsewhere: host:port of the other process that leads the sessions, "" where this one does, None where none is known.
    forward: hands a request to the process at host:port.
    """

    def __init__(
        self,
        known: Known,
        tokens: Tokens,
        *,
        monotonic: Callable[[], float],
        leads: Callable[[], bool],
        heard: Callable[[Key], None],
        counted: Callable[[str, float], None] = lambda result, seconds: None,
        elsewhere: Callable[[], str | None] = lambda: "",
        forward: Callable[[str, Request], Awaitable[Response]] | None = None,
    ) -> None:
        self._known = known
        self._tokens = tokens
        self._monotonic = monotonic
        self._leads = leads
        self._news = heard
        self._counted = counted
        self._elsewhere = elsewhere
        self._forward = forward
        self._heard: dict[Key, _Heard] = {}

    def report(self, key: Key, pod_uid: str) -> SessionReport | None:
        """Return what that pod of the session said last, or None."""
        found = self._heard.get(key)
        return found.report if found is not None and found.pod_uid == pod_uid else None

    def hear(self, key: Key, pod_uid: str, report: SessionReport) -> None:
        """Take in what a pod of the session says."""
        self._heard[key] = _Heard(pod_uid=pod_uid, at=self._monotonic(), report=report)
        self._news(key)

    def forget(self, key: Key) -> None:
        """Forget a session that is gone."""
        self._heard.pop(key, None)

    def clear(self) -> None:
        """Forget everything: another process led meanwhile."""
        self._heard.clear()

    async def answer(self, request: Request) -> Response:
        """Answer one request below PREFIX. Never raises for anything that a client sent."""
        return await proof.answered(request, self._take, self._forward, self._counted)

    async def _take(self, request: Request) -> bytes:
        uid, _, kind = request.path.removeprefix(PREFIX).partition("/")
        if kind != "report":
            raise Refused(HTTPStatus.NOT_FOUND, "unknown")
        proof.admit(request, self._leads)
        session, pod = await self._sender(request, uid)
        now, before = self._monotonic(), self._heard.get(session.key)
        is_same = before is not None and before.pod_uid == pod.metadata.uid
        if before is not None and is_same and now - before.at < INTERVAL_SECONDS_MIN:
            raise Refused(HTTPStatus.TOO_MANY_REQUESTS, "limited")
        try:
            report = sessionactivity.decode(request.body)
        except msgspec.DecodeError as error:
            raise Refused(HTTPStatus.BAD_REQUEST, "malformed", str(error)) from error
        self.hear(session.key, pod.metadata.uid, report)
        seconds = SESSION_REPORT_SECONDS
        if report.idle_seconds:
            seconds = min(seconds, report.idle_seconds / _REPORTS_IN_IDLE)
        return msgspec.json.encode({"nextReportSeconds": max(seconds, len(self._heard) / REPORTS_PER_SECOND)})

    async def _sender(self, request: Request, uid: str) -> tuple[DevSession, Pod]:
        """Return the session and the pod that speaks. Raises Refused, Elsewhere where another process leads them."""
        token, said = proof.said(request, uid)
        pod = self._known.pod(said.namespace, said.pod_name)
        name = pod.metadata.labels.get(LABEL_SESSION, "") if pod is not None else ""
        session = self._known.session(said.namespace, name)
        if (
            pod is None
            or session is None
            or pod.metadata.uid != said.pod_uid
            or (session.metadata.uid, pod.metadata.controller_uid) != (uid, uid)
        ):
            raise Refused(HTTPStatus.FORBIDDEN, "unknown")
        proof.here(request, self._elsewhere())
        present = sessionname.pod(session.metadata.name, session.status.start)
        if is_over(pod) or session.status.ended or pod.metadata.name != present:
            raise Refused(HTTPStatus.FORBIDDEN, "stale")
        await proof.confirm(self._tokens, token, said, uid)
        return session, pod
