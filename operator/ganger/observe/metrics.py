"""The metrics of the operator itself, `OPERATOR` and `PROCESS` of `catalog`; no label grows with jobs or pods.

One object of this class is handed to the runtime, which knows only the method names (`runtime.ports.Metrics`).
"""

import copy
from typing import Self

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from ganger import __version__
from ganger.observe import catalog
from ganger.observe.instruments import Distribution, Metric, Number

# Of each namespace. A reason may come out of a worker's mouth, and a series is never given back.
REASONS_MAX = 50
REASON_CHARS_MAX = 64
OTHER = "Other"
WATCH_ENDS = ("closed", "gone", "torn", "stalled", "regressed")  # besides these, the label of an error


class OperatorMetrics:
    """The metrics of one operator. They belong to one event loop; nothing here waits."""

    def __init__(self) -> None:
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        self._metrics = {family.name.removeprefix("ganger_operator_"): Metric(family) for family in catalog.OPERATOR}
        self._reasons: dict[str, set[str]] = {}
        self.shard = "0"
        self._number("build_info", __version__).set(1)
        self.of_shard(0)

    def of_shard(self, shard: int) -> Self:
        """Return the same metrics, for what is told of one shard."""
        view = copy.copy(self)
        view.shard = str(shard)
        for name in ("leader", "queue_depth"):
            self._number(name, view.shard)  # shown from the start: a sum of what is nowhere is nothing, and not 0
        return view

    def _number(self, name: str, *labels: str) -> Number:
        return self._metrics[name].number(*labels)

    def _seconds(self, name: str, *labels: str) -> Distribution:
        return self._metrics[name].distribution(*labels)

    def _reason(self, namespace: str, reason: str) -> str:
        """Return the reason, or OTHER when the namespace has had too many different ones."""
        known, reason = self._reasons.setdefault(namespace, set()), reason[:REASON_CHARS_MAX]
        if reason not in known and len(known) >= REASONS_MAX:
            return OTHER
        known.add(reason)
        return reason

    def exposition(self) -> bytes:
        """Return the metrics in the Prometheus text format."""
        own = "".join(metric.text() for metric in self._metrics.values())
        return own.encode() + generate_latest(self._process)

    # --- requests and writes ---
    def requested(self, verb: str, resource: str, result: str, seconds: float) -> None:
        """Count a request to the API server; for `kube.http`."""
        self._number("api_requests_total", verb, resource, result).inc()
        self._seconds("api_request_seconds", verb).observe(seconds)

    def writes_in_flight(self, writes: int) -> None:
        """Take how many writes are under way."""
        self._number("writes_in_flight").set(writes)

    def write_waited(self, seconds: float) -> None:
        """Take how long a write waited for its turn."""
        self._seconds("write_wait_seconds").observe(seconds)

    def event(self, result: str) -> None:
        """Count an event for people."""
        self._number("events_total", result).inc()

    # --- passes ---
    def queue_depth(self, depth: int) -> None:
        """Take how many keys wait."""
        self._number("queue_depth", self.shard).set(depth)

    def queue_waited(self, seconds: float) -> None:
        """Take how long a key waited."""
        self._seconds("queue_wait_seconds").observe(seconds)

    def queue_retried(self) -> None:
        """Count a retry."""
        self._number("queue_retries_total").inc()

    def reconciled(self, result: str, seconds: float) -> None:
        """Count a pass."""
        self._number("reconciles_total", result).inc()
        self._seconds("reconcile_seconds").observe(seconds)

    def loop_lagged(self, seconds: float) -> None:
        """Take how late the event loop woke a sleeper."""
        self._seconds("loop_lag_seconds").observe(seconds)

    # --- caches ---
    def listed(self, resource: str, seconds: float) -> None:
        """Count a full list."""
        # A counter that is born with its first event has no increase then: what may happen to a cache begins at 0.
        for trouble in ("watch_stalls_total", "stale_caches_total", "resource_version_regressions_total"):
            self._number(trouble, resource)
        for reason in WATCH_ENDS:
            self._number("watch_ends_total", resource, reason)
        self._number("lists_total", resource).inc()
        self._seconds("list_seconds", resource).observe(seconds)

    def watch_event(self, resource: str, kind: str) -> None:
        """Count a watch event."""
        self._number("watch_events_total", resource, kind).inc()

    def watch_ended(self, resource: str, reason: str) -> None:
        """Count the end of a watch."""
        self._number("watch_ends_total", resource, reason).inc()
        if reason == "stalled":
            self._number("watch_stalls_total", resource).inc()

    def regressed(self, resource: str) -> None:
        """Count a resourceVersion that went back."""
        self._number("resource_version_regressions_total", resource).inc()

    def cached(self, resource: str, objects: int, undecodable: int) -> None:
        """Take how many objects a cache holds, and how many of them cannot be read."""
        self._number("cached_objects", resource).set(objects)
        self._number("undecodable_objects", resource).set(undecodable)

    def stale(self, resource: str) -> None:
        """Count a cache that did not show our write in time."""
        self._number("stale_caches_total", resource).inc()

    # --- the lease ---
    def leading(self, is_leader: bool) -> None:
        """Take whether this process leads that shard."""
        self._number("leader", self.shard).set(float(is_leader))

    def duplicate_seen(self) -> None:
        """Count a status that another controller wrote while this process led."""
        self._number("foreign_status_writes_total").inc()

    def lease_renewed(self, result: str, seconds: float) -> None:
        """Count an attempt to take or renew the lease."""
        self._number("lease_writes_total", result).inc()
        self._seconds("lease_write_seconds").observe(seconds)

    # --- the control channel ---
    def reported(self, result: str, seconds: float) -> None:
        """Count a report of a worker, and take how long its answer took."""
        self._number("reports_total", result).inc()
        self._seconds("report_seconds").observe(seconds)

    def token_reviewed(self, result: str) -> None:
        """Count a token that the API server was asked about: ok, refused or error."""
        self._number("token_reviews_total", result).inc()

    # --- jobs, summed over all of a namespace ---
    def job_finished(self, namespace: str, result: str, reason: str) -> None:
        """Count a job that ended; result is Complete or Failed."""
        self._number("jobs_finished_total", namespace, result, self._reason(namespace, reason)).inc()

    def job_restarted(self, namespace: str, reason: str, counted: bool) -> None:
        """Count a restart."""
        known = self._reason(namespace, reason)
        self._number("restarts_total", namespace, known, "true" if counted else "false").inc()

    def job_resized(self, namespace: str, direction: str) -> None:
        """Count a resize of an elastic gang; direction is up or down."""
        self._number("resizes_total", namespace, direction).inc()

    def job_seconds(self, namespace: str, cause: str, seconds: float) -> None:
        """Add time of a job to what it was spent on. What is not above 0 is left out: a counter never goes back."""
        if seconds > 0:
            self._number("job_seconds_total", namespace, cause).inc(seconds)

    def job_waited(self, seconds: float) -> None:
        """Take how long a job waited for its gang, from creation or resume until all workers ran."""
        self._seconds("job_wait_seconds").observe(seconds)

    def sessions(self, namespace: str, phase: str, number: int) -> None:
        """Take how many dev sessions of a namespace are in a phase."""
        self._number("sessions", namespace, phase).set(number)
