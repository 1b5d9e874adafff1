"""What the leader shows of jobs and counts of their lives."""

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from builders import at, job, pod, with_status
from ganger.api.status import Resize, Resizes
from ganger.app.caches import Caches
from ganger.app.observing import Observing
from ganger.control.reports import Reports
from ganger.observe.metrics import OperatorMetrics
from ganger.plan.decide import decide
from ganger.plan.live import LiveReport
from ganger.plan.seen import Seen


class Clock:
    def __init__(self):
        self.seconds = 0.0

    def now(self):
        return at(self.seconds)

    def monotonic(self):
        return self.seconds


class Place:
    def __init__(self):
        self.caches, self.reports, self.metrics, self.clock = Caches(), Reports(), OperatorMetrics(), Clock()
        self.observing = Observing(self.caches, self.reports, self.metrics, self.clock)
        self.version = 0

    def put(self, thing, status=None):
        self.version += 1
        thing = thing if status is None else with_status(thing, status)
        metadata = msgspec.structs.replace(thing.metadata, resource_version=str(self.version))
        thing = msgspec.structs.replace(thing, metadata=metadata)
        (self.caches.pods if hasattr(thing.status, "pod_ip") else self.caches.jobs).put(thing)
        return thing

    def decide(self, current, seconds, *pods):
        """The job after a pass at that time."""
        self.clock.seconds = seconds
        decision = decide(current, Seen(pods=pods), at(seconds))
        return self.put(current, decision.status)

    def shown(self, name):
        page = self.metrics.exposition() + self.observing.series.exposition()
        return {
            tuple(value for key, value in sorted(sample.labels.items()) if key not in ("namespace", "training_job")): (
                sample.value
            )
            for family in parse(page.decode())
            for sample in family.samples
            if sample.name == name
        }


@asynccontextmanager
async def leading(place):
    task = asyncio.create_task(place.observing.lead())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    yield
    task.cancel()
    await asyncio.wait({task})


@pytest.fixture
def place():
    return Place()


async def test_jobs_are_shown_by_the_leader_alone(place):
    place.put(job())
    assert {} == place.shown("ganger_job_workers_wanted")

    async with leading(place):
        assert {(): 2.0} == place.shown("ganger_job_workers_wanted")
    assert {} == place.shown("ganger_job_workers_wanted")


async def test_each_leader_shows_the_jobs_of_its_shard_until_its_term_ends(place):
    for name in ("even", "odd"):
        place.put(job(name=name))
    terms = [
        asyncio.create_task(place.observing.lead(lambda key, name=name: key[1] == name)) for name in ("even", "odd")
    ]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert 2 == place.observing.series.exposition().count(b"ganger_job_workers_wanted{")

    terms[0].cancel()
    await asyncio.wait({terms[0]})
    place.put(job(name="even"))
    page = place.observing.series.exposition()
    assert (0, 1) == (page.count(b'wanted{namespace="team",training_job="even"'), page.count(b'training_job="odd"} 2'))
    terms[1].cancel()
    await asyncio.wait({terms[1]})
    assert b"" == place.observing.series.exposition()


async def test_a_deleted_job_is_shown_no_more(place):
    async with leading(place):
        there = place.put(job())
        assert {(): 2.0} == place.shown("ganger_job_workers_wanted")
        place.caches.jobs.remove(there.metadata)
        assert {} == place.shown("ganger_job_workers_wanted")


async def test_time_passes_for_a_job_that_only_waits(place, monkeypatch):
    monkeypatch.setattr("ganger.app.observing.REFRESH_SECONDS", 0.001)
    async with leading(place):
        place.put(job())
        place.clock.seconds = 3600.0
        async with asyncio.timeout(5):
            while {("queued",): 3600.0} != place.shown("ganger_job_seconds"):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        assert {("queued", "team"): 3600.0} == {
            (cause, "team"): value for (cause,), value in place.shown("ganger_operator_job_seconds_total").items()
        }


async def test_a_job_that_has_ended_is_shown_once_and_stays(place, monkeypatch):
    monkeypatch.setattr("ganger.app.observing.REFRESH_SECONDS", 0.001)
    current = place.decide(job(workers=1), 12, pod(job(workers=1), 0))
    place.decide(current, 20, pod(current, 0, exit_code=0, ended=20))
    updates = []
    update = place.observing.series.update
    monkeypatch.setattr(place.observing.series, "update", lambda *what: (updates.append(what), update(*what)))
    async with leading(place):
        await asyncio.sleep(0.05)
        assert {("Complete",): 1.0} == place.shown("ganger_job_phase")

    assert 1 == len(updates)


