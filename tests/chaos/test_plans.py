"""Whatever write the operator dies at, the job ends as if it had not: every plan of every scenario, in memory."""

import asyncio
import dataclasses
import logging
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from chaos.campaign import doubles, plan_of, simulate, singles, text_of
from chaos.operators import DeadlyGate
from chaos.plans import plans, reference, run
from chaos.profiled import OLD
from chaos.scenarios import SCENARIOS, Scenario
from chaos.world import PROFILE
from ganger.kube.gate import Crash, Write
from ganger.kube.resources import PODS
from ganger.plan import ending, seen
from ganger.plan.seen import Decision


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)  # thousands of deaths, all of them meant
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_death_at_any_write_changes_nothing(name):
    assert [] == simulate(name, singles([name])).failures


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_standby_takes_over_at_any_write(name):
    faults = [(name, plan) for plan in plans(name) if "before" in plan.values()]

    assert [] == simulate(name, faults, has_standby=True).failures


def test_a_death_in_the_recovery_from_a_death_changes_nothing():
    campaign = simulate("two faults", doubles(SCENARIOS, 100))

    assert [] == campaign.failures
    assert 100 == campaign.plans


def test_the_plans_with_one_fault_are_at_least_900():
    assert 900 <= sum(len(plans(name)) for name in SCENARIOS)


def test_a_run_is_the_same_each_time():
    assert run(SCENARIOS["exhausted-restarts"], {7: "lost"}) == run(SCENARIOS["exhausted-restarts"], {7: "lost"})


def test_a_profile_costs_no_write():
    """Its values travel in the status that is written anyway; profiles are watched, never read."""

    async def plain(world):
        await world.submit(workers=4)
        await world.until(lambda: world.is_running(workers=4))

    async def profiled(world):
        await world.make_profile(**OLD)
        await world.submit(workers=4, profile=PROFILE)
        await world.until(lambda: world.is_running(workers=4))

    runs = [run(Scenario(user.__name__, user, SCENARIOS["gang-of-four"].script), {}) for user in (plain, profiled)]

    assert [(), ()] == [one.trouble for one in runs]
    assert sorted(runs[0].writes) == sorted(runs[1].writes)  # Service and status come in either order


def test_isolation_costs_one_write_and_it_comes_before_the_pods():
    scenario = SCENARIOS["gang-of-four"]
    plain, isolated = (run(dataclasses.replace(scenario, isolates=isolates), {}) for isolates in (False, True))
    more = [write for write in isolated.writes if "networkpolicies" in write]

    assert ((), ()) == (plain.trouble, isolated.trouble)
    assert 1 == len(more)
    assert sorted(plain.writes) == sorted(write for write in isolated.writes if write not in more)


def test_a_plan_is_read_as_it_is_written():
    plan = {3: "before", 9: "lost"}

    assert plan == plan_of(text_of(plan))
    assert "3:before,9:lost" == text_of(plan)


async def test_an_operator_that_is_stopped_in_its_last_write_is_dead():
    """As by the loss of its lease on a slow machine: else the plan would have killed nobody."""
    gate, died = DeadlyGate({1: "after"}, []), []
    gate.die = lambda: died.append(True)
    writes = [Write(verb="create", resource=PODS, namespace="team", name=f"digits-0-{n}") for n in range(3)]
    calls = [asyncio.create_task(gate.call(write, asyncio.Event().wait)) for write in writes]
    await asyncio.sleep(0)

    for call in calls:
        call.cancel()
    await asyncio.wait(calls)

    assert [True, False, True] == [call.cancelled() for call in calls]
    assert isinstance(calls[1].exception(), Crash)
    assert (1, [True]) == (gate.crashes, died)


# --- the harness is seen to find what is wrong ---
@pytest.fixture
def mutant(monkeypatch):
    """Puts a fault into the operator; what was learnt of the good one is forgotten before and after."""
    reference.cache_clear()
    yield monkeypatch.setattr
    reference.cache_clear()


def test_an_operator_that_cleans_up_only_once_is_found(mutant):
    """It removes the pods together with the end of the job, never afterwards: a death between the two leaks them."""
    honest = ending.fail

    def once(job, members, *others):
        return replace(honest(job, members, *others), deletions=seen.deletions_of(members.all, 5))

    mutant(ending, "fail", once)
    mutant(ending, "clean_up", lambda *_: Decision())
    campaign = simulate("once", singles(["deadline"]))

    assert 0 < len(campaign.failures) < campaign.plans
    assert "INV-5 pod digits-0-0 outlives its job" in campaign.failures[0]
