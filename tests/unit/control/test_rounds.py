"""What a worker whose processes failed is told, and when."""

import asyncio
import json

import msgspec
import pytest

from builders import at, with_status
from ganger.api.observed import Condition
from ganger.api.status import Failure, Restarts
from ganger.control import desk
from unit.control.test_desk import Place

FAILURE = {"reason": "ProcessKilled", "exitCode": 137}


@pytest.fixture
def place(monkeypatch):
    """A desk whose clock runs on by the time that it waits."""
    place = Place()
    slept = asyncio.sleep

    async def sleep(seconds):
        place.time += seconds
        await slept(0)

    monkeypatch.setattr(desk.asyncio, "sleep", sleep)
    return place


def ordered(place, **changes):
    last = Failure(reason="ProcessKilled", rung="Container")
    values = {"round": 1, "restarts": Restarts(last=last, next_attempt_time=at(place.time + 3))} | changes
    place.job_ = with_status(place.job_, msgspec.structs.replace(place.job_.status, **values))


async def fall(place, **said):
    return await place.send(**{"phase": "Failed", "failure": FAILURE} | said)


async def begun(place):
    """A request of a failed worker that has been heard and waits."""
    heard = asyncio.Event()
    place.desk._heard = place.desk._urgent = lambda key: heard.set()
    waiting = asyncio.create_task(fall(place))
    await heard.wait()
    return waiting


async def test_every_worker_is_told_the_round_of_the_status(place):
    ordered(place)

    answer = json.loads((await place.send()).body)

    assert (1, "Container", 3.0) == (answer["round"], answer["rung"], answer["startSeconds"])


async def test_a_failed_worker_hears_of_the_round_as_soon_as_it_is_decided(place):
    waiting = await begun(place)
    ordered(place)
    since = place.time

    answer = json.loads((await waiting).body)

    assert 1 == answer["round"]
    assert place.time - since <= 2 * desk.LOOK_SECONDS


@pytest.mark.parametrize("change", [{"attempt": 1}, {"conditions": (Condition(type="Failed", status="True"),)}])
async def test_a_failed_worker_is_refused_once_its_pod_is_to_end(place, change):
    waiting = await begun(place)
    ordered(place, **change)

    assert 403 == (await waiting).status


async def test_a_failed_worker_of_which_nothing_is_decided_is_answered_after_a_while(place):
    since = place.time

    answer = await fall(place)

    assert "round" not in json.loads(answer.body)
    assert desk.HOLD_SECONDS <= place.time - since < desk.HOLD_SECONDS + 1


async def test_a_failure_is_heard_however_soon_it_follows_another_report(place):
    await place.send()

    assert 200 == (await fall(place, sequence=2)).status


async def test_a_new_supervisor_of_a_later_round_counts_its_reports_from_the_beginning(place):
    await place.send(sequence=9)
    ordered(place)

    assert 200 == (await place.send(round=1, sequence=1)).status
    assert 409 == (await place.send(round=0, sequence=10)).status


async def test_whoever_is_in_the_newest_round_speaks_for_the_gang(place):
    key = ("team", "digits")
    await place.send(step=70)
    reports = place.reports
    first = reports.worker(key, "uid-1", 0, 0).own
    reports.take(key, "uid-1", "pod-0-1", msgspec.structs.replace(first, worker=1, round=1, step=60), at(5), 5.0)

    assert 60 == reports.live(key, "uid-1", 0).report.step
