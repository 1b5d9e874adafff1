"""Reports to the operator, from a thread of the supervisor that nothing waits for (docs/adr/0007-control-channel.md).

Whatever goes wrong is tried again later, less and less often: training is the same with and without an operator. The
thread keeps one connection and the newest report only, so an operator that is away costs neither memory nor time.
"""

import contextlib
import http.client
import math
import random
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import msgspec

from ganger.contract import REPORT_BYTES_MAX, REPORT_SECONDS
from ganger_trainer.environment import Control

PATIENCE_SECONDS: Final = 5.0
LAST_PATIENCE_SECONDS: Final = 1.0
POLL_SECONDS: Final = 0.25  # a phase that is over sooner is not news
BETWEEN_SECONDS: Final = 1.0  # at least, whatever happens
INTERVAL_MIN, INTERVAL_MAX = 1.0, 300.0  # what an answer may ask for
BACKOFF_MAX: Final = 60.0
FAILURES_MAX: Final = 3  # in a row, after which nobody should wait for an answer
FAILED: Final = "Failed"  # a phase in which the answer is waited for
SAID_EVERY_SECONDS: Final = 3600.0  # for each kind of trouble
_UNWELCOME: Final = (401, 403, 404)
# What a server does to a connection that it has closed while nobody spoke: worth one more try on a new one.
_HUNG_UP: Final = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class Source(Protocol):
    """What the channel carries."""

    def phase(self) -> str | None: ...  # noqa: D102
    def report(self) -> dict[str, Any]: ...  # noqa: D102
    def order(self, answer: dict[str, Any]) -> None: ...  # noqa: D102
    def obey(self, directives: Any) -> None: ...  # noqa: D102
    def refused(self) -> None: ...  # noqa: D102


class Channel:
    """Posts reports of `source` to `control`. `posted` is told how each ended: ok, refused or failed.

    refused: the operator answered with another status than 200. failed: no answer, or one that means nothing.
    clock: monotonic seconds.
    """

    def __init__(
        self,
        control: Control,
        source: Source,
        posted: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        parts = urlsplit(control.url)
        self._control = control
        self._source = source
        self._posted = posted
        self._clock = clock
        self._host, self._port = parts.hostname or "", parts.port
        self._secure = parts.scheme == "https"
        self._path = f"{parts.path}/report"
        self._connection: http.client.HTTPConnection | None = None
        self._sequence = 0
        self._phase: str | None = None  # as last reported
        self._failures = 0
        self._said: dict[str, float] = {}
        self._due = self._due_on_change = -math.inf
        self._closing, self._closed = threading.Event(), threading.Event()
        self._woken = threading.Event()

    def start(self) -> None:
        """Begin to report, on a thread of its own."""
        threading.Thread(target=self._run, name="control", daemon=True).start()

    def hurry(self) -> None:
        """Report at once, whatever was to be waited for. Any thread may call it."""
        self._woken.set()

    def close(self, seconds: float = LAST_PATIENCE_SECONDS) -> None:
        """Send a last report, once; return when that is over, after `seconds` at the latest."""
        self._closing.set()
        self._woken.set()
        self._closed.wait(seconds)

    def tick(self) -> None:
        """Post a report if it is time for one. Never raises."""
        phase = self._source.phase()
        if phase is None:
            return
        now = self._clock()
        if now >= self._due or (phase != self._phase and now >= self._due_on_change):
            self._report(PATIENCE_SECONDS)

    def _run(self) -> None:
        while not self._closing.is_set():
            if self._woken.wait(POLL_SECONDS):
                self._woken.clear()
                self._due = -math.inf
            if not self._closing.is_set():
                self.tick()
        self._report(LAST_PATIENCE_SECONDS)
        self._closed.set()

    def _report(self, patience: float) -> None:
        try:
            status, data = self._exchange(patience)
            if status != 200:
                self._hang_up()  # the next try may find another operator
                wait = BACKOFF_MAX if status in _UNWELCOME else 0.0
                if wait:
                    self._source.refused()
                self._trouble("refused", f"HTTP {status}", f"it answered {status}", wait)
                return
            answer = msgspec.json.decode(data, type=dict[str, Any])
            self._source.order(answer)
            self._source.obey(answer.get("directives"))
            interval = _interval(answer.get("nextReportSeconds"))
        except Exception as error:  # noqa: BLE001 - whatever it is, training goes on
            self._hang_up()
            self._trouble("failed", type(error).__name__, str(error) or type(error).__name__)
            return
        self._failures = 0
        self._posted("ok")
        now = self._clock()
        self._due, self._due_on_change = now + interval, now + BETWEEN_SECONDS
        if self._phase == FAILED:
            self._due = now  # the operator holds the answer back until it has decided

    def _exchange(self, patience: float) -> tuple[int, bytes]:
        reused = self._connection is not None
        try:
            return self._post(patience)
        except _HUNG_UP:
            if not reused:
                raise
            self._hang_up()
            return self._post(patience)

    def _post(self, patience: float) -> tuple[int, bytes]:
        token = self._control.token.read_text().strip()  # each time: the kubelet renews it
        if self._connection is None:
            self._connection = self._connect(patience)
        elif self._connection.sock is not None:
            self._connection.sock.settimeout(patience)
        self._sequence += 1
        body = self._source.report() | {"sequence": self._sequence}
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._phase = body["phase"]
        self._connection.request("POST", self._path, msgspec.json.encode(body), headers)
        with self._connection.getresponse() as response:
            data = response.read(REPORT_BYTES_MAX + 1)
            if len(data) > REPORT_BYTES_MAX:
                raise ValueError(f"an answer of more than {REPORT_BYTES_MAX} bytes")
            return response.status, data

    def _connect(self, patience: float) -> http.client.HTTPConnection:
        if not self._secure:
            return http.client.HTTPConnection(self._host, self._port, timeout=patience)
        context = ssl.create_default_context(cafile=str(self._control.authority))
        return http.client.HTTPSConnection(self._host, self._port, timeout=patience, context=context)

    def _hang_up(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.close()
            self._connection = None

    def _trouble(self, result: str, kind: str, text: str, wait: float = 0.0) -> None:
        self._posted(result)
        self._failures += 1
        if self._failures >= FAILURES_MAX:
            self._source.refused()
        wait = wait or min(BACKOFF_MAX, 2.0 ** min(self._failures - 1, 10))
        now = self._clock()
        # Jitter: workers that lost their operator together must not all come back in one moment.
        self._due = self._due_on_change = now + max(BETWEEN_SECONDS, wait * random.uniform(0.75, 1.0))  # noqa: S311
        if now - self._said.get(kind, -math.inf) >= SAID_EVERY_SECONDS:
            self._said[kind] = now
            said = " ".join(text.split())[:300]
            print(f"warning: no report to {self._host}: {said}; training goes on, it is tried again", flush=True)


def _interval(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):  # JSON has no NaN
        return REPORT_SECONDS
    return max(INTERVAL_MIN, min(float(value), INTERVAL_MAX))
