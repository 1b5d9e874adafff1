"""Whatever write the operator dies at, a session has one pod for each start and one Secret, and ends as it should."""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from chaos.client import MERGE, SimClient
from chaos.operators import Operator
from chaos.plans import MODES, NAMESPACE, _seeded
from chaos.sim import timeloop
from chaos.sim.cluster import SimCluster
from chaos.sim.collector import Collector
from chaos.sim.server import ApiServer
from ganger.plan.sessionactivity import SessionReport
from sessions import KEY

SESSIONS = f"/apis/ganger.dev/v1alpha1/namespaces/{NAMESPACE}/devsessions"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
IDLE = {"outcome": "Ended", "reason": "Idle", "message": "idle", "lastActivityTime": "2026-01-01T00:00:00Z"}
MADE = {"Pod/notes-dev-0": 1, "Pod/notes-dev-1": 1, "Secret/notes-dev": 1, "PersistentVolumeClaim/notes-workspace": 1}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


class Life:
    """From the manifest over a pause, a cull and a start to a stop; its kubelet obeys."""

    def __init__(self, server: ApiServer, operator: Operator, clock: timeloop.TimeClock) -> None:
        self.server, self.client, self.operator, self.clock = server, SimClient(server), operator, clock
        self.made: Counter[str] = Counter()
        server.on_change.append(self._hear)

    def _hear(self, change) -> None:
        if change.kind == "ADDED" and change.obj["kind"] != "Event":
            self.made[f"{change.obj['kind']}/{change.obj['metadata']['name']}"] += 1

    def get(self, plural, name):
        return self.server.objects.get((plural, NAMESPACE, name)) or {}

    @property
    def status(self):
        return self.get("devsessions", "notes").get("status", {})

    async def until(self, what) -> None:
        async with asyncio.timeout(300):
            while not what():  # noqa: ASYNC110 - what is awaited is in many places
                await asyncio.sleep(0.05)

    async def phase(self, phase) -> None:
        await self.until(lambda: self.status.get("phase") == phase)

    async def change(self, body) -> None:
        await self.client.call("PATCH", f"{SESSIONS}/notes", body, MERGE)

    async def say(self, pod, phase, state, ready) -> None:
        await self.until(lambda: self.get("pods", pod))
        container = {"name": "session", "image": "x", "state": state}
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        status = {"phase": phase, "containerStatuses": [container], "conditions": conditions}
        await self.client.call("PATCH", f"{PODS}/{pod}/status", {"status": status}, MERGE)

    async def tell(self, last: datetime, *, idle: bool) -> None:
        """Report as the supervisor does, again and again, until the status says whether it is idle."""
        report = SessionReport(last_activity_time=last, idle_seconds=60)
        uid = self.get("pods", "notes-dev-0")["metadata"]["uid"]

        def is_told() -> bool:
            self.operator.process.channel.sessions.hear((NAMESPACE, "notes"), uid, report)
            return "lastActivityTime" in self.status and ("cullTime" in self.status) is idle

        await self.until(is_told)

    async def live(self) -> None:
        body = {"apiVersion": "ganger.dev/v1alpha1", "kind": "DevSession", "metadata": {"name": "notes"}}
        spec = {"storage": {"size": "1Gi"}, "ssh": {"authorizedKeys": [KEY]}}
        await self.client.call("POST", SESSIONS, body | {"spec": spec})
        running = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
        await self.say("notes-dev-0", "Running", running, True)
        await self.phase("Running")
        await self.change({"spec": {"ssh": {"authorizedKeys": [f"{KEY}-2"]}}})
        annotation = "ganger.dev/authorized-keys"
        await self.until(lambda: f"{KEY}-2\n" == self.get("pods", "notes-dev-0")["metadata"]["annotations"][annotation])
        began = self.clock.now()
        await self.tell(began, idle=False)
        await asyncio.sleep(30.0)
        await self.tell(began, idle=True)
        await self.tell(self.clock.now(), idle=False)
        times = {"startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T01:00:00Z"}
        ended = {"terminated": {"exitCode": 0, "message": json.dumps(IDLE)} | times}
        await self.say("notes-dev-0", "Succeeded", ended, False)
        await self.phase("Culled")
        await self.change({"metadata": {"annotations": {"ganger.dev/start-requested-at": "2030-01-01T00:00:00Z"}}})
        await self.say("notes-dev-1", "Running", running, True)
        await self.phase("Running")
        await self.change({"spec": {"suspend": True}})
        await self.phase("Stopped")
        await self.until(lambda: not self.get("pods", "notes-dev-0") and not self.get("pods", "notes-dev-1"))


def run(plan, kind=Life):
    """Live a life of that kind under a plan of deaths; the life and the operator."""

    async def body():
        clock = timeloop.TimeClock(datetime(2026, 1, 1, tzinfo=UTC))
        server = ApiServer(clock.now, seed=0, namespaces=(NAMESPACE,))
        collector = Collector(server)
        server.on_change.append(collector.hear)
        operator = Operator("a", NAMESPACE, lambda gate: SimCluster(server, gate, seed=0), plan=plan, clock=clock)
        life = kind(server, operator, clock)
        task = asyncio.create_task(operator.run())
        try:
            await life.live()
            await asyncio.sleep(30.0)
        finally:
            collector.close()
            task.cancel()
            await asyncio.wait({task})
        return life, operator

    with _seeded(0):
        return timeloop.run(body())


def test_a_death_at_any_write_makes_no_second_pod_and_no_second_secret():
    _, operator = run({})
    writes = [str(write) for write in operator.log]
    deaths = [{number: mode} for number in range(len(writes)) for mode in MODES]

    deaths_met = 0  # where two writes become one, the last one of the reference does not come
    for plan in deaths:
        life, died = run(plan)
        deaths_met += died.gate.crashes
        assert MADE == {name: life.made[name] for name in life.made if not name.startswith(("Lease", "DevSession"))}
        assert ("Stopped", 1) == (life.status["phase"], life.status["start"]), (plan, life.status)
    assert deaths_met >= 20, writes
