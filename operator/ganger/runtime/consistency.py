"""Whether the caches have seen our own writes yet.

A pass that runs on a cache older than its own last write would do that write again. So each write leaves its
resourceVersion here, and the key is not ready until the cache has reached it. After Kubernetes 1.36's
StaleControllerConsistency; versions are comparable integers within one resource type and epoch.
"""

from collections.abc import Callable, Mapping
from typing import Any, Generic

from msgspec import Struct
from msgspec.structs import replace

from ganger.api.observed import Metadata
from ganger.kube.resources import Resource
from ganger.runtime.cache import Cache
from ganger.runtime.ports import Key, Metrics
from ganger.runtime.silence import NO_METRICS

AGE_LIMIT_SECONDS = 10.0  # a guess: a hundred times a busy watch's delay


class _Pending(Struct, frozen=True):
    resource: Resource
    namespace: str
    name: str
    uid: str
    version: int  # 0 for a deletion
    epoch: int
    since: float

    @property
    def what(self) -> tuple[str, str, str, bool]:
        return (self.resource.plural, self.namespace, self.uid, self.version == 0)


class Consistency(Generic[Key]):
    """Remembers the writes of each key that its caches have not shown yet.

    caches: only writes to these resources are waited for. relist: asked to list a resource of a namespace from the
    server when a write is not seen within the limit; the key stays unready until that list is in.
    """

    def __init__(
        self,
        caches: Mapping[Resource, Cache[Any]],
        *,
        monotonic: Callable[[], float],
        relist: Callable[[Resource, str], None],
        age_limit_seconds: float = AGE_LIMIT_SECONDS,
        metrics: Metrics = NO_METRICS,
    ) -> None:
        self._caches = dict(caches)
        self._monotonic = monotonic
        self._relist = relist
        self._age_limit = age_limit_seconds
        self._metrics = metrics
        self._pending: dict[Key, dict[tuple[str, str, str, bool], _Pending]] = {}

    def include(self, resource: Resource, cache: Cache[Any]) -> None:
        """Wait for the writes to one more resource."""
        self._caches[resource] = cache

    def wrote(self, key: Key, resource: Resource, written: Metadata) -> None:
        """Remember a create, apply, update or patch by the Metadata that it returned."""
        if written.resource_version:
            self._remember(key, resource, written, int(written.resource_version))

    def deleted(self, key: Key, resource: Resource, target: Metadata) -> None:
        """Remember a delete by the Metadata of the object as it was read."""
        self._remember(key, resource, target, 0)

    def ready(self, key: Key) -> bool:
        """Return whether the caches show every write of the key. Asks for a list when a write is overdue."""
        pending = self._pending.get(key)
        if not pending:
            return True
        for what in [what for what, write in pending.items() if self._is_seen(write)]:
            del pending[what]
        if not pending:
            del self._pending[key]
            return True
        self._hurry(pending)
        return False

    def doubt(self, resource: Resource, namespace: str) -> None:
        """Ask for a list of a cache that was found to be behind the server."""
        self._metrics.stale(resource.plural)
        self._relist(resource, namespace)

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a key, when its object is gone for good."""
        self._pending.pop(key, None)

    def _remember(self, key: Key, resource: Resource, meta: Metadata, version: int) -> None:
        cache = self._caches.get(resource)
        if cache is None:
            return
        write = _Pending(
            resource, meta.namespace, meta.name, meta.uid, version, cache.epoch(meta.namespace), self._monotonic()
        )
        self._pending.setdefault(key, {})[write.what] = write

    def _is_seen(self, write: _Pending) -> bool:
        cache = self._caches[write.resource]
        if cache.epoch(write.namespace) != write.epoch:
            return True  # the server was restored from a backup: our write may never appear
        held = cache.find(write.namespace, write.name)
        if write.version == 0:
            return held is None or held.metadata.uid != write.uid or held.metadata.deletion_timestamp is not None
        if cache.resource_version(write.namespace) >= write.version:
            return True
        return held is not None and int(held.metadata.resource_version or 0) >= write.version

    def _hurry(self, pending: dict[tuple[str, str, str, bool], _Pending]) -> None:
        now = self._monotonic()
        overdue = [(what, write) for what, write in pending.items() if now - write.since > self._age_limit]
        for resource, namespace in {(write.resource, write.namespace) for _, write in overdue}:
            self.doubt(resource, namespace)
        for what, write in overdue:  # ask again only after another full limit
            pending[what] = replace(write, since=now)
