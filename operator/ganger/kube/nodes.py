"""The health of single nodes, read when it is asked for and never watched: a cluster may have 65,000 of them."""

import asyncio
import logging
from collections.abc import Callable

import msgspec

from ganger.api.observed import Node
from ganger.kube.cluster import Cluster
from ganger.kube.errors import ApiError, Forbidden, NotFound
from ganger.kube.resources import NODES

log = logging.getLogger(__name__)
SHARED_SECONDS = 30.0  # guessed: kubelets and node problem detectors take longer than that to say something new
FORBIDDEN_SECONDS = 3600.0  # rights change rarely, and a refusal costs a request and a line of the audit log
READS_MAX = 4  # at once: when a rack fails, the writes that replace its gangs share the connections
_decoder = msgspec.json.Decoder(Node)


class NodeReader:
    """Reads a node once for all who ask within SHARED_SECONDS. monotonic: seconds that never step."""

    def __init__(self, cluster: Cluster, monotonic: Callable[[], float]) -> None:
        self._cluster = cluster
        self._monotonic = monotonic
        self._reads: dict[str, tuple[float, asyncio.Task[Node | None]]] = {}
        self._slots = asyncio.Semaphore(READS_MAX)
        self._forbidden_until = 0.0

    async def read(self, name: str) -> Node | None:
        """Return the node, None where it is gone, may not be read or did not answer. Never raises ApiError."""
        now = self._monotonic()
        for old in [node for node, (since, _) in self._reads.items() if now - since >= SHARED_SECONDS]:
            del self._reads[old]
        if name not in self._reads:
            self._reads[name] = (now, asyncio.create_task(self._read(name), name=f"node {name}"))
        return await asyncio.shield(self._reads[name][1])

    def close(self) -> None:
        """End what is under way, and forget what was read."""
        for _, task in self._reads.values():
            task.cancel()
        self._reads.clear()

    async def _read(self, name: str) -> Node | None:
        async with self._slots:
            if self._monotonic() < self._forbidden_until:
                return None
            try:
                return _decoder.decode(await self._cluster.get(NODES, None, name))
            except NotFound:
                return None
            except Forbidden:
                self._forbidden_until = self._monotonic() + FORBIDDEN_SECONDS
                log.info("nodes may not be read: their conditions are not asked for, for an hour")
            except (ApiError, msgspec.DecodeError) as error:
                log.info("node %s could not be read: %s", name, error)
        return None
