"""Every metric that the operator shows, as data: `observe.metrics` and `observe.jobs` are built from it.

The trainer's own are in `ganger_trainer.metrics.FAMILIES`, which may not import this room; docs/reference/metrics.md is
made of both. Names are the product's interface: a rename breaks boards and alerts that others have written.
"""

from typing import Literal

from msgspec import Struct

Source = Literal["leader", "operator"]
JOB_LABELS = ("namespace", "training_job")  # never `job`, which is Prometheus' own
QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SLOW = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_FINE = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_PATIENT = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0, 43200.0, 86400.0)
_UNITS = ("seconds", "bytes", "ratio")


class Family(Struct, frozen=True, kw_only=True):
    """One metric. labels: all of them but `le`. buckets: upper bounds of a histogram. source: who shows it."""

    name: str
    type: Literal["gauge", "counter", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    source: Source = "operator"


def unit(name: str) -> str:
    """Return the base unit that ends a name, "timestamp" for seconds since 1970, "" where it is a plain number."""
    words = name.removesuffix("_total").split("_")
    if words[-2:] in (["timestamp", "seconds"], ["time", "seconds"]):  # the client library's is ..._start_time_seconds
        return "timestamp"
    return words[-1] if words[-1] in (*_UNITS, "celsius", "watts") else ""


def _job(name: str, help_: str, *labels: str, kind: Literal["gauge", "counter"] = "gauge") -> Family:
    return Family(name=f"ganger_{name}", type=kind, help=help_, labels=(*JOB_LABELS, *labels), source="leader")


def _gauge(name: str, help_: str, *labels: str) -> Family:
    return Family(name=f"ganger_operator_{name}", type="gauge", help=help_, labels=labels)


def _counter(name: str, help_: str, *labels: str) -> Family:
    return Family(name=f"ganger_operator_{name}", type="counter", help=help_, labels=labels)


def _histogram(name: str, help_: str, *labels: str, buckets: tuple[float, ...] = QUICK) -> Family:
    return Family(name=f"ganger_operator_{name}", type="histogram", help=help_, labels=labels, buckets=buckets)


def _process(name: str, kind: Literal["gauge", "counter"], help_: str) -> Family:
    return Family(name=f"process_{name}", type=kind, help=help_)


JOBS = (
    _job("job_info", "1; queue (of Kueue) and priority class of the job.", "queue", "priority_class"),
    _job("job_phase", "1 for the present phase; the others have no series.", "phase"),
    _job("job_workers_wanted", "Workers that the spec asks for."),
    _job("job_workers_ready", "Workers that run."),
    _job("job_gpus", "GPUs that the spec asks for, over all workers."),
    _job("job_attempt", "Number of the present attempt, from 0."),
    _job("job_created_timestamp_seconds", "When the job was created."),
    _job("job_completed_timestamp_seconds", "When it reached Complete or Failed."),
    _job("job_step", "Optimizer steps done, earlier attempts included."),
    _job("job_steps_planned", "Steps of the whole job."),
    _job("job_epoch", "Epoch, from 0."),
    _job("job_progress_ratio", "Steps done over steps planned."),
    _job("job_loss", "Newest loss."),
    _job("job_samples_per_second", "Samples per second of all workers together, while the job is Running."),
    _job("job_metric", "Newest value of each metric of the task.", "name"),
    _job(
        "job_eta_timestamp_seconds",
        "When the last step is expected, and the interval that holds 80 % of ends; not of a job that ended or is "
        "suspended.",
        "bound",
    ),
    _job("job_last_step_timestamp_seconds", "When the newest step was first reported."),
    _job("job_step_seconds", "Recent wall time of a step."),
    _job(
        "job_straggler_ratio",
        "Usual time of a step's own work over that of this rank, for each rank that holds the others up.",
        "rank",
    ),
    _job("job_checkpoint_step", "Step of the newest committed checkpoint."),
    _job("job_checkpoint_bytes", "Size of the newest committed checkpoint."),
    _job("job_checkpoint_timestamp_seconds", "When the newest checkpoint was committed."),
    _job(
        "job_checkpoint_interval_seconds",
        "Time between two checkpoints by the spec; with everySteps only once the time of a step is known.",
    ),
    _job("job_checkpoint_failures", "Saves of the present attempt that the volume refused."),
    _job("job_restarts_total", "Restarts, by whether they spend failurePolicy.maxRestarts.", "counted", kind="counter"),
    _job("job_failure_info", "1; cause of the newest restart, or of the failure of the job.", "reason", "rank"),
    _job("job_seconds", "Where the time since the creation went; causes that took none have no series.", "cause"),
    _job("job_goodput_ratio", "Productive time over all time since the creation."),
    _job("job_lost_steps", "Steps that were done and lost to failures and rollbacks."),
    _job("job_live_config_step", "First step that used the present value of a live setting.", "name"),
    _job("worker_info", "1; pod and node of each worker of a job with GPUs.", "pod", "worker", "node"),
)

OPERATOR = (
    _gauge("build_info", "1; version of the operator.", "version"),
    _gauge(
        "leader",
        "1 in the process that leads the shard; there is one shard, 0, unless operator.shards says more.",
        "shard",
    ),
    _counter("reconciles_total", "Passes over a job, by how they ended.", "result"),
    _histogram("reconcile_seconds", "Time of one pass over a job."),
    _gauge("queue_depth", "Jobs of the shard that wait for a pass.", "shard"),
    _histogram("queue_wait_seconds", "Time from being due to being passed over."),
    _counter("queue_retries_total", "Passes that were asked for because one failed."),
    _counter("lists_total", "Full lists.", "resource"),
    _histogram("list_seconds", "Time of one full list.", "resource", buckets=SLOW),
    _counter("watch_events_total", "Watch events, by their type.", "resource", "type"),
    _counter("watch_ends_total", "Watches that ended, by the reason.", "resource", "reason"),
    _counter("watch_stalls_total", "Watches that fell silent without an end.", "resource"),
    _counter(
        "resource_version_regressions_total",
        "Times that the API server's resourceVersion went back, as after a restore of etcd.",
        "resource",
    ),
    _gauge("cached_objects", "Objects in the cache.", "resource"),
    _gauge("undecodable_objects", "Objects that this version cannot read.", "resource"),
    _counter("stale_caches_total", "Own writes that a cache did not show in time.", "resource"),
    _counter(
        "foreign_status_writes_total",
        "Statuses of jobs that another controller wrote while this one led, as far as its own writes met them.",
    ),
    _counter("lease_writes_total", "Attempts to take or renew the lease.", "result"),
    _histogram("lease_write_seconds", "Time of one attempt to take or renew the lease."),
    _gauge("writes_in_flight", "Writes under way."),
    _histogram("write_wait_seconds", "Time that a write waited for its turn."),
    _counter("events_total", "Events for people.", "result"),
    _counter("api_requests_total", "Requests to the API server, by their result.", "verb", "resource", "result"),
    _histogram("api_request_seconds", "Time of one request to the API server.", "verb"),
    _counter("jobs_finished_total", "Jobs that became Complete or Failed.", "namespace", "result", "reason"),
    _counter(
        "restarts_total",
        "Restarts of jobs, by whether they spend failurePolicy.maxRestarts.",
        "namespace",
        "reason",
        "counted",
    ),
    _counter("resizes_total", "Resizes of elastic gangs, to more or to fewer workers.", "namespace", "direction"),
    _counter("job_seconds_total", "Where the time of all jobs of a namespace went.", "namespace", "cause"),
    _histogram("job_wait_seconds", "Time from a job's creation or resume until all its workers ran.", buckets=_PATIENT),
    _gauge("sessions", "Dev sessions by their phase, in the process that leads.", "namespace", "phase"),
    _counter("reports_total", "Reports of workers and sessions, by what became of them.", "result"),
    _histogram("report_seconds", "Time to answer a report.", buckets=_FINE),
    _counter("token_reviews_total", "Tokens of workers that the API server was asked about.", "result"),
    _histogram("loop_lag_seconds", "How late the event loop wakes who sleeps, sampled all the time."),
)

# What prometheus_client's collector shows of the process, on Linux.
PROCESS = (
    _process("cpu_seconds_total", "counter", "CPU time of the process, of user and kernel."),
    _process("resident_memory_bytes", "gauge", "Memory of the process."),
    _process("virtual_memory_bytes", "gauge", "Address space of the process."),
    _process("start_time_seconds", "gauge", "When the process began, in seconds since 1970."),
    _process("open_fds", "gauge", "Open file descriptors."),
    _process("max_fds", "gauge", "Limit of open file descriptors."),
)
