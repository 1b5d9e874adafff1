"""What a worker whose processes failed is told, and when."""

import asyncio
import json

import msgspec
import pytest

from builders import at, with_status
from ganger.api.observed import Condition
from ganger.api.status import Failure, Restarts
from ganger.app.caches import Caches
from ganger.control import desk
from unit.control.pretend import token
from unit.control.test_desk import Place

FAILURE = {"reason": "ProcessKilled", "exitCode": 137}


@pytest.fixture
def place():
    return Place()


def ordered(place, **changes):
    last = Failure(reason="ProcessKilled", rung="Container")
    values = {"round": 1, "restarts": Restarts(last=last, next_attempt_time=at(place.time + 3))} | changes
    place.job_ = with_status(place.job_, msgspec.structs.replace(place.job_.status, **values))


async def fall(place, **said):
    return await place.send(**{"phase": "Failed", "failure": FAILURE} | said)


async def begun(place, **said):
    """A request of a failed worker that has been heard and waits."""
    heard = asyncio.Event()
    place.desk._heard = place.desk._urgent = lambda key: heard.set()
    waiting = asyncio.create_task(fall(place, **said))
    await heard.wait()
    return waiting


async def soon(waiting):
    """Its answer, if it comes long before the hold is over."""
    async with asyncio.timeout(desk.HOLD_SECONDS / 4):
        return await waiting


async def test_every_worker_is_told_the_round_of_the_status(place):
    ordered(place)

    answer = json.loads((await place.send()).body)

    assert (1, "Container", 3.0) == (answer["round"], answer["rung"], answer["startSeconds"])


async def test_a_failed_worker_hears_of_the_round_as_soon_as_it_is_decided(place):
    waiting = await begun(place)
    ordered(place)
    place.desk.changed(place.job_.key)

    answer = await soon(waiting)

    assert 1 == json.loads(answer.body)["round"]


async def test_all_failed_workers_of_a_gang_are_woken_by_one_change(place):
    waiting = await begun(place)
    other = await begun(place, worker=1, text=token(pod="digits-0-1", uid="pod-0-1"))
    ordered(place)
    place.desk.changed(place.job_.key)

    assert [1, 1] == [json.loads((await soon(each)).body)["round"] for each in (waiting, other)]


async def test_a_change_that_decides_nothing_lets_the_worker_wait_on(place):
    waiting = await begun(place)
    place.desk.changed(place.job_.key)
    place.desk.changed(("team", "another"))
    await asyncio.sleep(0)
    waited = not waiting.done()
    ordered(place)
    place.desk.changed(place.job_.key)

    assert (True, 1) == (waited, json.loads((await soon(waiting)).body)["round"])


async def test_the_cache_of_jobs_wakes_the_worker(place):
    caches = Caches()
    caches.on_job_change(place.desk.changed)
    caches.jobs.put(place.job_)
    place.job = caches.jobs.get
    waiting = await begun(place)
    ordered(place)
    caches.jobs.put(place.job_)

    assert 1 == json.loads((await soon(waiting)).body)["round"]


@pytest.mark.parametrize("change", [{"attempt": 1}, {"conditions": (Condition(type="Failed", status="True"),)}])
async def test_a_failed_worker_is_refused_once_its_pod_is_to_end(place, change):
    waiting = await begun(place)
    ordered(place, **change)
    place.desk.changed(place.job_.key)

    assert 403 == (await soon(waiting)).status


async def test_a_failed_worker_is_refused_once_its_job_is_gone(place):
    waiting = await begun(place)
    key = place.job_.key
    place.job = lambda namespace, name: None
    place.desk.changed(key)

    assert 403 == (await soon(waiting)).status


async def test_a_failed_worker_is_refused_once_another_job_has_the_name(place):
    waiting = await begun(place)
    place.job_ = msgspec.structs.replace(place.job_, metadata=msgspec.structs.replace(place.job_.metadata, uid="uid-2"))
    ordered(place)
    place.desk.changed(place.job_.key)

    assert 403 == (await soon(waiting)).status


async def test_a_failed_worker_of_which_nothing_is_decided_is_answered_after_a_while(place, monkeypatch):
    assert 2.0 == desk.HOLD_SECONDS
    monkeypatch.setattr(desk, "HOLD_SECONDS", 0.05)

    answer = await fall(place)

    assert (200, False) == (answer.status, "round" in json.loads(answer.body))


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
