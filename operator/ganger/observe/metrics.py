"""Every metric of the operator itself, in one place; base units, one prefix, and no label that grows with jobs or pods.

One object of this class is handed to the runtime, which knows only the method names (`runtime.ports.Metrics`).
"""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest

from ganger import __version__

QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SLOW = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class OperatorMetrics:
    """The `ganger_operator_*` metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self._info = Info("ganger_operator_build", "Version of the operator.", registry=r)
        self._info.info({"version": __version__})
        self._reconciles = Counter(
            "ganger_operator_reconciles_total", "Passes over a job, by how they ended.", ["result"], registry=r
        )
        self._reconcile_seconds = Histogram(
            "ganger_operator_reconcile_seconds", "Time of one pass over a job.", buckets=QUICK, registry=r
        )
        self._queue_depth = Gauge("ganger_operator_queue_depth", "Jobs that wait for a pass.", registry=r)
        self._queue_wait = Histogram(
            "ganger_operator_queue_wait_seconds", "Time from being due to being passed over.", buckets=QUICK, registry=r
        )
        self._queue_retries = Counter(
            "ganger_operator_queue_retries_total", "Passes that were asked for because one failed.", registry=r
        )
        self._lists = Counter("ganger_operator_lists_total", "Full lists.", ["resource"], registry=r)
        self._list_seconds = Histogram(
            "ganger_operator_list_seconds", "Time of one full list.", ["resource"], buckets=SLOW, registry=r
        )
        self._watch_events = Counter(
            "ganger_operator_watch_events_total", "Watch events, by their type.", ["resource", "type"], registry=r
        )
        self._watch_ends = Counter(
            "ganger_operator_watch_ends_total", "Watches that ended, by the reason.", ["resource", "reason"], registry=r
        )
        self._watch_stalls = Counter(
            "ganger_operator_watch_stalls_total", "Watches that fell silent without an end.", ["resource"], registry=r
        )
        self._regressions = Counter(
            "ganger_operator_resource_version_regressions_total",
            "Times that the API server's resourceVersion went back, as after a restore of etcd.",
            ["resource"],
            registry=r,
        )
        self._objects = Gauge("ganger_operator_cached_objects", "Objects in the cache.", ["resource"], registry=r)
        self._undecodable = Gauge(
            "ganger_operator_undecodable_objects", "Objects that this version cannot read.", ["resource"], registry=r
        )
        self._stale = Counter(
            "ganger_operator_stale_caches_total",
            "Own writes that a cache did not show in time.",
            ["resource"],
            registry=r,
        )
        self._leader = Gauge("ganger_operator_leader", "1 in the process that leads.", registry=r)
        self._renewals = Counter(
            "ganger_operator_lease_writes_total", "Attempts to take or renew the lease.", ["result"], registry=r
        )
        self._renew_seconds = Histogram(
            "ganger_operator_lease_write_seconds", "Time of one attempt.", buckets=QUICK, registry=r
        )
        self._in_flight = Gauge("ganger_operator_writes_in_flight", "Writes under way.", registry=r)
        self._write_wait = Histogram(
            "ganger_operator_write_wait_seconds", "Time that a write waited for its turn.", buckets=QUICK, registry=r
        )
        self._events = Counter("ganger_operator_events_total", "Events for people.", ["result"], registry=r)
        self._requests = Counter(
            "ganger_operator_api_requests_total",
            "Requests to the API server, by their result.",
            ["verb", "resource", "result"],
            registry=r,
        )
        self._request_seconds = Histogram(
            "ganger_operator_api_request_seconds", "Time of one request.", ["verb"], buckets=QUICK, registry=r
        )

        # Looking a child up by its labels locks and hashes each time; a watch event does it twice.
        self._children: dict[tuple[Any, ...], Any] = {}

    def _of(self, metric: Any, *labels: str) -> Any:
        key = (metric, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child

    def exposition(self) -> bytes:
        """Return the metrics in the Prometheus text format."""
        return generate_latest(self.registry)

    def requested(self, verb: str, resource: str, result: str, seconds: float) -> None:
        """Count a request to the API server; for `kube.http`."""
        self._of(self._requests, verb, resource, result).inc()
        self._of(self._request_seconds, verb).observe(seconds)

    def queue_depth(self, depth: int) -> None:
        """Take how many keys wait."""
        self._queue_depth.set(depth)

    def queue_waited(self, seconds: float) -> None:
        """Take how long a key waited."""
        self._queue_wait.observe(seconds)

    def queue_retried(self) -> None:
        """Count a retry."""
        self._queue_retries.inc()

    def reconciled(self, result: str, seconds: float) -> None:
        """Count a pass."""
        self._of(self._reconciles, result).inc()
        self._reconcile_seconds.observe(seconds)

    def listed(self, resource: str, seconds: float) -> None:
        """Count a full list."""
        self._of(self._lists, resource).inc()
        self._of(self._list_seconds, resource).observe(seconds)

    def watch_event(self, resource: str, kind: str) -> None:
        """Count a watch event."""
        self._of(self._watch_events, resource, kind).inc()

    def watch_ended(self, resource: str, reason: str) -> None:
        """Count the end of a watch."""
        self._of(self._watch_ends, resource, reason).inc()
        if reason == "stalled":
            self._of(self._watch_stalls, resource).inc()

    def regressed(self, resource: str) -> None:
        """Count a resourceVersion that went back."""
        self._of(self._regressions, resource).inc()

    def cached(self, resource: str, objects: int, undecodable: int) -> None:
        """Take how many objects a cache holds, and how many of them cannot be read."""
        self._of(self._objects, resource).set(objects)
        self._of(self._undecodable, resource).set(undecodable)

    def stale(self, resource: str) -> None:
        """Count a cache that did not show our write in time."""
        self._of(self._stale, resource).inc()

    def leading(self, is_leader: bool) -> None:
        """Take whether this process leads."""
        self._leader.set(is_leader)

    def lease_renewed(self, result: str, seconds: float) -> None:
        """Count an attempt to take or renew the lease."""
        self._of(self._renewals, result).inc()
        self._renew_seconds.observe(seconds)

    def writes_in_flight(self, writes: int) -> None:
        """Take how many writes are under way."""
        self._in_flight.set(writes)

    def write_waited(self, seconds: float) -> None:
        """Take how long a write waited for its turn."""
        self._write_wait.observe(seconds)

    def event(self, result: str) -> None:
        """Count an event for people."""
        self._of(self._events, result).inc()
