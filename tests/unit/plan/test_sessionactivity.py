"""What a session tells of its activity, and which of it is written."""

import json

import msgspec
import pytest

from builders import at
from ganger.api.session import DevSessionStatus
from ganger.plan.session import SessionSeen, SessionSite, decide_session
from ganger.plan.sessionactivity import SessionReport, decode, is_in_use, told
from sessions import IMAGE, pod, session

HOUR = 3600


def said(last, idle_seconds=HOUR):
    return SessionReport(last_activity_time=at(last), idle_seconds=idle_seconds)


def status(last=None, cull=None, phase="Running"):
    found = DevSessionStatus(phase=phase)
    times = {"last_activity_time": last, "cull_time": cull}
    return msgspec.structs.replace(found, **{name: at(time) for name, time in times.items() if time is not None})


def written(old, report, now):
    """The times that are written, None for no write."""
    new = told(msgspec.structs.replace(old, cull_time=None), old, report, at(now))
    return None if new == old else (new.last_activity_time, new.cull_time)


def test_the_first_word_is_written_and_a_session_that_is_used_again_each_ten_minutes():
    assert (at(100), None) == written(status(), said(100), 105)
    assert None is written(status(100), said(699), 700)
    assert (at(700), None) == written(status(100), said(700), 701)


def test_a_session_that_falls_idle_tells_once_since_when_and_when_it_ends():
    assert None is written(status(100), said(300), 300 + 359)
    assert (at(300), at(300 + HOUR)) == written(status(100), said(300), 300 + 360)
    assert None is written(status(300, 300 + HOUR), said(300), 3000)


def test_one_that_is_used_again_tells_that_at_once():
    assert (at(900), None) == written(status(300, 300 + HOUR), said(900), 910)


def test_what_was_done_while_nobody_listened_is_told_by_an_idle_session_too():
    assert (at(800), at(800 + HOUR)) == written(status(300, 300 + HOUR), said(800), 2000)


def test_one_that_never_ends_for_being_idle_has_no_time_of_that_but_tells_when_it_was_used():
    assert None is written(status(100), said(300, 0), 800)
    assert (at(300), None) == written(status(100), said(300, 0), 900)
    assert None is written(status(300), said(300, 0), 9000)


@pytest.mark.parametrize(("idle_seconds", "after"), [(60, 30), (100, 50), (600, 60), (1200, 120), (604_800, 60_480)])
def test_it_is_idle_after_a_tenth_of_its_time_or_a_minute_or_half_of_it(idle_seconds, after):
    assert after == said(0, idle_seconds).idle_after


def test_no_time_goes_back_or_comes_before_its_time():
    assert None is written(status(500), said(100), 510)
    assert (at(1200), None) == written(status(500), said(9_000_000), 1200)


@pytest.mark.parametrize(("idle_seconds", "most"), [(600, 2 * HOUR / 60), (HOUR, 2 * HOUR / 360)])
def test_no_chain_of_reports_costs_more_than_two_writes_for_each_pause(idle_seconds, most):
    """A pod may say what it likes."""
    old, count = status(), 0
    for now in range(1, HOUR + 1):
        new = told(old, old, said(now if now % 2 else 0, idle_seconds), at(now))
        count, old = count + (new != old), new

    assert count <= most


def test_a_status_that_is_written_anyway_takes_the_news_along():
    made = session()
    first = pod(made, ready=True)
    made = msgspec.structs.replace(made, status=decide(made, first, 20).status)
    changed = msgspec.structs.replace(made, spec=msgspec.structs.replace(made.spec, idle_seconds=60))

    assert None is decide(msgspec.structs.replace(made, status=made.status), first, 30).status
    made = msgspec.structs.replace(made, status=decide(made, first, 40, said(35)).status)
    assert (at(35), None) == (made.status.last_activity_time, made.status.cull_time)
    assert None is decide(made, first, 80, said(75)).status
    changed = msgspec.structs.replace(changed, status=made.status)
    assert at(75) == decide(changed, first, 80, said(75)).status.last_activity_time


def test_the_time_of_its_end_goes_with_the_run():
    made = session()
    first = pod(made, ready=True)
    idle = decide(made, first, 1000, said(20)).status
    made = msgspec.structs.replace(made, status=idle)
    leaving = decide(made, pod(made, leaving=True), 1100).status

    assert at(20 + HOUR) == idle.cull_time
    assert ("Stopping", at(20), None) == (leaving.phase, leaving.last_activity_time, leaving.cull_time)


def decide(made, one, now, report=None):
    return decide_session(made, SessionSeen(pods=(one,), report=report), at(now), SessionSite(image=IMAGE))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "missing required field"),
        ({"lastActivityTime": "soon", "idleSeconds": 1}, "lastActivityTime"),
        ({"lastActivityTime": "2026-01-01T12:00:00", "idleSeconds": 1}, "timezone"),
        ({"lastActivityTime": "0001-01-01T00:00:00+14:00", "idleSeconds": 1}, "years 2000 to 8999"),
        ({"lastActivityTime": "2026-01-01T12:00:00Z", "idleSeconds": -1}, "idleSeconds"),
        ({"lastActivityTime": "2026-01-01T12:00:00Z", "idleSeconds": 604_801}, "idleSeconds"),
    ],
)
def test_what_is_no_report_is_refused_with_what_is_wrong(body, says):
    with pytest.raises(msgspec.DecodeError) as caught:
        decode(json.dumps(body).encode())

    assert says in str(caught.value)


def test_times_are_whole_seconds_of_utc():
    found = decode(b'{"lastActivityTime":"2026-01-01T14:00:00.9+02:00","idleSeconds":60}')

    assert at(0) == found.last_activity_time


@pytest.mark.parametrize(
    ("last", "cull", "phase", "now", "expected"),
    [
        (100, None, "Running", 1000, True),
        (100, None, "Running", 1200, False),
        (100, 3700, "Running", 500, False),
        (None, None, "Running", 500, False),
        (100, None, "Culled", 110, False),
    ],
)
def test_a_session_is_in_use_where_its_status_can_be_no_newer(last, cull, phase, now, expected):
    made = msgspec.structs.replace(session(), status=status(last, cull, phase))

    assert expected is is_in_use(made, at(now))
