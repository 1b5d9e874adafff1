import asyncio
import logging

import pytest

from ganger.kube.errors import Conflict, ServerError, Throttled, Unreachable
from ganger.kube.gate import Crash, Fenced
from ganger.runtime.controller import Controller
from ganger.runtime.queue import Queue
from ganger.runtime.silence import NoMetrics


class Counted(NoMetrics):
    def __init__(self):
        self.results = []

    def reconciled(self, result, seconds):
        self.results.append(result)


class Harness:
    def __init__(self, sync, **options):
        self.passes = []
        self.queue = Queue()
        self.metrics = Counted()
        self.stopping = asyncio.Event()
        self._sync = sync
        self.controller = Controller(self.queue, self.sync, metrics=self.metrics, **options)

    async def sync(self, key):
        self.passes.append(key)
        result = self._sync(key, self.passes.count(key))
        return await result if asyncio.iscoroutine(result) else result

    async def passed(self, count, seconds=2.0):
        async with asyncio.timeout(seconds):
            while len(self.passes) < count:  # noqa: ASYNC110 - passes are counted, not announced
                await asyncio.sleep(0.001)

    async def __aenter__(self):
        self.task = asyncio.create_task(self.controller.run(self.stopping))
        return self

    async def __aexit__(self, *_):
        self.stopping.set()
        await asyncio.wait({self.task})


def failing(error, times):
    def sync(_, attempt):
        if attempt <= times:
            raise error

    return sync


async def test_a_pass_that_returns_seconds_comes_again():
    async with Harness(lambda key, n: 0.01 if n == 1 else None) as harness:
        harness.queue.add("a")
        await harness.passed(2)
        await asyncio.sleep(0.03)

    assert ["a", "a"] == harness.passes
    assert ["requeued", "done"] == harness.metrics.results


@pytest.mark.parametrize(
    ("error", "label"),
    [
        (Conflict(409, "Conflict", ""), "conflict"),
        (ServerError(500, "InternalError", ""), "server"),
        (Unreachable("down"), "unreachable"),
        (Fenced("w"), "fenced"),
        (ValueError("bug"), "exception"),
    ],
)
async def test_an_error_brings_its_key_back(error, label):
    async with Harness(failing(error, 3)) as harness:
        harness.queue.add("a")
        await harness.passed(4)
        await asyncio.sleep(0.01)

    assert [label] * 3 + ["done"] == harness.metrics.results
    assert harness.queue.failures("a") == 0


async def test_a_throttled_pass_waits_as_long_as_the_server_asked():
    error = Throttled(429, "TooManyRequests", "", retry_after_seconds=0.1)
    loop = asyncio.get_running_loop()
    async with Harness(failing(error, 1)) as harness:
        started = loop.time()
        harness.queue.add("a")
        await harness.passed(2)

    assert loop.time() - started >= 0.1


async def test_news_does_not_hurry_a_throttled_key_nor_does_it_hold_up_the_others():
    error = Throttled(429, "TooManyRequests", "", retry_after_seconds=60)
    async with Harness(failing(error, 1)) as harness:
        harness.queue.add("a")
        await harness.passed(1)
        harness.queue.add("a")
        harness.queue.add("b")
        await harness.passed(2)

    assert ["a", "b"] == harness.passes
    assert ["throttled", "waiting", "throttled"] == harness.metrics.results


async def test_weather_is_not_logged_as_an_error_but_a_bug_is_with_its_key(caplog):
    caplog.set_level(logging.INFO)
    async with Harness(failing(Unreachable("down"), 1)) as harness:
        harness.queue.add("a")
        await harness.passed(2)
    assert [] == [record for record in caplog.records if record.levelno >= logging.ERROR]

    async with Harness(failing(ValueError("bug"), 1)) as harness:
        harness.queue.add("poison")
        await harness.passed(2)

    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "poison" in record.getMessage()
    assert record.exc_info


async def test_a_poison_key_does_not_hold_up_999_others():
    def sync(key, _):
        if key == 0:
            raise RuntimeError("poison")

    async with Harness(sync) as harness:
        for key in range(1000):
            harness.queue.add(key)
        await harness.passed(1000)

    assert set(range(1000)) == set(harness.passes)


async def test_an_error_is_reported_with_the_failures_in_a_row():
    reports = []

    async def report(key, error, failures):
        reports.append((key, str(error), failures))
        raise RuntimeError("a report may fail too")

    async with Harness(failing(ValueError("bug"), 2), on_error=report) as harness:
        harness.queue.add("a")
        await harness.passed(3)

    assert [("a", "bug", 1), ("a", "bug", 2)] == reports


async def test_a_pass_that_hangs_is_ended_and_comes_again():
    async def sync(_, attempt):
        if attempt == 1:
            await asyncio.sleep(3600)

    async with Harness(sync, sync_timeout=0.02) as harness:
        harness.queue.add("a")
        await harness.passed(2)

    assert "timeout" == harness.metrics.results[0]


async def test_a_key_whose_writes_are_not_seen_yet_waits():
    seen = []
    async with Harness(lambda key, n: None, ready=lambda key: bool(seen)) as harness:
        harness.queue.add("a")
        await asyncio.sleep(0.02)
        assert [] == harness.passes
        seen.append(True)
        harness.queue.add("a")
        await harness.passed(1)

    assert ["waiting", "done"] == harness.metrics.results


async def test_a_graceful_stop_finishes_the_running_pass_and_starts_no_other():
    release = asyncio.Event()
    finished = []

    async def sync(key, _):
        await release.wait()
        finished.append(key)

    async with Harness(sync, workers=1) as harness:
        harness.queue.add("running")
        harness.queue.add("waiting")
        await harness.passed(1)
        harness.stopping.set()
        await asyncio.sleep(0.01)
        release.set()
        await asyncio.wait_for(harness.task, 1)

    assert ["running"] == finished


async def test_a_pass_that_does_not_end_in_time_is_cancelled():
    async def sync(*_):
        await asyncio.sleep(3600)

    harness = Harness(sync)
    stopping = asyncio.Event()
    task = asyncio.create_task(harness.controller.run(stopping, within=0.02))
    harness.queue.add("a")
    await harness.passed(1)
    stopping.set()

    await asyncio.wait_for(task, 1)


async def test_a_controller_that_was_cancelled_can_run_again_with_its_keys():
    async def sync(_, attempt):
        if attempt == 1:
            await asyncio.sleep(3600)

    harness = Harness(sync)
    first = asyncio.create_task(harness.controller.run())
    harness.queue.add("a")
    await harness.passed(1)
    first.cancel()
    await asyncio.wait({first})

    async with harness:
        await harness.passed(2)

    assert ["a", "a"] == harness.passes


async def test_a_crash_ends_every_worker_and_is_raised():
    harness = Harness(failing(Crash("now"), 9))
    task = asyncio.create_task(harness.controller.run())
    harness.queue.add("a")

    with pytest.raises(Crash):
        await asyncio.wait_for(task, 1)
