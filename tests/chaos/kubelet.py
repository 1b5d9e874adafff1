"""A scheduler and a kubelet that obey a script: what each pod of a scenario does, and how it ends.

They behave towards the API server as the real ones do: bind, report Running, report the end, and remove a pod that was
deleted only after its container has stopped. A node that is lost says nothing any more.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chaos.client import MERGE, Client, StatusError

Object = dict[str, Any]
TIME = "2026-01-01T00:00:00Z"


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What becomes of one pod.

    is_placed: whether a node takes it. runs_seconds: until it ends by itself, None for never. exit_code, message: how.
    disrupted: reason of the DisruptionTarget that ends it instead. lost: then its node is silent as well, so that only
    the pod garbage collector removes it, after GC_SECONDS, or nobody ever if it is not is_collected.
    """

    is_placed: bool = True
    runs_seconds: float | None = None
    exit_code: int = 0
    message: str = ""
    disrupted: str = ""
    lost: bool = False
    is_collected: bool = True


GC_SECONDS = 20.0
Script = Callable[[str, int], Fate]  # name of a pod, how many of that name were before


class Kubelet:
    """Lives the pods of one namespace. pace: factor on every while; 1.0 as a brisk node.

    now: the time of a disruption. The real disruption controller takes one back that is older than two minutes.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        script: Script,
        *,
        pace: float = 1.0,
        now: Callable[[], str] = lambda: TIME,
    ) -> None:
        self._client = client
        self._pods = f"/api/v1/namespaces/{namespace}/pods"
        self._script = script
        self._pace = pace
        self._now = now
        self._made: Counter[str] = Counter()
        self._fates: dict[str, Fate] = {}
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, asyncio.Task[None]] = {}

    def hear(self, kind: str, pod: Object) -> None:
        """Take a watch event of a pod."""
        meta = pod["metadata"]
        uid, name = meta["uid"], meta["name"]
        if kind == "DELETED":
            self._stop(uid)
            return
        if uid not in self._fates:
            self._fates[uid] = self._script(name, self._made[name])
            self._made[name] += 1
            self._lives[uid] = asyncio.create_task(self._live(name, uid, self._fates[uid]))
        if "deletionTimestamp" in meta and uid not in self._ends and not self._fates[uid].lost:
            self._lives[uid].cancel()
            was_running = pod.get("status", {}).get("phase") == "Running"
            self._ends[uid] = asyncio.create_task(self._end(name, uid, was_running=was_running))

    def _stop(self, uid: str) -> None:
        for tasks in (self._lives, self._ends):
            task = tasks.pop(uid, None)
            if task is not None:
                task.cancel()

    def close(self) -> None:
        """Stop all."""
        for task in (*self._lives.values(), *self._ends.values()):
            task.cancel()

    async def _live(self, name: str, uid: str, fate: Fate) -> None:
        if not fate.is_placed:
            return
        await asyncio.sleep(0.05 * self._pace)
        node = {"apiVersion": "v1", "kind": "Node", "name": f"node-{name[-1]}"}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name, "uid": uid}, "target": node}
        if not await self._try("POST", f"{self._pods}/{name}/binding", binding):
            return
        await asyncio.sleep(0.1 * self._pace)
        address = f"10.0.0.{1 + int(name[-1])}" if name[-1].isdigit() else "10.0.0.9"
        running = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}
        await self._say(name, uid, running | _container({"running": {"startedAt": TIME}}))
        if fate.runs_seconds is None:
            return
        await asyncio.sleep(fate.runs_seconds)
        if fate.disrupted:
            await self._disrupt(name, uid, fate)
        else:
            await self._ended(name, uid, fate.exit_code, fate.message)

    async def _disrupt(self, name: str, uid: str, fate: Fate) -> None:
        target = {"type": "DisruptionTarget", "status": "True", "reason": fate.disrupted}
        await self._say(name, uid, {"conditions": [target | {"lastTransitionTime": self._now()}]})
        await self._try("DELETE", f"{self._pods}/{name}", {"preconditions": {"uid": uid}})
        if fate.lost and fate.is_collected:
            await asyncio.sleep(GC_SECONDS)
            await self._say(name, uid, {"phase": "Failed"})
            await self._remove(name, uid)

    async def _end(self, name: str, uid: str, *, was_running: bool) -> None:
        await asyncio.sleep(0.2 * self._pace)
        if was_running:
            await self._ended(name, uid, 143, "")
        await self._remove(name, uid)

    async def _ended(self, name: str, uid: str, code: int, message: str) -> None:
        end = {"exitCode": code, "reason": "Error" if code else "Completed", "message": message, "finishedAt": TIME}
        phase = "Failed" if code else "Succeeded"
        await self._say(name, uid, {"phase": phase} | _container({"terminated": end}))

    async def _say(self, name: str, uid: str, status: Object) -> None:
        # With the UID: the name may belong to a later pod by now, of which this kubelet knows nothing.
        body = {"metadata": {"uid": uid}, "status": status}
        await self._try("PATCH", f"{self._pods}/{name}/status", body, MERGE)

    async def _remove(self, name: str, uid: str) -> None:
        await self._try("DELETE", f"{self._pods}/{name}", {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}})

    async def _try(self, method: str, path: str, body: Object, content_type: str = "application/json") -> bool:
        try:
            await self._client.call(method, path, body, content_type)
        except StatusError as error:
            if error.code not in (404, 409):  # gone, or another pod's name by now
                raise
            return False
        return True


def _container(state: Object) -> Object:
    one = {"name": "trainer", "state": state, "image": "x", "imageID": "", "restartCount": 0}
    return {"containerStatuses": [one | {"ready": "running" in state}]}
