"""The garbage collector: what belonged to an owner that is gone is deleted a moment later."""

import asyncio
from typing import Any

from chaos.sim.server import ApiServer, Change

DELAY_SECONDS = 0.05


class Collector:
    """Follows the history of a server."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._gone: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def hear(self, change: Change) -> None:
        """Take one change."""
        meta = change.obj["metadata"]
        if change.kind == "DELETED":
            self._gone.add(meta["uid"])
            for key, obj in self._server.objects.items():
                if meta["uid"] in _owners(obj):
                    self._later(key, obj["metadata"]["uid"])
        elif change.kind == "ADDED" and _owners(change.obj) and _owners(change.obj) <= self._gone:
            self._later((change.plural, meta["namespace"], meta["name"]), meta["uid"])

    def close(self) -> None:
        """Stop."""
        for task in self._tasks:
            task.cancel()

    def _later(self, key: tuple[str, str, str], uid: str) -> None:
        task = asyncio.create_task(self._collect(key, uid))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _collect(self, key: tuple[str, str, str], uid: str) -> None:
        await asyncio.sleep(DELAY_SECONDS)
        obj: Any = self._server.objects.get(key)
        if obj is not None and obj["metadata"]["uid"] == uid:
            self._server.delete(key, {"preconditions": {"uid": uid}})


def _owners(obj: dict[str, Any]) -> set[str]:
    return {owner["uid"] for owner in obj["metadata"].get("ownerReferences", [])}
