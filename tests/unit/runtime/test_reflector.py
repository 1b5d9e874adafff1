"""What the stock informer gets wrong, one test each: against real HTTP on loopback, with short time-outs."""

import asyncio
import json
import logging

import pytest

from ganger.runtime.reflector import Timing
from unit.kube.scripted import (
    answering,
    bookmark,
    cut,
    event,
    hang,
    pod,
    status,
    streaming,
)
from unit.runtime.reflecting import listing, reflecting


async def test_the_first_list_is_paged_and_asks_for_no_version():
    pages = listing(9, pod("a", 1), pod("b", 2), continue_="t"), listing(9, pod("c", 3))
    async with reflecting(*pages) as harness:
        await harness.reaches(a="1", b="2", c="3")
        await harness.until(lambda: harness.watched_from)

        assert [{"limit": "2"}, {"limit": "2", "continue": "t"}] == [r.query for r in harness.lists]
        assert ["9"] == harness.watched_from
        assert harness.cache.resource_version("ns") == 9


async def test_nothing_is_synced_before_the_last_page():
    async with reflecting(listing(9, pod("a", 1), continue_="t"), hang) as harness:
        await harness.until(lambda: len(harness.lists) == 2)

        assert not harness.reflector.has_synced
        assert len(harness.cache) == 0


async def test_a_watch_asks_for_bookmarks_and_a_random_time_of_5_to_10_minutes():
    async with reflecting(listing(1), watches=[streaming(then="end")] * 3) as harness:
        await harness.until(lambda: len(harness.watched_from) >= 4)

        watches = [r for r in harness.server.requests if "watch" in r.query]
        seconds = [int(r.query["timeoutSeconds"]) for r in watches]
        assert all(300 <= s <= 600 for s in seconds)
        assert len(set(seconds)) > 1
        assert {"true"} == {r.query["allowWatchBookmarks"] for r in watches}


async def test_events_change_the_cache_and_its_version():
    events = (
        event("ADDED", pod("b", 2)),
        event("MODIFIED", pod("a", 3, phase="Running")),
        event("DELETED", pod("b", 4)),
        bookmark(50),
    )
    async with reflecting(listing(1, pod("a", 1)), watches=[streaming(*events)]) as harness:
        await harness.until(lambda: harness.cache.resource_version() == 50)

        assert {"a": "3"} == harness.versions()
        assert [(None, "a@1"), (None, "b@2"), ("a@1", "a@3"), ("b@2", None)] == harness.news


async def test_a_watch_that_ends_is_resumed_from_the_last_version_without_a_list():
    watches = [streaming(event("ADDED", pod("a", 2)), then="end"), streaming(bookmark(7), then="cut")]
    async with reflecting(listing(1), listing(8), watches=watches) as harness:
        await harness.until(lambda: len(harness.watched_from) == 3)

        assert ["1", "2", "7"] == harness.watched_from
        assert harness.metrics.lists == 1


@pytest.mark.parametrize("how", ["http", "event"])
async def test_410_lists_anew_with_a_diff_and_tells_deletions(how):
    gone = (
        answering(410, status(410, "Expired"))
        if how == "http"
        else streaming(event("ERROR", status(410, "Expired")), then="end")
    )
    lists = listing(5, pod("a", 1), pod("b", 2)), listing(9, pod("b", 2), pod("c", 8))
    async with reflecting(*lists, watches=[gone]) as harness:
        await harness.reaches(b="2", c="8")
        await harness.until(lambda: len(harness.watched_from) == 2)

        assert ["5", "9"] == harness.watched_from
        assert [(None, "a@1"), (None, "b@2"), (None, "c@8"), ("a@1", None)] == harness.news


async def test_410_twice_lists_twice_and_never_asks_for_the_same_version():
    gone = [streaming(event("ERROR", status(410, "Expired")), then="end"), answering(410, status(410, "Gone"))]
    async with reflecting(listing(5), listing(6), listing(7, pod("a", 7)), watches=gone) as harness:
        await harness.reaches(a="7")
        await harness.until(lambda: len(harness.watched_from) == 3)

        assert ["5", "6", "7"] == harness.watched_from
        assert ["gone", "gone"] == harness.metrics.ended


async def test_410_for_ever_backs_off():
    timing = Timing(backoff_base=0.05, backoff_cap=1.0)
    gone = answering(410, status(410, "Expired"))
    async with reflecting(listing(5), watches=[gone] * 99, timing=timing) as harness:
        await asyncio.sleep(0.4)

        assert len(harness.watched_from) <= 5


