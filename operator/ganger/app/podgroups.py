"""The PodGroups of the cluster, where its API server serves them: by discovery, never by a guess from its version.

Until the cache of them is in, gangs are made without groups, as on a cluster that has none; an operator that may not
read them goes on like that.
"""

import asyncio
import logging
from collections.abc import Sequence

from ganger.api.observed import PodGroup
from ganger.app.caches import OURS
from ganger.kube.cluster import Cluster
from ganger.kube.errors import ApiError
from ganger.kube.resources import POD_GROUPS, Resource
from ganger.runtime.backoff import Backoff
from ganger.runtime.cache import Cache
from ganger.runtime.ports import Metrics
from ganger.runtime.reflector import Reflector, Timing

log = logging.getLogger(__name__)
SYNC_SECONDS = 5.0  # how long a leader waits for the first list: gangs that start before it have no group


class PodGroups:
    """Keeps the cache of PodGroups, in whichever version is served. namespaces: () for all."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache[PodGroup],
        namespaces: Sequence[str],
        metrics: Metrics,
        timing: Timing | None = None,
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._namespaces = tuple(namespaces) or ("",)
        self._metrics = metrics
        self._timing = timing
        self._resource: Resource | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._asked = asyncio.Event()
        self._answered = asyncio.Event()
        self.reflectors: list[Reflector[PodGroup]] = []

    @property
    def version(self) -> str:
        """The version that is served, "" where none is or the cache is not in yet."""
        if self._resource is None or not all(reflector.has_synced for reflector in self.reflectors):
            return ""
        return self._resource.version

    def look(self) -> None:
        """Ask again what is served: the API server was away, or says that the version is gone."""
        self._asked.set()

    async def wait_synced(self) -> None:
        """Return once `version` can be trusted, or after SYNC_SECONDS."""
        try:
            async with asyncio.timeout(SYNC_SECONDS):
                await self._answered.wait()
                for reflector in self.reflectors:
                    await reflector.wait_synced()
        except TimeoutError:
            log.warning("PodGroups cannot be read yet: gangs that start now are not known to the scheduler as gangs")

    async def run(self) -> None:
        """Look, and reflect what is found, until cancelled."""
        backoff = Backoff(base=1.0, cap=30.0)
        try:
            while True:
                self._asked.clear()
                try:
                    found = await self._served()
                except ApiError as error:
                    log.warning("what is served of scheduling.k8s.io is unknown: %s", error)
                    await asyncio.sleep(backoff.next())
                    continue
                backoff.reset()
                if found != self._resource:
                    await self._turn_to(found)
                self._answered.set()
                await self._asked.wait()
        finally:
            await self._stop()

    async def _served(self) -> Resource | None:
        versions = await self._cluster.discover(POD_GROUPS[0].group)
        return next((each for each in POD_GROUPS if each.plural in versions.get(each.version, ())), None)

    async def _turn_to(self, found: Resource | None) -> None:
        await self._stop()
        self._resource = found
        log.info("gangs are known to the scheduler by %s", f"{found.api_version} PodGroups" if found else "nothing")
        if found is None:
            return
        for namespace in self._namespaces:
            reflector = Reflector(
                self._cluster,
                found,
                PodGroup,
                self._cache,
                namespace=namespace,
                label_selector=OURS,
                metrics=self._metrics,
                timing=self._timing,
                unserved=self.look,
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
