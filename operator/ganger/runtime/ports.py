"""What the runtime needs from its surroundings and `app` hands in, so that runtime, plan and observe stay strangers."""

from collections.abc import Hashable
from datetime import datetime
from typing import Protocol, TypeVar

from ganger.api.observed import Metadata

Key = TypeVar("Key", bound=Hashable)


class KubernetesObject(Protocol):
    """Anything a cache can hold."""

    @property
    def metadata(self) -> Metadata:
        """Identity of the object."""
        ...


class Clock(Protocol):
    """Two clocks: one for people and deadlines, one that never steps."""

    def now(self) -> datetime:
        """Return the API server's time in UTC, as well as we know it."""
        ...

    def monotonic(self) -> float:
        """Return seconds that only ever go forward, sleep of the machine included where the system can tell."""
        ...


class Metrics(Protocol):
    """Every figure that the runtime reports. No call blocks or raises. `resource` is a plural, never a job."""

    def queue_depth(self, depth: int) -> None:
        """Take how many keys wait."""
        ...

    def queue_waited(self, seconds: float) -> None:
        """Take how long a key waited from being due to being handed out."""
        ...

    def queue_retried(self) -> None:
        """Count a rate-limited retry."""
        ...

    def reconciled(self, result: str, seconds: float) -> None:
        """Count a pass. result: `done`, `requeued`, `waiting` (consistency), or an error's label."""
        ...

    def listed(self, resource: str, seconds: float) -> None:
        """Count a full list."""
        ...

    def watch_event(self, resource: str, kind: str) -> None:
        """Count a watch event. kind: added, modified, deleted, bookmark, error or unknown."""
        ...

    def watch_ended(self, resource: str, reason: str) -> None:
        """Count the end of a watch. reason: `closed`, `gone`, `torn`, `stalled`, `regressed` or an error's label."""
        ...

    def regressed(self, resource: str) -> None:
        """Count a resourceVersion that went back, as after a restore of etcd."""
        ...

    def cached(self, resource: str, objects: int, undecodable: int) -> None:
        """Take how many objects a cache holds, and how many of them this version cannot read."""
        ...

    def stale(self, resource: str) -> None:
        """Count a cache that did not reach our own write within the limit, so that it is listed anew."""
        ...

    def leading(self, is_leader: bool) -> None:
        """Take whether this process leads."""
        ...

    def lease_renewed(self, result: str, seconds: float) -> None:
        """Count an attempt to take or renew the lease. result: `ok` or an error's label."""
        ...

    def writes_in_flight(self, writes: int) -> None:
        """Take how many writes are under way."""
        ...

    def write_waited(self, seconds: float) -> None:
        """Take how long a write waited for its turn."""
        ...

    def event(self, result: str) -> None:
        """Count an event for people. result: `sent`, `repeated`, `dropped` or `failed`."""
        ...
