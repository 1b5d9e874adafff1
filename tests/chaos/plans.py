"""Crash plans on the server in memory: run a scenario without a fault, then again with a death at each of its writes.

The oracle is the run without a fault: the end state must be the same, but for what differs between two such runs, and
so must be how often each object was made and removed. On top of it the invariants hold at every event.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from chaos.client import SimClient
from chaos.invariants import Checker
from chaos.kubelet import Kubelet
from chaos.operators import Operator
from chaos.scenarios import SCENARIOS, Scenario
from chaos.sim import timeloop
from chaos.sim.cluster import SimCluster
from chaos.sim.collector import Collector
from chaos.sim.server import ApiServer, Change
from chaos.supervisors import Supervisors
from chaos.world import NAME, World
from ganger.kube.gate import Mode

NAMESPACE = "team"
MODES: tuple[Mode, ...] = ("before", "after", "lost")
QUIET_SECONDS = 10.0
STABLE_SECONDS = 60.0
WATCHED = frozenset({"trainingjobs", "pods", "services", "persistentvolumeclaims", "networkpolicies", "podgroups"})


@dataclass(frozen=True)
class Outcome:
    """What a run came to. writes: of the first operator, in order. trouble: breaches of invariants, and the like."""

    state: Mapping[str, Any]
    counts: Counter[str]
    writes: tuple[str, ...]
    trouble: tuple[str, ...]
    events: int
    crashes: int


@dataclass(frozen=True)
class Reference:
    """Two runs without a fault. masked: paths of the end state in which they differ. lossy: beginnings of others."""

    outcome: Outcome
    masked: frozenset[str]
    lossy: tuple[str, ...] = ()

    def differences(self, outcome: Outcome) -> list[str]:
        """In words, how a run with faults ended otherwise than the one without; [] if it did not."""
        found = list(outcome.trouble)
        expected = self.outcome.state
        for path in sorted((expected.keys() | outcome.state.keys()) - self.masked):
            if path.startswith(self.lossy):
                continue
            want, got = expected.get(path, "nothing"), outcome.state.get(path, "nothing")
            if want != got:
                found.append(f"{path}: {got!r} instead of {want!r}")
        for key in sorted(self.outcome.counts.keys() | outcome.counts.keys()):
            want, got = self.outcome.counts[key], outcome.counts[key]
            if want != got:
                found.append(f"{key}: {got} times instead of {want}")
        return found


@cache
def reference(name: str) -> Reference:
    """Run a scenario twice without a fault, at another pace and day the second time. Raises AssertionError."""
    first, second = run(SCENARIOS[name], {}, is_reference=True), run(SCENARIOS[name], {}, seed=1, is_reference=True)
    assert first.trouble == second.trouble == (), f"{name} is broken without a fault: {first.trouble or second.trouble}"
    assert first.counts == second.counts, f"{name} is not the same twice: {first.counts} and {second.counts}"
    paths = first.state.keys() | second.state.keys()
    lossy = tuple(f"TrainingJob/{NAME}: {path}" for path in SCENARIOS[name].lossy)
    masked = frozenset(path for path in paths if first.state.get(path) != second.state.get(path))
    return Reference(first, masked, lossy)


def plans(name: str) -> list[dict[int, Mode]]:
    """Every plan with one fault: each write of the reference, in each mode."""
    return [{n: mode} for n in range(len(reference(name).outcome.writes)) for mode in MODES]


def run(
    scenario: Scenario,
    plan: Mapping[int, Mode],
    *,
    seed: int = 0,
    has_standby: bool = False,
    is_reference: bool = False,
) -> Outcome:
    """Run a scenario under a plan, in no time.

    has_standby: a second operator takes over from the first, which is not started again.
    """
    with _seeded(seed):
        outcome: Outcome = timeloop.run(_run(scenario, plan, seed, has_standby, is_reference))
    return outcome


async def _run(
    scenario: Scenario, plan: Mapping[int, Mode], seed: int, has_standby: bool, is_reference: bool
) -> Outcome:
    clock = timeloop.TimeClock(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=seed, seconds=0.37 * seed))
    server = ApiServer(clock.now, seed=seed, namespaces=(NAMESPACE,))
    if scenario.deadlocked:
        server.objects["nodes", "", scenario.deadlocked] = _deadlocked(scenario.deadlocked)
    world = World(SimClient(server), NAMESPACE, Checker(isolates=scenario.isolates))
    kubelet = Kubelet(world.client, NAMESPACE, scenario.script, pace=1.0 + seed)
    collector = Collector(server)

    def hear(change: Change) -> None:
        if change.plural in WATCHED:
            world.hear(change.kind, change.obj)
        if change.plural == "pods":
            kubelet.hear(change.kind, change.obj)
        collector.hear(change)

    server.on_change.append(hear)
    first = Operator(
        "a",
        NAMESPACE,
        lambda gate: SimCluster(server, gate, seed=seed),
        plan=plan,
        clock=clock,
        restarts=not has_standby,
        isolates=scenario.isolates,
    )
    operators = [first]
    if has_standby:
        second = Operator(
            "b",
            NAMESPACE,
            lambda gate: SimCluster(server, gate, seed=seed + 7),
            plan={},
            clock=clock,
            isolates=scenario.isolates,
        )
        operators.append(second)
    tasks = []
    for operator in operators:
        tasks.append(asyncio.create_task(operator.run()))
        await asyncio.sleep(1.0)  # the first one leads
    user = asyncio.create_task(scenario.user(world))
    if scenario.fails_in_place_after is not None:
        workers = Supervisors(world, operators, fails_after_seconds=scenario.fails_in_place_after)
        reporting = asyncio.create_task(workers.run())
        user.add_done_callback(lambda _: reporting.cancel())
    try:
        await asyncio.wait({user, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        if has_standby and first.is_dead:
            await asyncio.wait({user, tasks[1]}, return_when=asyncio.FIRST_COMPLETED)
        trouble = _trouble(user, tasks) or await _settled(server, operators, is_reference=is_reference)
    finally:
        kubelet.close()
        collector.close()
        for task in (user, *tasks):
            task.cancel()
        await asyncio.wait({user, *tasks})
    return Outcome(
        state=world.state(),
        counts=world.counts,
        writes=tuple(str(write) for write in first.log),
        trouble=(*trouble, *world.checker.found, *world.checker.leftovers()),
        events=world.checker.events,
        crashes=first.gate.crashes,
    )


def _deadlocked(name: str) -> dict[str, Any]:
    """A node as node-problem-detector marks it."""
    conditions = [
        {"type": "KernelDeadlock", "status": "True", "reason": "DockerHung", "message": "task docker:1 blocked"},
        {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"},
    ]
    meta = {"name": name, "uid": f"uid-of-{name}", "resourceVersion": "1"}
    return {"apiVersion": "v1", "kind": "Node", "metadata": meta, "status": {"conditions": conditions}}


def _trouble(user: asyncio.Task[None], tasks: list[asyncio.Task[None]]) -> tuple[str, ...]:
    failed = [f"an operator failed: {task.exception()!r}" for task in tasks if task.done() and task.exception()]
    if not user.done():
        return (*failed, "the user never saw the end")
    return (*failed, f"the user: {user.exception()}") if user.exception() else tuple(failed)


async def _settled(server: ApiServer, operators: list[Operator], *, is_reference: bool) -> tuple[str, ...]:
    """INV-9: soon nothing is written any more, and then nothing for as long as anybody looks."""

    def jobs_writes() -> int:
        return sum(change.plural in WATCHED for change in server.history)

    for _ in range(30):
        before = jobs_writes(), sum(operator.gate.count for operator in operators)
        await asyncio.sleep(QUIET_SECONDS)
        if before == (jobs_writes(), sum(operator.gate.count for operator in operators)):
            break
    else:
        return ("INV-9 the operator never stops writing",)
    if is_reference:
        await asyncio.sleep(STABLE_SECONDS)
        if before != (jobs_writes(), sum(operator.gate.count for operator in operators)):
            return (f"INV-9 {server.history[-1].obj} was written after it was quiet",)
    return ()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Make every generator that is seeded by nothing, of the operator's delays for one, the same in each run."""
    original, count = random.Random, iter(range(1_000_000))

    class Seeded(original):  # type: ignore[valid-type,misc]
        def __init__(self, x: Any = None) -> None:
            super().__init__(f"{seed}/{next(count)}" if x is None else x)

    random.Random = Seeded  # type: ignore[misc]
    try:
        yield
    finally:
        random.Random = original  # type: ignore[misc]
