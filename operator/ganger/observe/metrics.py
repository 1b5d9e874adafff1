"""The metrics of the operator itself, `OPERATOR` and `PROCESS` of `catalog`; no label grows with jobs or pods.

One object of this class is handed to the runtime, which knows only the method names (`runtime.ports.Metrics`).
"""

from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from ganger import __version__
from ganger.observe import catalog

# Of each namespace. A reason may come out of a worker's mouth, and a series is never given back.
REASONS_MAX = 50
REASON_CHARS_MAX = 64
OTHER = "Other"
# A quarter of the page, of which Prometheus makes nothing in this format.
disable_created_metrics()  # type: ignore[no-untyped-call]


class OperatorMetrics:
    """The metrics of one operator, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._metrics = {
            family.name.removeprefix("ganger_operator_"): _made(family, self.registry) for family in catalog.OPERATOR
        }
        # Looking a child up by its labels locks and hashes each time; a watch event does it twice.
        self._children: dict[tuple[str, ...], Any] = {}
        self._reasons: dict[str, set[str]] = {}
        self._of("build_info", __version__).set(1)

    def _of(self, name: str, *labels: str) -> Any:
        key = (name, *labels)
        child = self._children.get(key)
        if child is None:
            metric = self._metrics[name]
            child = self._children[key] = metric.labels(*labels) if labels else metric
        return child

    def _reason(self, namespace: str, reason: str) -> str:
        """Return the reason, or OTHER when the namespace has had too many different ones."""
        known, reason = self._reasons.setdefault(namespace, set()), reason[:REASON_CHARS_MAX]
        if reason not in known and len(known) >= REASONS_MAX:
            return OTHER
        known.add(reason)
        return reason

    def exposition(self) -> bytes:
        """Return the metrics in the Prometheus text format."""
        return generate_latest(self.registry)

    # --- requests and writes ---
    def requested(self, verb: str, resource: str, result: str, seconds: float) -> None:
        """Count a request to the API server; for `kube.http`."""
        self._of("api_requests_total", verb, resource, result).inc()
        self._of("api_request_seconds", verb).observe(seconds)

    def writes_in_flight(self, writes: int) -> None:
        """Take how many writes are under way."""
        self._of("writes_in_flight").set(writes)

    def write_waited(self, seconds: float) -> None:
        """Take how long a write waited for its turn."""
        self._of("write_wait_seconds").observe(seconds)

    def event(self, result: str) -> None:
        """Count an event for people."""
        self._of("events_total", result).inc()

    # --- passes ---
    def queue_depth(self, depth: int) -> None:
        """Take how many keys wait."""
        self._of("queue_depth").set(depth)

    def queue_waited(self, seconds: float) -> None:
        """Take how long a key waited."""
        self._of("queue_wait_seconds").observe(seconds)

    def queue_retried(self) -> None:
        """Count a retry."""
        self._of("queue_retries_total").inc()

    def reconciled(self, result: str, seconds: float) -> None:
        """Count a pass."""
        self._of("reconciles_total", result).inc()
        self._of("reconcile_seconds").observe(seconds)

    def loop_lagged(self, seconds: float) -> None:
        """Take how late the event loop woke a sleeper."""
        self._of("loop_lag_seconds").observe(seconds)

    # --- caches ---
    def listed(self, resource: str, seconds: float) -> None:
        """Count a full list."""
        self._of("lists_total", resource).inc()
        self._of("list_seconds", resource).observe(seconds)

    def watch_event(self, resource: str, kind: str) -> None:
        """Count a watch event."""
        self._of("watch_events_total", resource, kind).inc()

    def watch_ended(self, resource: str, reason: str) -> None:
        """Count the end of a watch."""
        self._of("watch_ends_total", resource, reason).inc()
        if reason == "stalled":
            self._of("watch_stalls_total", resource).inc()

    def regressed(self, resource: str) -> None:
        """Count a resourceVersion that went back."""
        self._of("resource_version_regressions_total", resource).inc()

    def cached(self, resource: str, objects: int, undecodable: int) -> None:
        """Take how many objects a cache holds, and how many of them cannot be read."""
        self._of("cached_objects", resource).set(objects)
        self._of("undecodable_objects", resource).set(undecodable)

    def stale(self, resource: str) -> None:
        """Count a cache that did not show our write in time."""
        self._of("stale_caches_total", resource).inc()

    # --- the lease ---
    def leading(self, is_leader: bool) -> None:
        """Take whether this process leads."""
        self._of("leader").set(is_leader)

    def lease_renewed(self, result: str, seconds: float) -> None:
        """Count an attempt to take or renew the lease."""
        self._of("lease_writes_total", result).inc()
        self._of("lease_write_seconds").observe(seconds)

    # --- the control channel ---
    def reported(self, result: str, seconds: float) -> None:
        """Count a report of a worker, and take how long its answer took."""
        self._of("reports_total", result).inc()
        self._of("report_seconds").observe(seconds)

    def token_reviewed(self, result: str) -> None:
        """Count a token that the API server was asked about: ok, refused or error."""
        self._of("token_reviews_total", result).inc()

    # --- jobs, summed over all of a namespace ---
    def job_finished(self, namespace: str, result: str, reason: str) -> None:
        """Count a job that ended; result is Complete or Failed."""
        self._of("jobs_finished_total", namespace, result, self._reason(namespace, reason)).inc()

    def job_restarted(self, namespace: str, reason: str, counted: bool) -> None:
        """Count a restart."""
        known = self._reason(namespace, reason)
        self._of("restarts_total", namespace, known, "true" if counted else "false").inc()

    def job_seconds(self, namespace: str, cause: str, seconds: float) -> None:
        """Add time of a job to what it was spent on. What is not above 0 is left out: a counter never goes back."""
        if seconds > 0:
            self._of("job_seconds_total", namespace, cause).inc(seconds)

    def job_waited(self, seconds: float) -> None:
        """Take how long a job waited for its gang, from creation or resume until all workers ran."""
        self._of("job_wait_seconds").observe(seconds)


def _made(family: catalog.Family, registry: CollectorRegistry) -> Any:
    if family.type == "histogram":
        return Histogram(family.name, family.help, family.labels, registry=registry, buckets=family.buckets)
    return (Counter if family.type == "counter" else Gauge)(family.name, family.help, family.labels, registry=registry)
