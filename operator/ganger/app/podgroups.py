"""The PodGroups of the cluster, where its API server serves them: by discovery, never by a guess from its version.

Until the cache of them is in, gangs are made without groups, as on a cluster that has none; an operator that may not
read them goes on like that.
"""

import asyncio
import logging
from collections.abc import Sequence

from ganger.api.observed import PodGroup
from ganger.app.caches import OURS
from ganger.app.offered import Offered
from ganger.kube.cluster import Cluster
from ganger.kube.resources import POD_GROUPS
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
        self._offered = Offered(cluster, POD_GROUPS, PodGroup, cache, namespaces, metrics, timing, label_selector=OURS)
        self.run = self._offered.run
        self.look = self._offered.look

    @property
    def reflectors(self) -> list[Reflector[PodGroup]]:
        """Those that keep the cache."""
        return self._offered.reflectors

    @property
    def version(self) -> str:
        """The version that is served, "" where none is or the cache is not in yet."""
        served = self._offered.served
        if served is None or not all(reflector.has_synced for reflector in self.reflectors):
            return ""
        return served.version

    async def wait_synced(self) -> None:
        """Return once `version` can be trusted, or after SYNC_SECONDS."""
        try:
            async with asyncio.timeout(SYNC_SECONDS):
                await self._offered.wait_synced()
        except TimeoutError:
            log.warning("PodGroups cannot be read yet: gangs that start now are not known to the scheduler as gangs")
