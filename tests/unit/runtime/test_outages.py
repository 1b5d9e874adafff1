"""A reflector whose API server is down, comes back, or comes back from the past."""

import asyncio

import pytest

from ganger.runtime.reflector import Timing
from unit.kube.scripted import (
    answering,
    bookmark,
    cut,
    event,
    pod,
    status,
    streaming,
)
from unit.runtime.reflecting import listing, reflecting


async def test_a_server_that_came_back_from_the_past_before_the_first_try_is_noticed():
    """The stream broke, and by the end of the pause the server was there again, restored."""
    lists = listing(9, pod("a", 8)), listing(4, pod("b", 3)), listing(4, pod("b", 3))
    async with reflecting(*lists, watches=[streaming(bookmark(9), then="cut"), streaming()]) as harness:
        await harness.reaches(b="3")

        assert (1, 1) == (harness.metrics.regressions, harness.cache.epoch())


async def test_an_api_server_that_is_down_is_asked_ever_less_often():
    timing = Timing(backoff_base=0.02, backoff_cap=0.2)
    async with reflecting(cut, timing=timing) as harness:
        await asyncio.sleep(0.7)

        # 0.02 + 0.04 + 0.08 + 0.16 + 0.2 ...; the stock client made 310 tries a second. aiohttp repeats a GET once.
        assert 4 <= len(harness.metrics.ended) <= 9
        assert {"unreachable"} == set(harness.metrics.ended)
        assert "0 Unreachable" in harness.reflector.trouble


async def test_a_pause_ends_when_somebody_else_has_met_the_server_again_but_not_the_one_that_the_server_asked_for():
    timing = Timing(backoff_base=30.0)
    async with reflecting(cut, cut, listing(5, pod("a", 1)), timing=timing) as harness:
        await harness.until(lambda: harness.metrics.ended == ["unreachable"])

        await harness.until(lambda: harness.reflector.hurry() or harness.versions() == {"a": "1"})

    throttled = answering(429, status(429, "TooManyRequests"), ["Retry-After: 30"])
    async with reflecting(throttled, listing(5, pod("a", 1)), timing=timing) as harness:
        await harness.until(lambda: len(harness.metrics.ended) == 1)
        harness.reflector.hurry()
        await asyncio.sleep(0.1)

        assert 1 == len(harness.lists)


@pytest.mark.parametrize("turns", range(5))
async def test_a_cancellation_that_comes_with_the_end_of_a_pause_is_not_lost(turns):
    async with reflecting(cut, timing=Timing(backoff_base=30.0), run=False) as harness:
        running = asyncio.create_task(harness.reflector.run())
        await harness.until(lambda: harness.metrics.ended == ["unreachable"])
        harness.reflector.hurry()
        for _ in range(turns):  # of the event loop: the wake-up is on its way
            await asyncio.sleep(0)

        running.cancel()

        await harness.until(running.done)
        assert running.cancelled()


async def test_it_tells_when_a_server_that_was_away_is_back():
    told = []
    async with reflecting(
        listing(5), watches=[cut, streaming(bookmark(6))], returned=lambda: told.append(1)
    ) as harness:
        await harness.until(lambda: harness.cache.resource_version() == 6)

        assert [1] == told


async def test_the_back_off_starts_anew_after_a_healthy_time():
    timing = Timing(backoff_base=0.001, backoff_cap=10.0, healthy=0.5)

    async def living(request):
        await request.open_stream()
        await asyncio.sleep(0.6)
        request.cut()

    async with reflecting(listing(5), watches=[cut] * 6 + [living], timing=timing) as harness:
        await harness.until(lambda: len(harness.watched_from) == 7)
        assert harness.reflector._backoff.failures >= 6

        await harness.until(lambda: len(harness.watched_from) == 8)

        assert harness.reflector._backoff.failures == 1


async def test_an_outage_ends_with_one_list_at_most_and_no_change():
    async with reflecting(listing(5, pod("a", 1)), watches=[cut, cut, streaming(bookmark(6))]) as harness:
        await harness.until(lambda: harness.cache.resource_version() == 6)

        assert harness.metrics.lists == 1
        assert [(None, "a@1")] == harness.news


async def test_a_version_that_goes_back_is_counted_and_listed_anew():
    watch = streaming(event("ADDED", pod("a", 60)), event("ADDED", pod("b", 6)))
    async with reflecting(listing(50), listing(7, pod("b", 6)), watches=[watch]) as harness:
        await harness.reaches(b="6")

        assert ("regressed", 1) == (harness.metrics.ended[0], harness.metrics.regressions)
        assert (7, 1) == (harness.cache.resource_version(), harness.cache.epoch())


async def test_a_list_older_than_the_last_one_is_counted_and_taken():
    lists = listing(50, pod("a", 40)), listing(7, pod("b", 6))
    async with reflecting(*lists, watches=[answering(410, status(410, "Expired"))]) as harness:
        await harness.reaches(b="6")

        assert (1, 1) == (harness.metrics.regressions, harness.cache.epoch())


async def test_a_server_that_was_away_is_asked_whether_it_came_back_from_the_past():
    """Restored from an old etcd, it accepts a watch from the future and is silent: nothing else would tell."""
    lists = listing(9, pod("a", 8)), listing(4, pod("b", 3)), listing(4, pod("b", 3))
    async with reflecting(*lists, watches=[cut, streaming()]) as harness:
        await harness.reaches(b="3")

        assert [{"limit": "2"}, {"limit": "1"}, {"limit": "2"}] == [r.query for r in harness.lists]
        assert (1, 1) == (harness.metrics.regressions, harness.cache.epoch())
        await harness.until(lambda: harness.watched_from[-1] == "4")


async def test_a_server_that_was_away_and_comes_back_as_it_was_is_not_listed_anew():
    lists = listing(9, pod("a", 8)), listing(9, pod("a", 8)), listing(10)
    async with reflecting(*lists, watches=[cut, streaming(event("ADDED", pod("b", 11)))]) as harness:
        await harness.reaches(a="8", b="11")

        assert 1 == harness.metrics.lists
        assert 2 == len(harness.lists)
