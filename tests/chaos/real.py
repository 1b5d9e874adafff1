"""Crash plans on a real API server: the same lives of a job, in real time and with the real garbage collector.

The operator lives in this process and dies as on the server in memory, or is a process of its own that is killed.
"""

import asyncio
import json
import os
import re
import secrets
import ssl
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp

from chaos.campaign import Campaign, Plan, text_of
from chaos.client import Object, StatusError, decoded
from chaos.invariants import Checker, Event, in_order
from chaos.kubelet import Kubelet
from chaos.operators import Operator
from chaos.plans import MODES, Outcome, Reference
from chaos.scenarios import SCENARIOS
from chaos.world import JOBS, NAME, World
from ganger.kube.access import Access, Token
from ganger.kube.errors import Unreachable
from ganger.kube.http import HttpCluster
from ports import free_port

ROOT = Path(__file__).parents[2]
QUIET_SECONDS = 8.0  # several renewals of the lease
SIDE_BY_SIDE = 12
# Lives that are short enough in real time; an operator is away for some 5 s, so the pods keep their whole while.
NAMES = (
    "one-worker",
    "gang-of-four",
    "success",
    "counted-failure",
    "ignored-failure",
    "exhausted-restarts",
    "suspend-resume",
    "spec-edit",
    "elastic-4-2-4",
    "delete-while-starting",
    "deadline",
    "time-to-live",
    "user-error",
    "lost-node",
    "eviction",
    "recreated",
)
WATCHED = tuple(f"/api/v1/namespaces/{{}}/{plural}" for plural in ("pods", "services", "persistentvolumeclaims"))
LEASE = "/apis/coordination.k8s.io/v1/namespaces/{}/leases/ganger-operator"
# Never equal; and what the real scheduler says of pods that the scripted one has not bound yet.
_UNLIKE = re.compile(r"(time|timestamp|uid|resourceversion)\.$|conditions\.PodScheduled\.", re.IGNORECASE)
# Written only of a gang that takes longer to come up than a status waits for company, which is a matter of the machine:
# compared where both runs have it.
_OF_SLOW_STARTS = f"TrainingJob/{NAME}: status.conditions.Reconciling."
LEASE = "/apis/coordination.k8s.io/v1/namespaces/{}/leases/ganger-operator"


class _Bearer(Token):
    def __init__(self, text: str) -> None:
        self._text = text

    async def header(self) -> str:
        return f"Bearer {self._text}"

    def reject(self) -> None:
        raise AssertionError("the API server refuses the token of the tests")


@dataclass(frozen=True)
class Plane:
    """A way to the API server, for all that is not the operator and for the operator."""

    url: str
    ca: str
    token: str
    kubeconfig: str

    @property
    def access(self) -> Access:
        """The operator's way."""
        return Access(url=self.url, token=_Bearer(self.token), tls=ssl.create_default_context(cafile=self.ca))


class CutCluster(HttpCluster):
    """A client that can die: nothing is sent any more from that moment on."""

    _dead = False

    def cut(self) -> None:
        """Die."""
        self._dead = True

    async def _call(self, *args: Any, **options: Any) -> bytes:
        if self._dead:
            raise Unreachable("this process is dead")
        return await super()._call(*args, **options)


class RealClient:
    """The user's, the scheduler's and the kubelet's way."""

    def __init__(self, plane: Plane, session: aiohttp.ClientSession) -> None:
        self._plane = plane
        self._session = session

    async def call(self, method: str, path: str, body: Object | None = None, content_type: str = "") -> Object:
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": content_type or "application/json"}
        async with self._session.request(method, self._plane.url + path, data=data, headers=headers) as answer:
            return decoded(answer.status, await answer.read())

    async def events(self, path: str, version: str) -> Any:
        """Yield the events of a watch."""
        query = f"?watch=1&resourceVersion={version}&timeoutSeconds=900"
        async with self._session.get(self._plane.url + path + query) as answer:
            buffered = b""
            async for chunk in answer.content.iter_any():
                *lines, buffered = (buffered + chunk).split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    yield event["type"], event["object"]


