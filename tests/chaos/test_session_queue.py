"""Whatever write the operator dies at, a queued session runs with quota alone and gives it back after its pod."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator

import pytest

from chaos.client import MERGE
from chaos.operators import Operator
from chaos.plans import MODES, NAMESPACE
from chaos.sim import timeloop
from chaos.sim.server import ApiServer
from chaos.test_sessions import PODS, SESSIONS, Life, run

WORKLOADS = f"/apis/kueue.x-k8s.io/v1beta2/namespaces/{NAMESPACE}/workloads"
TIME = {"lastTransitionTime": "2026-01-01T00:00:00Z", "message": "", "status": "True"}
ADMITTED = [TIME | {"type": type_, "reason": type_} for type_ in ("QuotaReserved", "Admitted")]
ADMISSION = {"clusterQueue": "gpus", "podSetAssignments": [{"name": "session", "flavors": {}}]}
MADE = {"Pod/notes-dev-0": 1, "Pod/notes-dev-1": 1, "Workload/devsession-notes-7f108": 1}
RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


class QueuedLife(Life):
    """From the queue over an eviction and the queue again to a stop; Kueue and the kubelet are this test."""

    def __init__(self, server: ApiServer, operator: Operator, clock: timeloop.TimeClock) -> None:
        super().__init__(server, operator, clock)
        self.wrong: list[str] = []

    def _hear(self, change) -> None:
        super()._hear(change)
        pods = [name for plural, _, name in self.server.objects if plural == "pods"]
        quota = bool(self.workload.get("status", {}).get("admission"))
        if change.plural == "pods" and change.kind == "ADDED" and not quota:
            self.wrong.append(f"{change.obj['metadata']['name']} without quota")
        if (
            change.plural == "workloads"
            and (change.before or {}).get("status", {}).get("admission")
            and not quota
            and pods
        ):
            self.wrong.append(f"quota is given back beside {pods}")

    @property
    def workload(self):
        return next((found for (plural, *_), found in self.server.objects.items() if plural == "workloads"), {})

    def conditions(self):
        return {one["type"]: one for one in self.workload.get("status", {}).get("conditions", [])}

    async def say_of_workload(self, status) -> None:
        name = self.workload["metadata"]["name"]
        await self.client.call("PATCH", f"{WORKLOADS}/{name}/status", {"status": status}, MERGE)

    async def admit(self) -> None:
        await self.until(lambda: self.workload and not self.workload.get("status", {}).get("admission"))
        await self.say_of_workload({"conditions": ADMITTED, "admission": ADMISSION})

    async def start(self, pod) -> None:
        await self.until(lambda: self.get("pods", pod))
        await self.client.call("POST", f"{PODS}/{pod}/binding", {"target": {"name": "node-1"}})
        await self.say(pod, "Running", RUNNING, True)
        await self.phase("Running")

    async def end(self, pod) -> None:
        """The pod was told to stop, and takes its time."""
        await self.until(lambda: "deletionTimestamp" in self.get("pods", pod).get("metadata", {}))
        await asyncio.sleep(2.0)
        await self.client.call("DELETE", f"{PODS}/{pod}", {"gracePeriodSeconds": 0})

    async def live(self) -> None:
        metadata = {"name": "notes", "labels": {"kueue.x-k8s.io/queue-name": "team"}}
        body = {"apiVersion": "ganger.dev/v1alpha1", "kind": "DevSession", "metadata": metadata}
        await self.client.call("POST", SESSIONS, body | {"spec": {"jupyter": False}})
        await self.admit()
        await self.start("notes-dev-0")
        await self.until(lambda: "PodsReady" in self.conditions())
        evicted = TIME | {"type": "Evicted", "reason": "Preempted"}
        await self.say_of_workload({"conditions": [*self.conditions().values(), evicted]})
        await self.end("notes-dev-0")
        await self.admit()
        await self.start("notes-dev-1")
        await self.change({"spec": {"suspend": True}})
        await self.end("notes-dev-1")
        await self.phase("Stopped")
        await self.until(lambda: not self.workload)


def test_a_death_at_any_write_starts_no_pod_without_quota_and_gives_none_back_too_early():
    life, operator = run({}, QueuedLife)
    writes = Counter(str(write).split()[0] for write in operator.log)
    deaths = [{number: mode} for number in range(len(operator.log)) for mode in MODES]

    assert [] == life.wrong, writes
    deaths_met = 0
    for plan in deaths:
        life, died = run(plan, QueuedLife)
        deaths_met += died.gate.crashes
        assert [] == life.wrong, plan
        made = {name: count for name, count in life.made.items() if not name.startswith(("Lease", "DevSession"))}
        assert MADE == made, plan
        assert ("Stopped", 1, {}) == (life.status["phase"], life.status["start"], life.workload), plan
    assert deaths_met >= 20, writes
