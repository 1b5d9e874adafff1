"""docs/reference/metrics.md, made of the catalogs of the operator and of the trainer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple, get_args

from ganger.api.status import GoodputSeconds, Phase
from ganger.contract import METRICS_PORT, REPORT_CAUSES
from ganger.observe import catalog
from ganger.observe.jobs import NAME_CHARS_MAX, NAMES_MAX
from ganger.observe.metrics import OTHER, REASONS_MAX
from ganger_trainer import metrics as trainer


class Row(NamedTuple):
    """One metric as the tables show it, whichever catalog it is from."""

    name: str
    type: str
    labels: tuple[str, ...]
    help: str


# Label of a family, and what it may be; what is left out is free, as names of the task's metrics are.
_VALUES: Final = (
    ("ganger_job_phase", "phase", get_args(Phase)),
    ("ganger_job_seconds, ganger_operator_job_seconds_total", "cause", GoodputSeconds.__struct_fields__),
    ("ganger_job_eta_timestamp_seconds", "bound", ("earliest", "expected", "latest")),
    ("ganger_job_restarts_total, ganger_operator_restarts_total", "counted", ("true", "false")),
    ("ganger_operator_resizes_total", "direction", ("up", "down")),
    ("ganger_operator_jobs_finished_total", "result", ("Complete", "Failed")),
    (
        "ganger_operator_reports_total",
        "result",
        ("accepted", "malformed", "unauthorised", "forged", "stale", "limited", "unknown", "standby", "unavailable"),
    ),
    ("ganger_operator_token_reviews_total", "result", ("ok", "refused", "error", "rationed")),
    ("ganger_train_seconds_total", "cause", REPORT_CAUSES),
    ("ganger_train_reports_total", "result", ("ok", "refused", "failed")),
)

_HEAD: Final = f"""# Metrics

Generated from `operator/ganger/observe/catalog.py` and `ganger_trainer.metrics.FAMILIES` by `make generate`; edit
them there, not this file.

| series | of what | shown by | end |
|---|---|---|---|
| `ganger_job_*`, `ganger_worker_info` | a job | the operator that leads | with the job object |
| `ganger_operator_*`, `process_*` | an operator process | every operator, at `/metrics` | with the process |
| `ganger_train_*` | a worker and its ranks | the worker's pod, at `:{METRICS_PORT}/metrics` | with the pod |

## How to read them

- **A job is `namespace` and `training_job`.** `job` is Prometheus' own label. No step, pod or UID is a label of a
  counter.
- **Scrape the operator with `honorLabels: true`**, as the chart's ServiceMonitor does. Otherwise Prometheus calls a
  job's namespace `exported_namespace`, and `namespace` is that of the operator. `namespace` of `ganger_train_*` comes
  from the scrape of the pod.
- **After a change of leader** the series of jobs come from another pod, and those of the old leader are gone with its
  next scrape. Begin a query with `max by (namespace, training_job) (...)` and it lives through the change.
- **What is not known has no series.** A job that never reported has no `ganger_job_step`; a GPU that is not there has
  no temperature. Nothing is filled up with zeros.
- **How fresh**: the operator writes a job's status at most every 10 s for news of its training, and the series of a
  job say what its status says.
- Base units throughout: seconds, bytes, ratios from 0 to 1. A *timestamp* is in seconds since 1970; its age is
  `time() - x`.

## Productive and lost time

`ganger_job_seconds` splits all time from a job's creation to its last status write, and its parts sum to that time.
Seconds of a step count as `productive` once it is done; when a failure throws steps away, their seconds move to
`lost`. So `productive` may shrink, and the metric is a gauge: use differences or `ganger_job_goodput_ratio`, never
`rate()`.

`ganger_operator_job_seconds_total` adds the same up over all jobs of a namespace, as a counter that never goes back:
`productive` grows as time passes, `lost` when a loss is found out. Time that counted is `productive` less `lost`; the
sum of all causes but `lost` is the time that passed. It begins anew with each operator process: use `increase()`.

`ganger_train_seconds_total` is one worker's own account of the present attempt; nothing in it is ever taken back.

## When one leader has much to do

Workers report to the leader alone. `rate(ganger_operator_reports_total{{result="accepted"}}[5m])` is how many reports
it takes in, `ganger_operator_report_seconds` how long an answer takes, and `ganger_operator_loop_lag_seconds` how
late everything in the process is. With many workers the leader asks each to report less often.

## How many series there are

- A job of the operator: 9 to 12 while it waits and about 40 while it trains, the same for 1 worker and for 1,000; one
  `ganger_worker_info` more for each worker of a job with GPUs.
- Names of a task's metrics are cut to {NAME_CHARS_MAX} characters, and a job shows at most {NAMES_MAX} of them.
- Reasons in `ganger_operator_*` are at most {REASONS_MAX} for a namespace; further ones count as `{OTHER}`.
"""


def markdown() -> str:
    """Return the page."""
    parts = [
        _HEAD,
        _table("Jobs", "From the leading operator.", _rows(catalog.JOBS)),
        _table("Workers", "From the pod; each series also has `training_job`, the job's name.", _trainer_rows()),
        _table("The operator", "From every operator process.", _rows((*catalog.OPERATOR, *catalog.PROCESS))),
        _values(),
    ]
    return "\n".join(parts)


def _rows(families: Iterable[catalog.Family]) -> list[Row]:
    return [Row(family.name, family.type, family.labels, family.help) for family in families]


def _trainer_rows() -> list[Row]:
    return [Row(family.name, family.type, family.labels, family.help) for family in trainer.FAMILIES]


def _table(title: str, sentence: str, rows: list[Row]) -> str:
    lines = [f"## {title}", "", sentence, "", "| name | type | labels | unit | meaning |", "|---|---|---|---|---|"]
    for row in rows:
        labels = ", ".join(f"`{label}`" for label in row.labels)
        lines.append(f"| `{row.name}` | {row.type} | {labels} | {catalog.unit(row.name)} | {_cell(row.help)} |")
    return "\n".join(lines) + "\n"


def _values() -> str:
    lines = ["## Values of labels", "", "| metric | label | values |", "|---|---|---|"]
    for names, label, values in _VALUES:
        metrics = ", ".join(f"`{name}`" for name in names.split(", "))
        lines.append(f"| {metrics} | `{label}` | {', '.join(f'`{value}`' for value in values)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
