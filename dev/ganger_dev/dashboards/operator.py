"""Board 3: the operator itself. Whether it leads, keeps up, and is served by the API server."""

from __future__ import annotations

from typing import Final

from ganger_dev.dashboards.board import Board, Panels, choice
from ganger_dev.dashboards.panel import Ask, lines, number
from ganger_dev.dashboards.promql import OF_TARGET, quantile, rate

_P: Final = "ganger_operator"


def board() -> Board:
    """Return the board."""
    return Board(
        uid="ganger-operator",
        description="The operator: reconciling, caches, API server, leadership, reports of workers and its process.",
        since="now-3h",
        variables=[
            choice("job", "Job", f"{_P}_build_info"),
            choice("instance", "Instance", f'{_P}_build_info{{job=~"$job"}}'),
        ],
        rows=[
            ("Now", _now()),
            ("Reconciling", _reconciling()),
            ("Caches and watches", _watches()),
            ("API server", _api()),
            ("Leadership and events", _leadership()),
            ("Reports of workers", _reports()),
            ("Process", _process()),
        ],
    )


def _all(metric: str) -> str:
    return f"{metric}{{{OF_TARGET}}}"


def _pair(metric: str) -> tuple[Ask, Ask]:
    return Ask(quantile(0.5, metric), "p50"), Ask(quantile(0.99, metric), "p99")


def _now() -> Panels:
    red_above_zero = [(None, "green"), (1.0, "red")]
    return [
        number(
            "Leaders",
            "Processes that lead a shard, on average: one, and for a moment fewer while the lead passes.",
            "none",
            Ask(f"sum({_all(f'{_P}_leader')}) / count(count by (shard) ({_all(f'{_P}_leader')}))"),
            width=3,
            steps=[(None, "red"), (1, "green"), (2, "red")],
        ),
        number(
            "Processes",
            "Operator processes that answer the scrape.",
            "none",
            Ask(f"sum({_all('up')} and on (job, instance) {_all(f'{_P}_build_info')})"),
            width=3,
        ),
        number(
            "Version",
            "Version of the operator; two of them during an upgrade.",
            "none",
            Ask(f"max by (version) ({_all(f'{_P}_build_info')})", "{{version}}"),
            width=3,
            named=True,
        ),
        number(
            "Queue",
            "Jobs that wait for a pass, in the busiest process.",
            "none",
            Ask(f"max(sum by (instance) ({_all(f'{_P}_queue_depth')}))"),
            width=3,
            steps=[(None, "green"), (100, "yellow"), (1000, "red")],
        ),
        number(
            "Unreadable",
            "Objects in the cluster that this version cannot read.",
            "none",
            Ask(f"max({_all(f'{_P}_undecodable_objects')})"),
            width=3,
            steps=red_above_zero,
        ),
        number(
            "Failed passes",
            "Share of passes that were asked for again because one failed.",
            "percentunit",
            Ask(f"{rate(f'{_P}_queue_retries_total')} / ({rate(f'{_P}_reconciles_total')} > 0) or vector(0)"),
            width=3,
            steps=[(None, "green"), (0.01, "yellow"), (0.1, "red")],
            decimals=1,
        ),
        number(
            "Memory",
            "Resident memory of the largest process.",
            "bytes",
            Ask(f"max({_all('process_resident_memory_bytes')})"),
            width=3,
        ),
        number(
            "Up since",
            "Start of the youngest process.",
            "dateTimeFromNow",
            Ask(f"1000 * max({_all('process_start_time_seconds')})"),
            width=3,
        ),
    ]


def _reconciling() -> Panels:
    return [
        lines(
            "Passes",
            "Passes over a job per second, by how they ended.",
            "ops",
            Ask(rate(f"{_P}_reconciles_total", by="result"), "{{result}}"),
            stacked=True,
            low=0,
            width=6,
        ),
        lines("Time of a pass", "Time of one pass over a job.", "s", *_pair(f"{_P}_reconcile_seconds"), low=0, width=6),
        lines(
            "Queue depth",
            "Jobs that wait for a pass, in each process.",
            "none",
            Ask(f"sum by (instance) ({_all(f'{_P}_queue_depth')})", "{{instance}}"),
            low=0,
            width=6,
        ),
        lines(
            "Time in the queue",
            "From being due to being passed over.",
            "s",
            *_pair(f"{_P}_queue_wait_seconds"),
            low=0,
            width=6,
        ),
    ]