@dataclass
class _Later(Checker):
    """Keeps the events until the end: those of several watches come in no order."""

    kept: list[Event] = field(default_factory=list)

    def see(self, kind: str, obj: Object) -> None:
        self.kept.append((kind, obj))


class Killed:
    """An operator in a process of its own: killed by its plan once, then started again without one."""

    def __init__(self, plane: Plane, namespace: str, plan: Plan) -> None:
        self.kills = 0
        self._plan = plan
        self._env = os.environ | {
            "KUBECONFIG": plane.kubeconfig,
            "GANGER_NAMESPACE": namespace,
            "GANGER_WATCH_NAMESPACES": namespace,
            "GANGER_POD": "victim",
            "GANGER_READ_NODES": "false",
            "GANGER_LOG_LEVEL": "ERROR",
            "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'tests'}",
        }

    async def run(self) -> None:
        """Live, die, and live again, until cancelled."""
        plan = text_of(self._plan)
        while True:
            env = self._env | {"GANGER_CHAOS_PLAN": plan, "GANGER_HTTP_PORT": str(free_port())}
            silent = asyncio.subprocess.DEVNULL
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "chaos.victim", env=env, stdout=silent, stderr=silent
            )
            try:
                code = await process.wait()
            finally:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
            assert -9 == code, f"the victim ended with {code}, not by SIGKILL"
            self.kills += 1
            plan = ""


