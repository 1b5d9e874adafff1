"""What we last heard of every object of one resource type.

Only a reflector writes here, all others read. A handler gets (old, new) and does one thing: enqueue a key.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from msgspec import Struct

from ganger.api.observed import Metadata
from ganger.runtime.ports import KubernetesObject

log = logging.getLogger(__name__)


class Undecodable(Struct, frozen=True):
    """An object that this version cannot read, kept by its identity so that it can be reported and left alone.

    error: the decoder's sentence with the path of the field; it holds no value of the object.
    """

    metadata: Metadata
    error: str


T = TypeVar("T", bound=KubernetesObject)
Handler = Callable[[T | Undecodable | None, T | Undecodable | None], None]


class Cache(Generic[T]):
    """Objects by namespace and name, indexed by the UID of their controlling owner.

    One cache may be fed by several reflectors, each for its own namespace; "" stands for all namespaces.
    Not thread-safe; values are frozen and may be kept by the reader.
    """

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, T]] = {}
        self._undecodable: dict[tuple[str, str], Undecodable] = {}
        self._owned: dict[str, dict[str, T]] = {}  # owner's UID -> UID -> object
        self._versions: dict[str, int] = {}
        self._epochs: dict[str, int] = {}
        self._handlers: list[Handler[T]] = []

    # --- for readers ----------------------------------------------------------------------------------------------
    def get(self, namespace: str, name: str) -> T | None:
        """Return the object, or None if there is none or it is undecodable: ask `undecodable` before acting on None."""
        return self._objects.get(namespace, {}).get(name)

    def undecodable(self, namespace: str, name: str) -> Undecodable | None:
        """Return the object of that name if this version cannot read it."""
        return self._undecodable.get((namespace, name))

    def find(self, namespace: str, name: str) -> T | Undecodable | None:
        """Return the object in whichever form it is held."""
        return self.get(namespace, name) or self.undecodable(namespace, name)

    def by_owner(self, uid: str) -> tuple[T, ...]:
        """Return the objects whose controller has that UID, in no order."""
        return tuple(self._owned.get(uid, {}).values())

    def all(self) -> Iterator[T]:
        """Yield every readable object. The cache must not change during the iteration: do not await in it."""
        for objects in self._objects.values():
            yield from objects.values()

    def all_undecodable(self) -> tuple[Undecodable, ...]:
        """Return every object that this version cannot read."""
        return tuple(self._undecodable.values())

    def __len__(self) -> int:
        return sum(map(len, self._objects.values())) + len(self._undecodable)

    def resource_version(self, namespace: str = "") -> int:
        """Return the version up to which every change in that namespace is known here; 0 before the first list."""
        return self._versions.get(namespace) or self._versions.get("", 0)

    def epoch(self, namespace: str = "") -> int:
        """Return how often the server's versions went back (a restored etcd); they compare within one epoch only."""
        return self._epochs.get(namespace) or self._epochs.get("", 0)

    def on_change(self, handler: Handler[T]) -> None:
        """Call the handler with (old, new) after each change: None is absent, the same object twice is a resync."""
        self._handlers.append(handler)

    # --- for the reflector ----------------------------------------------------------------------------------------
    def replace(self, found: Iterable[T | Undecodable], *, scope: str, version: int) -> None:
        """Take a full list of a scope; what is not in it any more counts as deleted, what is unchanged as no news."""
        gone = {(obj.metadata.namespace, obj.metadata.name): obj for obj in self._in_scope(scope)}
        self.advance(scope=scope, version=version)
        for obj in found:
            old = gone.pop((obj.metadata.namespace, obj.metadata.name), None)
            if old is None or _differs(old, obj):
                self.put(obj)
        for obj in gone.values():
            self.remove(obj.metadata)

    def put(self, obj: T | Undecodable) -> None:
        """Take one added or changed object. Another UID under the same name counts as deleted and added."""
        meta = obj.metadata
        old = self.find(meta.namespace, meta.name)
        if old is not None and old.metadata.uid != meta.uid:
            self.remove(old.metadata)
            old = None
        if old is not None:
            self._drop(old)
        if isinstance(obj, Undecodable):
            self._undecodable[meta.namespace, meta.name] = obj
        else:
            self._objects.setdefault(meta.namespace, {})[meta.name] = obj
            if owner := meta.controller_uid:
                self._owned.setdefault(owner, {})[meta.uid] = obj
        self._tell(old, obj)

    def remove(self, meta: Metadata) -> None:
        """Take the news that an object is gone; unknown ones are none."""
        old = self.find(meta.namespace, meta.name)
        if old is not None:
            self._drop(old)
            self._tell(old, None)

    def advance(self, *, scope: str, version: int) -> None:
        """Take the version up to which the scope is known; a smaller one than before opens a new epoch."""
        if version < self._versions.get(scope, 0):
            self._epochs[scope] = self._epochs.get(scope, 0) + 1
        self._versions[scope] = version

    def resync(self, *, scope: str) -> None:
        """Tell the handlers of every object of the scope anew, as unchanged."""
        for obj in self._in_scope(scope):
            self._tell(obj, obj)

    def _in_scope(self, scope: str) -> list[T | Undecodable]:
        found: list[T | Undecodable] = [u for u in self._undecodable.values() if scope in ("", u.metadata.namespace)]
        found.extend(self._objects.get(scope, {}).values() if scope else self.all())
        return found

    def _drop(self, old: T | Undecodable) -> None:
        meta = old.metadata
        self._undecodable.pop((meta.namespace, meta.name), None)
        objects = self._objects.get(meta.namespace, {})
        objects.pop(meta.name, None)
        if not objects:
            self._objects.pop(meta.namespace, None)
        owned = self._owned.get(meta.controller_uid, {})
        owned.pop(meta.uid, None)
        if not owned:
            self._owned.pop(meta.controller_uid, None)

    def _tell(self, old: T | Undecodable | None, new: T | Undecodable | None) -> None:
        for handler in self._handlers:
            try:
                handler(old, new)
            except Exception:  # one broken handler must not cost the others their news, nor end the watch
                log.exception("a cache handler failed")


def _differs(old: KubernetesObject, new: KubernetesObject) -> bool:
    return (old.metadata.uid, old.metadata.resource_version) != (new.metadata.uid, new.metadata.resource_version) or (
        type(old) is not type(new)
    )
