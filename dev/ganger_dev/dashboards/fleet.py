"""Board 1: all jobs. What runs, what waits, what fails, and where the time of the GPUs goes."""

from __future__ import annotations

from typing import Final

from ganger_dev.dashboards.board import Board, Panels, choice
from ganger_dev.dashboards.panel import CAUSES, OPEN_JOB, PHASES, Ask, Column, Table, lines, number, ranking, rows
from ganger_dev.dashboards.promql import ALIVE, JOB, OF_JOB, OF_NAMESPACE, gained, in_phase, job

_TIME: Final = "ganger_operator_job_seconds_total"
_SINCE_CHECKPOINT: Final = f"(time() - {job('ganger_job_checkpoint_timestamp_seconds')})"


def board() -> Board:
    """Return the board."""
    return Board(
        uid="ganger-fleet",
        description="All training jobs: phases, waiting, GPUs, goodput, restarts and failures.",
        since="now-6h",
        variables=[
            choice("namespace", "Namespace", "ganger_job_info"),
            choice("training_job", "Training job", f"ganger_job_info{{{OF_NAMESPACE}}}"),
        ],
        rows=[
            ("Now", _now()),
            ("Jobs and waiting", _jobs()),
            ("Goodput", _goodput()),
            ("Trouble", _trouble()),
            ("Every job", [_table()]),
        ],
    )


def _count(phases: str) -> str:
    return f"count({in_phase(phases)}) or vector(0)"


def _gpus(share: str = "") -> str:
    return f"sum({job('ganger_job_gpus')}{share} and on ({JOB}) {in_phase(ALIVE)}) or vector(0)"


def _ready() -> str:
    return f" * on ({JOB}) {job('ganger_job_workers_ready')} / on ({JOB}) ({job('ganger_job_workers_wanted')} > 0)"


def _now() -> Panels:
    return [
        number(
            "Running", "Jobs whose workers all run.", "none", Ask(_count("Running")), width=3, steps=[(None, "green")]
        ),
        number(
            "Waiting",
            "Jobs that wait for admission, nodes, images or their gang: phases Pending and Starting.",
            "none",
            Ask(_count("Pending|Starting")),
            width=3,
            steps=[(None, "blue"), (1, "yellow")],
        ),
        number(
            "Restarting",
            "Jobs between two attempts.",
            "none",
            Ask(_count("Restarting")),
            width=3,
            steps=[(None, "blue"), (1, "orange")],
        ),
        number(
            "Failed",
            "Failed jobs that have not been deleted.",
            "none",
            Ask(_count("Failed")),
            width=3,
            steps=[(None, "blue"), (1, "red")],
        ),
        number(
            "GPUs asked for", "GPUs requested by jobs that are neither finished nor suspended.", "none", Ask(_gpus())
        ),
        number(
            "GPUs ready",
            "GPUs of workers that are ready: the GPUs of each job times its share of ready workers.",
            "none",
            Ask(_gpus(_ready())),
        ),
        number(
            "Goodput",
            "Productive time over all time since creation, summed over the chosen jobs that exist.",
            "percentunit",
            Ask(f"sum({job('ganger_job_seconds', cause='productive')}) / sum({job('ganger_job_seconds', by='cause')})"),
            steps=[(None, "red"), (0.5, "yellow"), (0.7, "green")],
            decimals=1,
        ),
    ]


def _jobs() -> Panels:
    wait = "ganger_operator_job_wait_seconds_bucket[1h]"
    return [
        lines(
            "Jobs by phase",
            "How many of the chosen jobs are in each phase.",
            "none",
            Ask(f"count by (phase) ({job('ganger_job_phase', by='phase')})", "{{phase}}"),
            stacked=True,
            colours=PHASES,
            low=0,
        ),
        lines(
            "Waiting until all workers run",
            "Time from the creation or resumption of a job until all its workers ran, for jobs that began in the last "
            "hour. Of all namespaces: this histogram has no labels.",
            "s",
            Ask(f"histogram_quantile(0.5, sum by (le) (rate({wait})))", "p50"),
            Ask(f"histogram_quantile(0.95, sum by (le) (rate({wait})))", "p95"),
            low=0,
        ),
        lines(
            "GPUs",
            "GPUs that jobs ask for, and those of workers that are ready. The gap is what the fleet lacks.",
            "none",
            Ask(_gpus(), "asked for"),
            Ask(_gpus(_ready()), "ready"),
            low=0,
        ),
    ]


