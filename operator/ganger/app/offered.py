"""A kind that not every cluster serves: looked for by discovery, and reflected while it is there.

What is served is asked again whenever the API server was away or says that the kind is gone, so that a definition or a
version that comes later, or goes, needs no restart of the operator.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from ganger.kube.cluster import Cluster
from ganger.kube.errors import ApiError
from ganger.kube.resources import Resource
from ganger.runtime.backoff import Backoff
from ganger.runtime.cache import Cache
from ganger.runtime.ports import KubernetesObject, Metrics
from ganger.runtime.reflector import Reflector, Timing

log = logging.getLogger(__name__)
T = TypeVar("T", bound=KubernetesObject)


class Offered(Generic[T]):
    """Keeps the cache of a kind, in the first of its versions that is served; empty while none is.

    versions: the best first. namespaces: () for all. look_seconds: how often a kind that is not served is looked for;
    None: only when asked to.
    """

    def __init__(
        self,
        cluster: Cluster,
        versions: Sequence[Resource],
        kind: type[T],
        cache: Cache[T],
        namespaces: Sequence[str],
        metrics: Metrics,
        timing: Timing | None = None,
        *,
        label_selector: str = "",
        look_seconds: float | None = None,
    ) -> None:
        self.served: Resource | None = None
        self.reflectors: list[Reflector[T]] = []
        self._cluster = cluster
        self._versions = tuple(versions)
        self._namespaces = tuple(namespaces) or ("",)
        self._look_seconds = look_seconds
        self._cache = cache
        self._how: dict[str, Any] = {"label_selector": label_selector, "metrics": metrics, "timing": timing}
        self._kind = kind
        self._tasks: list[asyncio.Task[None]] = []
        self._asked = asyncio.Event()
        self._answered = asyncio.Event()

    def look(self) -> None:
        """Ask again what is served: the API server was away, or says that the kind is gone."""
        self._asked.set()

    def relist(self, namespace: str) -> None:
        """List the objects of a namespace anew."""
        for reflector in self.reflectors:
            if reflector.namespace in ("", namespace):
                reflector.relist()

    async def wait_synced(self) -> None:
        """Return once it is known what is served, and the cache has it."""
        await self._answered.wait()
        for reflector in self.reflectors:
            await reflector.wait_synced()

    async def run(self) -> None:
        """Look, and reflect what is found, until cancelled."""
        backoff = Backoff(base=1.0, cap=30.0)
        try:
            while True:
                self._asked.clear()
                try:
                    found = await self._look()
                except ApiError as error:
                    log.warning("whether %s are served is unknown: %s", self._name, error)
                    await asyncio.sleep(backoff.next())
                    continue
                backoff.reset()
                if found != self.served or not self._answered.is_set():
                    await self._turn_to(found)
                self._answered.set()
                try:
                    async with asyncio.timeout(self._look_seconds if found is None else None):
                        await self._asked.wait()
                except TimeoutError:
                    pass
        finally:
            await self._stop()

    @property
    def _name(self) -> str:
        return f"{self._versions[0].plural}.{self._versions[0].group}"

    async def _look(self) -> Resource | None:
        served = await self._cluster.discover(self._versions[0].group)
        return next((each for each in self._versions if each.plural in served.get(each.version, ())), None)

    async def _turn_to(self, found: Resource | None) -> None:
        await self._stop()
        self.served = found
        log.info("%s are %s", self._name, f"served as {found.version}" if found is not None else "not served")
        if found is None:
            return
        for namespace in self._namespaces:
            reflector = Reflector(
                self._cluster, found, self._kind, self._cache, namespace=namespace, unserved=self.look, **self._how
            )
            self.reflectors.append(reflector)
            self._tasks.append(asyncio.create_task(reflector.run()))

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
            for namespace in self._namespaces:  # a new epoch: nothing that was written is waited for any more
                self._cache.replace((), scope=namespace, version=0)
        self._tasks, self.reflectors = [], []
