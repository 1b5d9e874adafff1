"""Watches that end, stop, or say what nobody understands (F4 to F7)."""

import time

import pytest

from apiclient import wait_for
from integration.faults.plan import Rule

pytestmark = pytest.mark.integration


def life(world):
    """A job with one failure, to its end: every transition must be seen."""
    world.running_job()
    world.end("digits-0-1", 1)
    world.finish(attempt=1)
    assert {"total": 1, "counted": 1} == {key: world.status()["restarts"][key] for key in ("total", "counted")}
    assert sorted(world.gang() + world.gang(attempt=1)) == sorted(world.creations())


def lists(proxy, resource="pods"):
    """How often a kind was listed whole."""
    return len([seen for seen in proxy.seen("list", resource) if "continue" not in seen.query])


def test_f4_watch_dropped_every_two_seconds(world):
    """It resumes from where it was: no transition is missed, and nothing is listed again."""
    proxy = world.proxy(Rule(fault="close", verb="watch", seconds=2.0))
    world.behind(proxy)
    life(world)
    wait_for(lambda: len(proxy.seen("watch", "pods")) >= 3, 15, "the watch was dropped twice")
    world.submit("late", workers=1)
    wait_for(lambda: "late-0-0" in world.pod_names(), 15)

    assert (1, 1) == (lists(proxy, "pods"), lists(proxy, "trainingjobs"))


def test_f5_half_open_watch_is_noticed(world):
    """Silence for longer than GANGER_WATCH_SILENCE_SECONDS is a dead connection; meanwhile the operator stays ready."""
    silent = Rule(fault="half_open", verb="watch", resource="trainingjobs", lines=1, times=1)
    proxy = world.proxy(silent)
    operator = world.behind(proxy, GANGER_WATCH_SILENCE_SECONDS="5")
    wait_for(operator.is_ready, 20, "ready")
    world.submit("first", workers=1)
    wait_for(lambda: "first-0-0" in world.pod_names())
    started = time.monotonic()
    world.submit("second", workers=1)
    unready = []

    def is_seen():
        if not operator.is_ready():
            unready.append(time.monotonic())
        return "second-0-0" in world.pod_names()

    wait_for(is_seen, 15, "the job that was submitted in the silence")

    assert time.monotonic() - started < 8.0
    assert [] == unready
    assert 1.0 == world.metric(operator, "ganger_operator_watch_stalls_total", resource="trainingjobs")
    assert 1 == lists(proxy, "trainingjobs")


@pytest.mark.parametrize(
    "fault",
    [Rule(fault="error_event", verb="watch", code=410), Rule(fault="status", verb="watch", code=410)],
    ids=["event", "answer"],
)
@pytest.mark.parametrize("times", [1, 2])
def test_f6_version_too_old(world, fault, times):
    """It lists anew and takes the difference, a pod that is gone included; the refused version is never asked again."""
    fault = Rule(**vars(fault) | {"resource": "pods", "times": times, "fired": 0})
    close = Rule(fault="hold", verb="watch", resource="pods", event="DELETED", until="never", times=1)
    proxy = world.proxy(close)
    world.behind(proxy)
    world.running_job()
    world.api.delete(f"{world.pods}/digits-0-1", gracePeriodSeconds=0)  # the operator never hears of it
    time.sleep(0.3)
    assert world.gang() == sorted(world.creations())
    proxy.clear()
    proxy.add(fault)
    proxy.end_watches("pods")
    world.finish(attempt=1)

    assert times == fault.fired
    assert 1 + times <= lists(proxy)
    refused = [seen.query["resourceVersion"] for seen in proxy.seen("watch", "pods") if seen.fault == fault.fault]
    after = [seen.query["resourceVersion"] for seen in proxy.seen("watch", "pods") if not seen.fault]
    assert set(refused).isdisjoint(after)
    assert {"total": 1, "counted": 0} == {key: world.status()["restarts"].get(key, 0) for key in ("total", "counted")}


@pytest.mark.parametrize(
    ("rule", "relists"),
    [
        (Rule(fault="torn_line"), True),
        (Rule(fault="error_event", code=500), True),
        (Rule(fault="unknown_event"), False),
        (Rule(fault="html_502"), False),
        (Rule(fault="empty_body"), False),
        (Rule(fault="dup_event"), False),
    ],
    ids=lambda value: value.fault if isinstance(value, Rule) else "",
)
def test_f7_stream_that_cannot_be_trusted(world, rule, relists):
    """What is no event ends the stream, and the kind is listed anew; an unknown type is passed over with a warning."""
    rule.verb, rule.times = "watch", 4
    proxy = world.proxy(rule)
    operator = world.behind(proxy)
    life(world)

    assert rule.fired >= 4
    assert relists == (
        sum(lists(proxy, kind) for kind in ("pods", "trainingjobs", "services", "persistentvolumeclaims")) > 4
    )
    assert operator.process.poll() is None
    warned = "event of unknown type" in operator.log.read_text()
    assert warned == (rule.fault == "unknown_event")
    assert "Traceback" not in operator.log.read_text()


@pytest.mark.parametrize("fault", ["html_502", "wrong_content_type", "empty_body"])
def test_f7_list_that_is_none(world, fault):
    """It is asked for again; a label on a good list is no reason to refuse it."""
    rule = Rule(fault=fault, verb="list", resource="pods", times=2)
    proxy = world.proxy(rule)
    operator = world.behind(proxy)
    life(world)
    assert operator.process.poll() is None
    assert lists(proxy) == (1 if fault == "wrong_content_type" else 3)