async def test_a_continue_token_that_grew_too_old_is_answered_by_one_whole_list():
    lists = listing(5, pod("a", 1), continue_="t"), answering(410, status(410, "Expired")), listing(6, pod("a", 1))
    async with reflecting(*lists) as harness:
        await harness.reaches(a="1")

        assert "limit" not in harness.lists[2].query


@pytest.mark.parametrize(
    "torn", [b'{"type":"ADDED","obj\n', b"<html>502</html>\n", b"null\n", b'{"type":"ADDED","object":{"meta\n']
)
async def test_a_torn_line_closes_the_stream_and_relists(torn):
    # The event after the torn line must not be taken: what was between them is lost.
    watch = streaming(event("ADDED", pod("a", 6)), torn, event("ADDED", pod("never", 8)))
    async with reflecting(listing(5), listing(9, pod("a", 6), pod("b", 7)), watches=[watch]) as harness:
        await harness.reaches(a="6", b="7")

        assert harness.metrics.ended == ["torn"]
        assert "never" not in str(harness.news)


async def test_a_last_line_that_is_torn_relists():
    watch = streaming(b'{"type":"ADDED","object":{"metadata"', then="end")
    async with reflecting(listing(5), listing(9, pod("b", 7)), watches=[watch]) as harness:
        await harness.reaches(b="7")

        assert harness.metrics.ended == ["torn"]


async def test_a_half_open_watch_is_noticed_and_resumed():
    timing = Timing(read_timeout=0.05, backoff_base=0.005)
    watches = [streaming(event("ADDED", pod("a", 6))), streaming(event("ADDED", pod("b", 7)))]
    async with reflecting(listing(5), watches=watches, timing=timing) as harness:
        await harness.reaches(a="6", b="7")

        assert "stalled" in harness.metrics.ended
        assert harness.metrics.lists == 1
        assert harness.reflector.trouble == ""


async def test_a_watch_that_is_accepted_but_never_answered_is_noticed():
    timing = Timing(read_timeout=0.05, backoff_base=0.005)
    async with reflecting(listing(5), watches=[hang, streaming(event("ADDED", pod("b", 7)))], timing=timing) as harness:
        await harness.reaches(b="7")


async def test_any_line_resets_the_read_time_out():
    async def dripping(request):
        await request.open_stream()
        for n in range(6, 16):
            await asyncio.sleep(0.02)
            await request.line(bookmark(n))
        await asyncio.sleep(3600)

    async with reflecting(listing(5), watches=[dripping], timing=Timing(read_timeout=0.1)) as harness:
        await harness.until(lambda: harness.cache.resource_version() == 15)

        assert harness.metrics.ended == []


async def test_an_html_502_backs_off_and_recovers():
    lists = answering(502, b"<html>bad gateway</html>"), listing(5, pod("a", 1))
    async with reflecting(*lists, watches=[answering(502, b"<html>")]) as harness:
        await harness.reaches(a="1")
        await harness.until(lambda: len(harness.watched_from) == 2)

        assert ["server", "server"] == harness.metrics.ended


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"items":[]}', b'{"metadata":{"resourceVersion":"x"}}'])
async def test_a_list_that_is_none_is_asked_again(body):
    async with reflecting(answering(200, body), listing(5, pod("a", 1))) as harness:
        await harness.reaches(a="1")


async def test_an_error_event_500_closes_the_stream_and_relists():
    watch = streaming(event("ERROR", status(500, "InternalError", "etcd")), event("ADDED", pod("never", 8)))
    async with reflecting(listing(5), listing(9, pod("b", 7)), watches=[watch]) as harness:
        await harness.reaches(b="7")

        assert harness.metrics.ended == ["server"]
        assert "never" not in str(harness.news)


async def test_watches_with_an_empty_body_do_not_spin():
    timing = Timing(backoff_base=0.05, backoff_cap=1.0)
    async with reflecting(listing(5), watches=[answering(200, b"")] * 99, timing=timing) as harness:
        await asyncio.sleep(0.4)

        assert len(harness.watched_from) <= 5


async def test_an_event_of_unknown_type_is_skipped_with_a_warning(caplog):
    watch = streaming(event("SPARKLED", pod("x", 6)), event("ADDED", pod("a", 7)))
    with caplog.at_level(logging.WARNING):
        async with reflecting(listing(5), watches=[watch]) as harness:
            await harness.reaches(a="7")

            assert harness.metrics.ended == []
            assert "unknown" in harness.metrics.events
    assert "SPARKLED" in caplog.text


