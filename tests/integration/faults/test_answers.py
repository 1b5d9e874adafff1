"""Answers that are refusals, late, lost or no answers at all (F8 to F12)."""

import time
from pathlib import Path

import pytest

from apiclient import wait_for
from integration.faults.plan import Plan, Rule, load

pytestmark = pytest.mark.integration
STATUS = "trainingjobs/status"


def test_f8_conflict_on_every_first_write_of_the_status(world):
    """Each refused write is dropped and decided anew from what is true then: the counters are right."""
    conflicts = Rule(fault="status", code=409, verb="patch", resource=STATUS, times=5)
    proxy = world.proxy(conflicts)
    world.behind(proxy)
    world.running_job()
    proxy.add(Rule(fault="status", code=409, verb="patch", resource=STATUS, times=5))
    world.end("digits-0-1", 1)
    world.finish(attempt=1)

    assert 5 == conflicts.fired
    assert {"total": 1, "counted": 1} == {key: world.status()["restarts"][key] for key in ("total", "counted")}
    assert sorted(world.gang() + world.gang(attempt=1)) == sorted(world.creations())


def test_f9_throttled_write_waits_as_long_as_the_server_says_and_the_lease_is_renewed(world):
    throttled = Rule(fault="status", code=429, retry_after=7, verb="create", resource="pods", times=1)
    proxy = world.proxy(throttled)
    operator = world.behind(proxy)
    world.submit()
    wait_for(lambda: throttled.fired)
    refused = next(seen for seen in proxy.seen("create", "pods") if seen.fault)
    leader = world.leader()
    wait_for(lambda: set(world.gang()) <= set(world.pod_names()), 15, "the gang")
    again = [seen for seen in proxy.seen("create", "pods", since=refused.at) if not seen.fault]
    renewals = [seen for seen in proxy.seen("patch", "leases", since=refused.at) if seen.at < again[-1].at]

    assert 7.0 <= again[-1].at - refused.at < 9.0
    assert 3 <= len(renewals)  # every 1.5 s
    assert leader == world.leader()
    assert 1.0 == world.metric(operator, "ganger_operator_leader")


def test_f10_one_call_in_ten_fails(world):
    """All jobs end as without a fault, at no more than three times the calls."""
    calls = {}
    for kind, plan in (("well", Plan()), ("ill", load(Path(__file__).parent / "plans" / "one-in-ten.yaml"))):
        proxy = world.proxy(*plan.rules, seed=plan.seed)
        operator = world.behind(proxy)
        before = len(proxy.requests)
        for n in range(4):
            world.submit(f"{kind}-{n}")
        for n in range(4):
            world.finish(f"{kind}-{n}", timeout=60)
        calls[kind] = len([s for s in proxy.requests[before:] if s.resource != "leases"])
        operator.stop()
    faults = sum(rule.fired for rule in plan.rules)
    print(f"calls: {calls}, faults: {faults}")

    assert faults > 0
    assert calls["ill"] <= 3 * calls["well"]
    assert len(set(world.creations())) == len(world.creations()) == 16


@pytest.mark.parametrize(
    ("verb", "resource"),
    [("create", "pods"), ("patch", STATUS), ("create", "services"), ("create", "persistentvolumeclaims")],
)
def test_f11_write_acked_but_answer_lost(world, verb, resource):
    """The second try meets its own work, and takes it for what it is: nothing is made or counted twice."""
    lost = Rule(fault="answer_lost", verb=verb, resource=resource, times=2)
    proxy = world.proxy(lost)
    world.behind(proxy)
    checkpoint = {"checkpoint": {"everySteps": 10, "volume": {"size": "1Gi"}}} if "claims" in resource else {}
    world.running_job(**checkpoint)
    world.end("digits-0-1", 1)
    world.finish(attempt=1)

    assert lost.fired in (1, 2)  # a job has one Service and one claim
    assert {"total": 1, "counted": 1} == {key: world.status()["restarts"][key] for key in ("total", "counted")}
    assert sorted(world.gang() + world.gang(attempt=1)) == sorted(world.creations())


def test_f12_slow_reads_cost_neither_the_lease_nor_the_other_jobs(world):
    """Every get takes 5 s, and one job's writes as well; another job is not held up by them."""
    proxy = world.proxy(
        Rule(fault="delay", seconds=5.0, verb="get", resource="[!l]*"),
        Rule(fault="delay", seconds=5.0, verb="write", name="slow*"),
        Rule(fault="slow_body", seconds=5.0, verb="list", resource="[!l]*"),
    )
    operator = world.behind(proxy)
    wait_for(operator.is_ready, 30, "the lists are in")
    leader = world.leader()
    world.submit("slow")
    started = time.monotonic()
    world.submit("quick")
    world.finish("quick", timeout=10)
    assert time.monotonic() - started < 5.0
    wait_for(lambda: {"slow-0-0", "slow-0-1"} <= set(world.pod_names()), 60, "the slow one too")

    assert leader == world.leader()
