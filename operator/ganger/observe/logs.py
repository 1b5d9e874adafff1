"""Logs as one JSON object a line, each with the job that it is about.

What is being worked on is put into the context once (`about`), and every line under it carries it.
"""

import json
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
        """Return the line; what JSON cannot hold is written as its text. Never raises, whatever was logged."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": _message(record)[:MESSAGE_CHARS_MAX],
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)[-MESSAGE_CHARS_MAX:]
        extra = {name: value for name, value in vars(record).items() if name not in _OWN}
        # A field never takes the place of what every line has.
        fields = {name: value for name, value in (_about.get() | extra).items() if name not in line}
        try:
            return msgspec.json.encode(line | fields, enc_hook=str).decode()
        except Exception:  # noqa: BLE001 - a lone surrogate, a key that is no text, a __str__ that fails
            safe = {name: ascii(value) if name in fields else value for name, value in (line | fields).items()}
            return json.dumps(safe)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 - the standard handler would print a traceback that is no JSON
        return f"{record.msg!r} with arguments that do not fit: {error}"


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