async def test_an_object_of_another_shape_is_kept_as_undecodable_and_stalls_nothing():
    odd = pod("odd", 6)
    odd["status"] = {"phase": 7}
    watch = streaming(event("ADDED", odd), event("ADDED", pod("a", 7)))
    async with reflecting(listing(5), watches=[watch]) as harness:
        await harness.reaches(a="7")

        assert "status.phase" in harness.cache.undecodable("ns", "odd").error
        assert "uid-odd" == harness.cache.undecodable("ns", "odd").metadata.uid
        assert harness.metrics.ended == []


async def test_an_object_of_another_shape_in_a_list_costs_the_others_nothing():
    odd = pod("odd", 2)
    odd["status"] = {"phase": 7}
    async with reflecting(listing(5, pod("a", 1), odd, pod("b", 3))) as harness:
        await harness.reaches(a="1", b="3")

        assert ["odd"] == [u.metadata.name for u in harness.cache.all_undecodable()]


async def test_forbidden_is_a_trouble_that_passes_by_itself():
    lists = answering(403, status(403, "Forbidden")), hang
    async with reflecting(*lists) as harness:
        await harness.until(lambda: "403 Forbidden" in harness.reflector.trouble)
        assert not harness.reflector.has_synced

    async with reflecting(answering(403, status(403, "Forbidden")), listing(5)) as harness:
        await harness.until(lambda: harness.reflector.trouble == "")

        assert harness.reflector.has_synced


async def test_a_list_whose_watch_is_refused_is_not_yet_ready():
    """So answers the API server right after a CustomResourceDefinition was made."""
    throttled = answering(429, status(429, "TooManyRequests"), ["Retry-After: 1"])
    async with reflecting(listing(5), watches=[hang]) as harness:
        await harness.until(lambda: harness.watched_from)
        assert harness.reflector.has_synced
        assert harness.reflector.trouble == "the watch of pods is not open yet"

    async with reflecting(listing(5), watches=[throttled]) as harness:
        await harness.until(lambda: "429" in harness.reflector.trouble)
        await harness.until(lambda: harness.reflector.trouble == "")
        assert 2 == len(harness.watched_from)


async def test_a_throttled_list_waits_as_long_as_the_server_asked():
    async with reflecting(answering(429, status(429, "TooManyRequests"), ["Retry-After: 1"]), listing(5)) as harness:
        await asyncio.sleep(0.3)
        assert len(harness.lists) == 1

        await harness.until(lambda: harness.reflector.has_synced)


async def test_a_resync_tells_every_object_again():
    timing = Timing(resync=0.05)

    async def ticking(request):
        await request.open_stream()
        for _ in range(5):
            await asyncio.sleep(0.03)
            await request.line(bookmark(5))
        await asyncio.sleep(3600)

    async with reflecting(listing(5, pod("a", 1)), watches=[ticking], timing=timing) as harness:
        await harness.until(lambda: ("a@1", "a@1") in harness.news)


async def test_relist_interrupts_the_watch():
    async with reflecting(listing(5), listing(9, pod("a", 8))) as harness:
        await harness.until(lambda: harness.watched_from)

        harness.reflector.relist()
        harness.reflector.relist()

        await harness.reaches(a="8")
        assert harness.metrics.ended == ["relist"]


async def test_a_loop_that_stopped_turning_is_stalled_but_a_server_that_is_down_is_not():
    timing = Timing(read_timeout=0.02, backoff_base=0.005, backoff_cap=0.01)
    async with reflecting(cut, timing=timing) as harness:
        await asyncio.sleep(0.15)
        assert not harness.reflector.is_stalled

    await asyncio.sleep(0.1)  # its task is gone

    assert harness.reflector.is_stalled


async def test_duplicate_events_change_nothing():
    watch = streaming(event("ADDED", pod("a", 6)), event("ADDED", pod("a", 6)), event("ADDED", pod("b", 7)))
    async with reflecting(listing(5), watches=[watch]) as harness:
        await harness.reaches(a="6", b="7")

        assert harness.metrics.ended == []


async def test_equal_short_strings_of_many_objects_are_one():
    items = [pod(f"p{n}", n, owner="o") for n in range(1, 3)]
    async with reflecting(listing(5, *items)) as harness:
        await harness.reaches(p1="1", p2="2")
        one, two = harness.cache.all()

        assert one.metadata.namespace is two.metadata.namespace
        assert one.metadata.owner_references[0].uid is two.metadata.owner_references[0].uid


async def test_a_big_object_split_over_many_chunks_is_whole():
    big = json.dumps(event("ADDED", pod("a", 6) | {"spec": {"nodeName": "n" * 300_000}})).encode() + b"\n"
    pieces = [big[i : i + 50_000] for i in range(0, len(big), 50_000)]
    async with reflecting(listing(5), watches=[streaming(*pieces)]) as harness:
        await harness.reaches(a="6")