async def test_ends_restarts_and_waits_are_counted_once(place):
    async with leading(place):
        current = place.put(job(workers=1))
        current = place.decide(current, 12, pod(current, 0))
        assert {(): 1.0} == place.shown("ganger_operator_job_wait_seconds_count")
        assert {(): 12.0} == place.shown("ganger_operator_job_wait_seconds_sum")

        word = {"outcome": "Failed", "reason": "Exception"}
        current = place.decide(current, 20, pod(current, 0, exit_code=1, said=word, ended=19))
        current = place.decide(current, 25, pod(current, 0, attempt=1))
        place.put(current)  # seen again
        assert {("true", "Exception"): 1.0} == place.shown("ganger_operator_restarts_total")
        assert {(): 1.0} == place.shown("ganger_operator_job_wait_seconds_count"), "a restart is no wait"

        place.decide(current, 60, pod(current, 0, attempt=1, exit_code=0, ended=60))
        assert {("AllWorkersSucceeded", "Complete"): 1.0} == place.shown("ganger_operator_jobs_finished_total")


async def test_resizes_are_counted_once_by_their_direction(place):
    def resized(current, total, from_workers, to_workers):
        last = Resize(attempt=total, from_workers=from_workers, to_workers=to_workers, reason="Scaled")
        return with_status(current, msgspec.structs.replace(current.status, resizes=Resizes(total=total, last=last)))

    async with leading(place):
        current = place.put(job(workers=4))
        for total, (old, new) in enumerate([(4, 2), (2, 3), (3, 4)], 1):
            current = place.put(resized(current, total, old, new))
        place.put(current)  # seen again

    assert {("down",): 1.0, ("up",): 2.0} == place.shown("ganger_operator_resizes_total")


async def test_the_counters_of_a_new_leader_begin_with_what_happens_from_now_on(place):
    current = place.decide(job(workers=1), 12, pod(job(workers=1), 0))
    place.clock.seconds = 30.0
    async with leading(place):
        place.decide(current, 40, pod(current, 0, exit_code=0, ended=40))

    counted = sum(place.shown("ganger_operator_job_seconds_total").values())
    assert pytest.approx(28.0, abs=0.01) == counted


async def test_productive_time_counts_as_it_passes_and_lost_time_when_it_is_found_out(place):
    async with leading(place):
        current = place.put(job(workers=1))
        current = place.decide(current, 10, pod(current, 0))
        word = {"outcome": "Failed", "reason": "Exception", "step": 100}
        place.decide(current, 110, pod(current, 0, exit_code=1, said=word, ended=110))
        seconds = place.shown("ganger_operator_job_seconds_total")

    assert seconds[("lost",)] > 0
    assert seconds[("productive",)] >= seconds[("lost",)]


async def test_figures_of_the_reports_are_shown(place):
    report = LiveReport(
        attempt=0, worker=0, sequence=1, phase="Training", step=7, total_steps=40, checkpoint_failures=3
    )
    async with leading(place):
        current = place.put(job(workers=1))
        place.reports.take(current.key, "uid-1", "pod-0-0", report, at(15), 15.0)
        place.decide(current, 16, pod(current, 0))

        assert {(): 3.0} == place.shown("ganger_job_checkpoint_failures")
        assert {(): at(15).timestamp()} == place.shown("ganger_job_last_step_timestamp_seconds")


async def test_workers_with_gpus_are_shown_for_the_join_with_their_devices(place):
    limits = {"limits": {"nvidia.com/gpu": 2}}
    async with leading(place):
        current = place.put(job(workers=2, resources=limits))
        for worker in (0, 1):
            place.put(pod(current, worker))
        place.decide(current, 10, pod(current, 0), pod(current, 1))

        assert {(): 4.0} == place.shown("ganger_job_gpus")
        assert 2 == len(place.shown("ganger_worker_info"))


async def test_a_figure_that_cannot_be_shown_stops_nothing(place, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("broken")

    async with leading(place):
        monkeypatch.setattr(place.observing.series, "update", broken)
        place.put(job())

    assert "showing team/digits in the metrics failed" in caplog.text
