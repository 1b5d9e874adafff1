"""Logs as one JSON object a line, each with the job that it is about.

What is being worked on is put into the context once (`about`), and every line under it carries it.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

import msgspec

MESSAGE_CHARS_MAX = 4000
_about: ContextVar[dict[str, Any]] = ContextVar("about", default={})  # noqa: B039 - never changed in place
# Attributes that every LogRecord has: what a record has besides was put there by `extra`.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@contextmanager
def about(**fields: Any) -> Iterator[None]:
    """Put fields (job, namespace, uid, attempt) on every line that is logged in the body, in tasks begun there too."""
    token = _about.set(_about.get() | fields)
    try:
        yield
    finally:
        _about.reset(token)


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON: time, level, logger, msg, then fields, then the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; what JSON cannot hold is written as its text."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage()[:MESSAGE_CHARS_MAX],
            **_about.get(),
            **{name: value for name, value in vars(record).items() if name not in _OWN},
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)[-MESSAGE_CHARS_MAX:]
        return msgspec.json.encode(line, enc_hook=str).decode()


def configure(
    level: str = "INFO", *, form: Literal["json", "text"] = "json", stream: TextIO = sys.stderr
) -> logging.Handler:
    """Send every log of the process to the stream, and return the handler. Raises ValueError for an unknown level."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines() if form == "json" else logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    root.setLevel(level.upper())
    root.handlers[:] = [handler]
    # The client library logs whole requests, tokens among them, at DEBUG.
    for noisy in ("aiohttp", "asyncio", "kubernetes", "kubernetes_aio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    return handler
