"""Tells the operator when something was last done here, from a thread that nothing waits for.

The session is the same with and without an operator: whatever goes wrong is tried again later, less and less often.
"""

import http.client
import json
import random
import ssl
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from ganger.contract import REPORT_BYTES_MAX, SESSION_REPORT_SECONDS

PATIENCE_SECONDS: Final = 5.0
INTERVAL_MIN, INTERVAL_MAX = 1.0, 300.0  # what an answer may ask for
BACKOFF_MAX: Final = 300.0


class Reporter:
    """Posts to `url` when `last` was, in seconds since 1970, and `idle_seconds`, after which the session ends.

    token: file of the pod's token, which the kubelet renews. authority: file of whom the operator's certificate is of.
    """

    def __init__(self, url: str, token: Path, authority: Path, last: Callable[[], float], idle_seconds: int) -> None:
        self._url = url
        self._token, self._authority = token, authority
        self._last = last
        self._idle_seconds = idle_seconds
        self._failures = 0

    def start(self) -> None:
        """Report now, and from now on."""
        threading.Thread(target=self._run, name="reporter", daemon=True).start()

    def report(self) -> float:
        """Report once, and return the seconds until the next time. Never raises."""
        try:
            seconds = self._post()
        except Exception as error:  # noqa: BLE001 - whatever it is, the session goes on
            self._failures += 1
            if self._failures == 1:
                said = " ".join(str(error).split())[:300] or type(error).__name__
                print(f"warning: no report to the operator: {said}; the session goes on", flush=True)
            # Jitter: sessions that lost their operator together must not all come back in one moment.
            return min(BACKOFF_MAX, 2.0 ** min(self._failures, 10)) * random.uniform(0.75, 1.0)  # noqa: S311
        self._failures = 0
        return seconds

    def _run(self) -> None:
        while True:
            time.sleep(self.report())

    def _post(self) -> float:
        parts = urlsplit(self._url)
        context = ssl.create_default_context(cafile=str(self._authority))
        # A connection for each report: sessions are many and say little, and the operator keeps a few hundred.
        connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=PATIENCE_SECONDS, context=context
        )
        try:
            token = self._token.read_text().strip()
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            connection.request("POST", parts.path, json.dumps(self._said()), headers)
            answer = connection.getresponse()
            data = answer.read(REPORT_BYTES_MAX)
            if answer.status != 200:
                raise ConnectionError(f"{parts.hostname} answered {answer.status}")
        finally:
            connection.close()
        return _interval(json.loads(data))

    def _said(self) -> dict[str, Any]:
        at = datetime.fromtimestamp(self._last(), UTC)
        return {"lastActivityTime": at.strftime("%Y-%m-%dT%H:%M:%SZ"), "idleSeconds": self._idle_seconds}


def _interval(answer: Any) -> float:
    value = answer.get("nextReportSeconds") if isinstance(answer, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return SESSION_REPORT_SECONDS
    return max(INTERVAL_MIN, min(float(value), INTERVAL_MAX))