async def run(plane: Plane, name: str, plan: Plan, *, is_process: bool = False) -> Outcome:
    """Run a scenario under a plan in a namespace of its own."""
    async with _session(plane) as session:
        client = RealClient(plane, session)
        namespace = f"chaos-{secrets.token_hex(4)}"
        await client.call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        await _there(client, f"/api/v1/namespaces/{namespace}/serviceaccounts/default")
        kept = _Later()
        world = World(client, namespace, checker=kept)
        kubelet = Kubelet(client, namespace, SCENARIOS[name].script, now=_now)
        operator: Operator | Killed
        if is_process:
            operator = Killed(plane, namespace, plan)
        else:
            access = plane.access
            connect = lambda gate: CutCluster(access, gate=gate)  # noqa: E731
            operator = Operator("a", namespace, connect, plan=plan, reads_nodes=False)
        paths = [path.format(namespace) for path in (JOBS, *WATCHED)]
        # From before the user's first request on, or what he makes would be there already.
        versions = [(await client.call("GET", path))["metadata"]["resourceVersion"] for path in paths]
        watches = zip(paths, versions, strict=True)
        tasks = [asyncio.create_task(_follow(client, path, version, world, kubelet)) for path, version in watches]
        tasks.append(asyncio.create_task(operator.run()))
        user = asyncio.create_task(SCENARIOS[name].user(world))
        try:
            await asyncio.wait({user, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            trouble = [f"{task.exception()!r}" for task in (user, *tasks) if task.done() and task.exception()]
            if user.done():
                await _quiet(kept, client, namespace)
            else:
                trouble.append(f"the user never saw the end: {world.status}")
        finally:
            kubelet.close()
            for task in (user, *tasks):
                task.cancel()
            await asyncio.wait({user, *tasks})
        # The namespace alone would keep its jobs where no namespace controller runs.
        await client.call("DELETE", JOBS.format(namespace))
        await client.call("DELETE", f"/api/v1/namespaces/{namespace}")
    checker = Checker()
    for event in in_order(kept.kept):
        checker.see(*event)
    state = {path: value for path, value in world.state().items() if not _UNLIKE.search(path)}
    return Outcome(
        state=state,
        counts=world.counts,
        writes=tuple(str(write) for write in operator.log) if isinstance(operator, Operator) else (),
        trouble=(*trouble, *checker.found, *checker.leftovers()),
        events=checker.events,
        crashes=operator.kills if isinstance(operator, Killed) else operator.gate.crashes,
    )


async def make_nodes(plane: Plane) -> None:
    """Make the nodes that the scripted scheduler binds to: pods of nodes that do not exist are collected."""
    async with _session(plane) as session:
        for number in range(10):
            with suppress(StatusError):  # there from an earlier test
                await RealClient(plane, session).call("POST", "/api/v1/nodes", {"metadata": {"name": f"node-{number}"}})


async def references(plane: Plane, names: Iterable[str]) -> dict[str, Reference]:
    """Run each scenario twice without a fault. Raises AssertionError where that does not go well."""
    names = tuple(names)
    await make_nodes(plane)
    outcomes = await _side_by_side(*(run(plane, name, {}) for name in names for _ in range(2)))
    found = {}
    for name, first, second in zip(names, outcomes[::2], outcomes[1::2], strict=True):
        assert first.trouble == second.trouble == (), f"{name}: {first.trouble or second.trouble}"
        assert first.counts == second.counts, f"{name}: {first.counts} and {second.counts}"
        paths = first.state.keys() | second.state.keys()
        masked = frozenset(path for path in paths if first.state.get(path) != second.state.get(path))
        lossy = tuple(f"TrainingJob/{NAME}: {path}" for path in SCENARIOS[name].lossy)
        found[name] = Reference(first, masked, lossy)
    return found


def faults(expected: Mapping[str, Reference], *, deadly: bool = False) -> list[tuple[str, Plan]]:
    """Every plan with one fault; deadly: only those that kill."""
    modes = [mode for mode in MODES if not deadly or mode != "lost"]
    return [
        (name, {number: mode})
        for name, one in expected.items()
        for number in range(len(one.outcome.writes))
        for mode in modes
    ]


async def campaign(
    title: str,
    plane: Plane,
    expected: Mapping[str, Reference],
    plans: Iterable[tuple[str, Plan]],
    *,
    is_process: bool = False,
) -> Campaign:
    """Run plans, several side by side."""
    plans = list(plans)
    outcomes = await _side_by_side(*(run(plane, name, plan, is_process=is_process) for name, plan in plans))
    result = Campaign(title)
    for (name, plan), outcome in zip(plans, outcomes, strict=True):
        reference = expected[name]
        in_one = reference.outcome.state.keys() ^ outcome.state.keys()
        slow = {path for path in in_one if path.startswith(_OF_SLOW_STARTS)}
        differences = replace(reference, masked=reference.masked | slow).differences(outcome)
        if "lost" not in plan.values() and not outcome.crashes:
            differences.append("the plan killed nobody")
        writes = len(expected[name].outcome.writes)
        result.take(name, writes, text_of(plan), differences, crashes=outcome.crashes, events=outcome.events)
    return result


async def _side_by_side(*runs: Any) -> list[Outcome]:
    seats = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(coroutine: Any) -> Outcome:
        async with seats:
            outcome: Outcome = await coroutine
            return outcome

    return list(await asyncio.gather(*(one(coroutine) for coroutine in runs)))


async def _follow(client: RealClient, path: str, version: str, world: World, kubelet: Kubelet) -> None:
    async for kind, obj in client.events(path, version):
        world.hear(kind, obj)
        if obj["kind"] == "Pod":
            kubelet.hear(kind, obj)


async def _quiet(kept: _Later, client: RealClient, namespace: str) -> None:
    """Wait until nothing happens any more although an operator leads: after a death the next may take its time.

    A job that never comes to rest is ended by the test's own time-out.
    """
    while True:
        before, leader = len(kept.kept), await _lease(client, namespace)
        await asyncio.sleep(QUIET_SECONDS)
        still = await _lease(client, namespace)
        is_led = leader[0] == still[0] != "" and leader[1] != still[1]
        if is_led and before == len(kept.kept):
            return


async def _lease(client: RealClient, namespace: str) -> tuple[str, str]:
    """Who leads, and when he last said so."""
    spec = (await client.call("GET", LEASE.format(namespace)))["spec"]
    return spec.get("holderIdentity") or "", spec.get("renewTime") or ""


async def _there(client: RealClient, path: str) -> None:
    while True:
        try:
            await client.call("GET", path)
        except StatusError:
            await asyncio.sleep(0.05)
        else:
            return


def _session(plane: Plane) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=0, ssl=ssl.create_default_context(cafile=plane.ca))
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    headers = {"Authorization": f"Bearer {plane.token}"}
    return aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
