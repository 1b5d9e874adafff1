"""What a session tells of its activity while it runs, and when that is worth a write to its status. Pure.

A write costs the API server and everybody who watches. So one comes when the session has fallen idle, with the exact
time; one when something is done again; and one in ten minutes while something is done all along.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from ganger.api.session import LIFE_SECONDS_MAX, DevSession, DevSessionStatus
from ganger.contract import SESSION_REPORT_SECONDS

WRITE_SECONDS = 600.0
IDLE_SHARE = 0.1  # of idleSeconds without anything: from then on the session is told to be idle
_IDLE_SECONDS = 60.0  # but at least so long, or half of idleSeconds: two writes for each pause of that length at most
_YEARS = range(2000, 9000)  # a time near the ends of the calendar cannot be compared or moved to another zone


class SessionReport(Struct, frozen=True, kw_only=True, rename="camel"):
    """When something was last done in a session, and after how many seconds without anything it ends; 0: never."""

    last_activity_time: Annotated[datetime, Meta(tz=True)]
    idle_seconds: Annotated[int, Meta(ge=0, le=LIFE_SECONDS_MAX)]

    @property
    def idle_after(self) -> float:
        """Seconds without anything, from which on the session is told to be idle."""
        if not self.idle_seconds:
            return WRITE_SECONDS
        return max(self.idle_seconds * IDLE_SHARE, min(_IDLE_SECONDS, self.idle_seconds / 2))


_decoder = msgspec.json.Decoder(SessionReport)


def decode(body: bytes) -> SessionReport:
    """Return what a session's supervisor said, its time in whole seconds of UTC. Raises msgspec.DecodeError."""
    report = _decoder.decode(body)
    if report.last_activity_time.year not in _YEARS:
        raise msgspec.DecodeError(f"lastActivityTime must be of the years {_YEARS.start} to {_YEARS.stop - 1}")
    at = report.last_activity_time.astimezone(UTC).replace(microsecond=0)
    return replace(report, last_activity_time=at)


def told(
    status: DevSessionStatus, old: DevSessionStatus, report: SessionReport | None, now: datetime
) -> DevSessionStatus:
    """Return `status`, which follows `old` in a session that runs, with its activity as far as that is worth a write.

    A status that is written anyway takes the news along. A time to come counts as now, and none goes back.
    """
    silent = replace(status, last_activity_time=old.last_activity_time, cull_time=old.cull_time)
    if report is None:
        return silent
    last = min(report.last_activity_time, now.replace(microsecond=0))
    if old.last_activity_time is not None:
        last = max(last, old.last_activity_time)
    is_idle = (now - last).total_seconds() >= report.idle_after
    cull_time = last + timedelta(seconds=report.idle_seconds) if is_idle and report.idle_seconds else None
    if silent == old and not _is_news(old, last, cull_time, is_idle=is_idle):
        return silent
    return replace(status, last_activity_time=last, cull_time=cull_time)


def is_in_use(session: DevSession, now: datetime) -> bool:
    """Whether something was just done in a session that runs, as its status tells it, which is behind meanwhile."""
    status = session.status
    if status.phase != "Running" or status.last_activity_time is None or status.cull_time is not None:
        return False
    behind = WRITE_SECONDS + session.spec.idle_seconds * IDLE_SHARE + 2 * SESSION_REPORT_SECONDS
    return (now - status.last_activity_time).total_seconds() < behind


def _is_news(old: DevSessionStatus, last: datetime, cull_time: datetime | None, *, is_idle: bool) -> bool:
    before = old.last_activity_time
    if before is None or (cull_time is None) != (old.cull_time is None):
        return True
    return last > before if is_idle else (last - before).total_seconds() >= WRITE_SECONDS