def _watches() -> Panels:
    return [
        lines(
            "Cached objects",
            "Objects in the cache, by resource, in the largest process.",
            "none",
            Ask(f"max by (resource) ({_all(f'{_P}_cached_objects')})", "{{resource}}"),
            low=0,
        ),
        lines(
            "Watch events",
            "Watch events per second, by resource and type.",
            "eps",
            Ask(rate(f"{_P}_watch_events_total", by="resource, type"), "{{resource}} {{type}}"),
            low=0,
        ),
        lines(
            "Ends of watches",
            "Watches that ended, by reason; the server ends each after some minutes, which is no fault.",
            "ops",
            Ask(rate(f"{_P}_watch_ends_total", by="resource, reason"), "{{resource}} {{reason}}"),
            low=0,
        ),
        lines(
            "Full lists",
            "Full lists per second. Lists after the start mean that watches could not go on.",
            "ops",
            Ask(rate(f"{_P}_lists_total", by="resource"), "{{resource}}"),
            low=0,
        ),
        lines(
            "Time of a list",
            "Mean time of a full list since the start: one for each cache, and more only when a watch cannot go on.",
            "s",
            Ask(
                f"sum by (resource) ({_P}_list_seconds_sum{{{OF_TARGET}}})"
                f" / sum by (resource) ({_P}_list_seconds_count{{{OF_TARGET}}})",
                "{{resource}}",
            ),
            low=0,
        ),
        lines(
            "Caches in doubt",
            "Watches that fell silent, own writes that a cache did not show in time, versions that went back.",
            "ops",
            Ask(rate(f"{_P}_watch_stalls_total", by="resource"), "{{resource}} stalled"),
            Ask(rate(f"{_P}_stale_caches_total", by="resource"), "{{resource}} stale"),
            Ask(rate(f"{_P}_resource_version_regressions_total", by="resource"), "{{resource}} went back"),
            low=0,
        ),
    ]


def _api() -> Panels:
    requests = f"{_P}_api_requests_total"
    return [
        lines(
            "Requests",
            "Requests to the API server per second.",
            "reqps",
            Ask(rate(requests, by="verb, resource"), "{{verb}} {{resource}}"),
            stacked=True,
            low=0,
            width=6,
        ),
        lines(
            "Failed requests",
            "Requests that did not succeed, by how.",
            "reqps",
            Ask(
                rate(requests, by="verb, resource, result", matchers='result!="ok"'), "{{verb}} {{resource}} {{result}}"
            ),
            low=0,
            width=6,
        ),
        lines(
            "Time of a request",
            "Time of one request, 99th percentile, by verb.",
            "s",
            Ask(quantile(0.99, f"{_P}_api_request_seconds", by="verb"), "{{verb}}"),
            low=0,
            width=6,
        ),
        lines(
            "Time that writes wait",
            "Time that a write waited for its turn before it was sent.",
            "s",
            *_pair(f"{_P}_write_wait_seconds"),
            low=0,
            width=6,
        ),
    ]


def _leadership() -> Panels:
    return [
        lines(
            "Leader",
            "Shards that each process leads.",
            "none",
            Ask(f"sum by (instance) ({_all(f'{_P}_leader')})", "{{instance}}"),
            stacked=True,
            low=0,
            width=6,
        ),
        lines(
            "Lease writes",
            "Attempts per second to take or renew the lease, by result.",
            "wps",
            Ask(rate(f"{_P}_lease_writes_total", by="result"), "{{result}}"),
            low=0,
            width=6,
        ),
        lines(
            "Time of a lease write",
            "Time of one attempt. The lead is given up when none succeeds in time.",
            "s",
            *_pair(f"{_P}_lease_write_seconds"),
            low=0,
            width=6,
        ),
        lines(
            "Events for people",
            "Kubernetes events sent per second, by result.",
            "eps",
            Ask(rate(f"{_P}_events_total", by="result"), "{{result}}"),
            low=0,
            width=6,
        ),
    ]


def _reports() -> Panels:
    return [
        lines(
            "Reports",
            "Reports of workers per second, by what became of them.",
            "reqps",
            Ask(rate(f"{_P}_reports_total", by="result"), "{{result}}"),
            stacked=True,
            low=0,
        ),
        lines("Time of a report", "Time to answer a report.", "s", *_pair(f"{_P}_report_seconds"), low=0),
        lines(
            "Token reviews",
            "Questions to the API server about whose a token is; answers are kept, so there are few.",
            "reqps",
            Ask(rate(f"{_P}_token_reviews_total", by="result"), "{{result}}"),
            low=0,
        ),
    ]


def _process() -> Panels:
    return [
        lines(
            "CPU",
            "CPU of each process: 1 is one core.",
            "none",
            Ask(rate("process_cpu_seconds_total", by="instance"), "{{instance}}"),
            low=0,
            width=6,
        ),
        lines(
            "Resident memory",
            "Memory of each process.",
            "bytes",
            Ask(f"max by (instance) ({_all('process_resident_memory_bytes')})", "{{instance}}"),
            low=0,
            width=6,
        ),
        lines(
            "Lag of the event loop",
            "How late a timer of the event loop wakes. A long lag means that something blocks it.",
            "s",
            *_pair(f"{_P}_loop_lag_seconds"),
            low=0,
            width=6,
        ),
        lines(
            "Open files",
            "File descriptors that each process has open: sockets above all.",
            "none",
            Ask(f"max by (instance) ({_all('process_open_fds')})", "{{instance}}"),
            low=0,
            width=6,
        ),
    ]
