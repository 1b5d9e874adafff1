"""Leaders that die, freeze or are two (F13 to F16), and a standby that must not call itself ready too early."""

import os
import signal
import time

import pytest

from apiclient import wait_for
from integration.faults.plan import Rule

pytestmark = pytest.mark.integration
WRITES = 5  # in the life of a job of two workers without a volume: Service, two pods, that it runs, that it ended


def kill(operator):
    """SIGKILL, and wait until it is gone."""
    operator.signal(signal.SIGKILL)
    operator.process.wait()


def test_standby_is_ready_only_once_its_watches_are_open(world):
    """What the API server does right after a CustomResourceDefinition was made: lists are served, watches are not."""
    first = world.behind(world.proxy())
    refused = Rule(fault="status", code=429, retry_after=1, verb="watch", resource="trainingjobs", times=2)
    proxy = world.proxy(refused)
    second = world.behind(proxy, "operator-b")
    wait_for(second.is_ready, 20, "a standby that is ready")
    assert 3 <= len(proxy.seen("watch", "trainingjobs"))

    started = time.monotonic()
    first.signal(signal.SIGTERM)
    world.submit()
    wait_for(lambda: "digits-0-0" in world.pod_names())
    assert time.monotonic() - started < 1.0


def held(world, proxy, write, fault):
    """Submit a job and let the operator behind the proxy stand still at its n-th write, before or after the server."""
    begun = Rule(fault=fault, verb="write", skip=write, times=1, until="never")
    proxy.add(begun)
    world.submit()

    def is_held():
        world.move(0, "digits")
        return begun.fired

    wait_for(is_held, 20, f"write {write}")
    if fault == "hold_answer":
        wait_for(lambda: proxy.writes()[write].status, 5, "the server's answer")


@pytest.mark.parametrize("write", range(WRITES))
@pytest.mark.parametrize("fault", ["hold", "hold_answer"], ids=["before", "after"])
def test_f13_controller_killed_at_a_write(world, write, fault):
    """The end is that of a run without a fault: no pod is made twice, nothing is counted."""
    proxy = world.proxy()
    first = world.behind(proxy)
    held(world, proxy, write, fault)
    kill(first)
    # Its lease lies elsewhere, so that the test need not wait for the dead one's to run out.
    world.start_operator("operator-c", KUBECONFIG=str(world.proxy().kubeconfig), GANGER_NAMESPACE="default")
    world.finish()

    assert world.gang() == sorted(world.creations())
    assert 0 == world.status().get("restarts", {}).get("total", 0)


@pytest.mark.parametrize("write", range(WRITES))
def test_f14_leader_killed_at_a_write_is_replaced(world, write):
    """The standby takes over within 5 s (a lease of 4 s), and ends where a run without a fault ends."""
    proxy = world.proxy()
    first = world.behind(proxy)
    second = world.behind(world.proxy(), "operator-b")
    wait_for(second.is_ready, 20, "a standby that is ready")
    held(world, proxy, write, "hold_answer")
    kill(first)
    died = time.monotonic()
    wait_for(lambda: world.leader().startswith("operator-b"), 20, "the standby leads")
    assert time.monotonic() - died < 5.0
    world.finish()

    assert world.gang() == sorted(world.creations())
    assert 0 == world.status().get("restarts", {}).get("total", 0)


def test_f15_frozen_leader_that_wakes_writes_nothing_and_ends(world):
    """Its own clock says that the lease has run out before anything is sent; it ends within a second, and not well."""
    proxy = world.proxy()
    first = world.behind(proxy)
    world.running_job()
    second_proxy = world.proxy()
    second = world.behind(second_proxy, "operator-b")
    wait_for(second.is_ready, 20, "a standby that is ready")
    os.kill(first.process.pid, signal.SIGSTOP)
    wait_for(lambda: world.leader().startswith("operator-b"), 20, "the standby leads")
    world.end("digits-0-1", 1)
    wait_for(lambda: set(world.gang(attempt=1)) <= set(world.pod_names()), 20, "the second attempt")
    woken = time.monotonic()
    os.kill(first.process.pid, signal.SIGCONT)
    assert 1 == first.process.wait(timeout=10)
    assert time.monotonic() - woken < 1.0
    world.submit("proof", workers=1)
    wait_for(lambda: "proof-0-0" in world.pod_names())
    world.finish(attempt=1)

    assert [] == proxy.writes(since=woken)
    assert 1 == world.status()["restarts"]["counted"]
    assert len(world.creations()) == len(set(world.creations()))


def test_f16_two_controllers_at_once_make_nothing_twice(world):
    """Two leases by mistake, so both lead: names and versions keep the invariants, and somebody notices."""
    first = world.behind(world.proxy())
    second = world.start_operator(
        "operator-b", KUBECONFIG=str(world.proxy().kubeconfig), GANGER_NAMESPACE="default"
    )  # fmt: skip
    wait_for(lambda: all(world.metric(o, "ganger_operator_leader") for o in (first, second) if o.is_ready()), 20)
    wait_for(second.is_ready, 20, "the second one")
    world.running_job()
    world.end("digits-0-1", 1)
    world.finish(attempt=1)

    assert 0 < sum(world.metric(one, "ganger_operator_foreign_status_writes_total") for one in (first, second))
    events = f"/apis/events.k8s.io/v1/namespaces/{world.namespace}/events"
    wait_for(lambda: "DuplicateController" in {one["reason"] for one in world.api.items(events)}, 20, "an event of it")
    assert sorted(world.gang() + world.gang(attempt=1)) == sorted(world.creations())
    assert {"total": 1, "counted": 1} == {key: world.status()["restarts"][key] for key in ("total", "counted")}