def _goodput() -> Panels:
    def spent(operator: str, cause: str) -> str:
        return f'sum(increase({_TIME}{{{OF_NAMESPACE}, cause{operator}"{cause}"}}[1h]))'

    gained_and_kept = f"({spent('=', 'productive')} - ({spent('=', 'lost')} or vector(0)))"

    return [
        lines(
            "Time by cause",
            "Where the time of the jobs of the chosen namespaces goes: each band is the mean number of jobs that spend "
            "their time so. Lost time shows when it is found out, at a failure, and was productive before.",
            "none",
            Ask(f"sum by (cause) (rate({_TIME}{{{OF_NAMESPACE}}}[$__rate_interval]))", "{{cause}}"),
            stacked=True,
            colours=CAUSES,
            low=0,
            width=12,
        ),
        lines(
            "Goodput of the last hour",
            "Productive time less the time found lost, over all time, of the chosen namespaces in the last hour.",
            "percentunit",
            Ask(
                f"clamp_min({gained_and_kept} / {spent('!=', 'lost')}, 0)",
                "goodput",
            ),
            low=0,
            high=1,
            width=12,
        ),
    ]


def _trouble() -> Panels:
    restarts = f"ganger_operator_restarts_total{{{OF_NAMESPACE}}}"
    return [
        lines(
            "Restarts per hour by reason",
            "Restarts of attempts in the hour before each point.",
            "none",
            Ask(f"sum by (reason) ({gained(restarts, '1h')}) > 0", "{{reason}}"),
            stacked=True,
            low=0,
        ),
        ranking(
            "Jobs hit by each cause",
            "Chosen jobs that restarted or failed in the time range shown; a job counts once for each reason.",
            "none",
            Ask(
                f"sort_desc(count by (reason) (count by ({JOB}, reason) "
                f"(max_over_time(ganger_job_failure_info{{{OF_JOB}}}[$__range]))))",
                "{{reason}}",
            ),
            steps=[(None, "orange")],
        ),
        ranking(
            "Oldest checkpoints",
            "The ten running jobs that would lose most: time since the newest checkpoint.",
            "s",
            Ask(
                f"topk(10, {_SINCE_CHECKPOINT} and on ({JOB}) {in_phase('Running')})",
                "{{namespace}}/{{training_job}}",
            ),
            steps=[(None, "green"), (1800, "yellow"), (3600, "red")],
        ),
    ]


def _table() -> Table:
    return rows(
        "Jobs",
        "The chosen jobs. A click on a name opens its board. A job's figures are there as long as the job is.",
        {"training_job": "Job", "namespace": "Namespace", "phase": "Phase"},
        Column("In phase", "none", job("ganger_job_phase", by="phase")),
        Column("Step", "none", job("ganger_job_step"), decimals=0),
        Column("Progress", "percentunit", job("ganger_job_progress_ratio"), decimals=1),
        Column("Loss", "none", job("ganger_job_loss"), decimals=4),
        Column("Finishes", "dateTimeFromNow", f"1000 * {job('ganger_job_eta_timestamp_seconds', bound='expected')}"),
        Column(
            "Checkpoint age",
            "s",
            f"{_SINCE_CHECKPOINT} and on ({JOB}) {in_phase(ALIVE)}",
            decimals=0,
        ),
        Column(
            "Restarts",
            "none",
            f"max by ({JOB}) (sum without (counted) (ganger_job_restarts_total{{{OF_JOB}}}))",
            colours=((None, "text"), (1, "yellow"), (5, "red")),
        ),
        Column(
            "Goodput",
            "percentunit",
            job("ganger_job_goodput_ratio"),
            colours=((None, "red"), (0.5, "yellow"), (0.7, "green")),
            decimals=1,
        ),
        links={"training_job": OPEN_JOB},
        hidden=("In phase",),
    )
