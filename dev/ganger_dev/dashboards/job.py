"""Board 2: one job, or a few side by side. How it learns, how fast, what holds it up, and what a failure would cost."""

from __future__ import annotations

from typing import Final

from ganger_dev.dashboards import job_pods
from ganger_dev.dashboards.board import Board, Mark, Panels, choice
from ganger_dev.dashboards.job_pods import DASHED, NAME
from ganger_dev.dashboards.panel import CAUSES, PHASES, Ask, lines, number
from ganger_dev.dashboards.promql import ALIVE, JOB, OF_JOB, OF_NAMESPACE, in_phase, job, rank

_RANK: Final = f"{NAME} rank {{{{rank}}}}"
_CHECKPOINT_AGE: Final = f"time() - {job('ganger_job_checkpoint_timestamp_seconds')}"


def board() -> Board:
    """Return the board."""
    return Board(
        uid="ganger-job",
        description="One training job: progress, loss, speed, goodput, checkpoints, ranks and GPUs.",
        since="now-3h",
        variables=[
            choice("namespace", "Namespace", "ganger_job_info"),
            # Without All: nobody wants ten thousand curves, and the first job is a better beginning.
            choice("training_job", "Training job", f"ganger_job_info{{{OF_NAMESPACE}}}", every=False),
        ],
        rows=[
            ("Now", _now()),
            ("Learning", _learning()),
            ("Speed", job_pods.speed()),
            ("Goodput", _goodput()),
            ("Checkpoints", _checkpoints()),
            ("Workers", job_pods.workers()),
            ("GPUs", job_pods.gpus()),
        ],
        marks=[
            Mark(
                "Restarts",
                _news("ganger_job_restarts_total", "counted"),
                "red",
                f"Restart of {NAME}",
                "training_job",
            ),
            # A switch above the board: a job saves every few minutes, and the marks would hide the curves.
            Mark(
                "Checkpoints",
                _news("ganger_job_checkpoint_step"),
                "blue",
                f"Checkpoint of {NAME}",
                "training_job",
                shown=False,
            ),
            Mark(
                "Live settings",
                _news("ganger_job_live_config_step", "name"),
                "purple",
                f"{NAME}: {{{{name}}}} changed",
                "training_job,name",
            ),
        ],
    )


def _news(metric: str, by: str = "") -> str:
    """Return more than zero where a value changed or came to be.

    The series are joined over operators before they are compared: the next leader brings series of its own, and what it
    says is no news.
    """
    now = job(metric, by=by)
    return f"({now} unless {now} == {job(metric, by=by, ago='$__interval')}) > 0"


def _now() -> Panels:
    return [
        number(
            "Phase",
            "What the job does now.",
            "none",
            Ask(job("ganger_job_phase", by="phase"), "{{phase}}"),
            width=3,
            named=True,
            colours=PHASES,
        ),
        number(
            "Progress",
            "Steps done over steps planned.",
            "percentunit",
            Ask(job("ganger_job_progress_ratio"), NAME),
            width=3,
            decimals=1,
        ),
        number(
            "Step", "Newest step that was reported.", "none", Ask(job("ganger_job_step"), NAME), width=3, decimals=0
        ),
        number(
            "Finishes",
            "When the last step is expected, from the recent pace.",
            "dateTimeFromNow",
            Ask(f"1000 * {job('ganger_job_eta_timestamp_seconds', bound='expected')}", NAME),
            width=3,
            otherwise="not known",
        ),
        number(
            "Loss", "Newest loss that was reported.", "none", Ask(job("ganger_job_loss"), NAME), width=3, decimals=4
        ),
        number(
            "Goodput",
            "Productive time over all time since creation.",
            "percentunit",
            Ask(job("ganger_job_goodput_ratio"), NAME),
            width=3,
            steps=[(None, "red"), (0.5, "yellow"), (0.7, "green")],
            decimals=1,
        ),
        number(
            "Checkpoint age",
            "What a failure now would cost: time since the newest checkpoint of a job that is not finished.",
            "s",
            Ask(f"{_CHECKPOINT_AGE} and on ({JOB}) {in_phase(ALIVE)}", NAME),
            width=3,
            steps=[(None, "green"), (1800, "yellow"), (3600, "red")],
            otherwise="none",
        ),
        number(
            "Newest failure",
            "Cause of the newest restart or failure, and the rank that failed first.",
            "none",
            Ask(
                # A failure of no rank in particular, such as a deleted pod, has none to name.
                f"label_replace(max by (reason, rank) ({job('ganger_job_failure_info', by='reason, rank')}),"
                ' "who", " of rank $1", "rank", "(.+)")',
                "{{reason}}{{who}}",
            ),
            width=3,
            named=True,
            steps=[(None, "orange")],
            otherwise="none",
        ),
    ]


def _learning() -> Panels:
    return [
        lines(
            "Loss",
            "Training loss as the job reports it; it stays when the pods are gone.",
            "none",
            Ask(job("ganger_job_loss"), NAME),
        ),
        lines(
            "Loss by rank",
            "Loss of each rank's share of the batch. Ranks that drift apart point at their data or their hardware.",
            "none",
            Ask(rank("ganger_train_loss"), _RANK),
        ),
        lines(
            "Metrics of the task",
            "Newest value of each metric that the task returns, evaluations first.",
            "none",
            Ask(job("ganger_job_metric", by="name"), f"{NAME} {{{{name}}}}"),
        ),
        lines(
            "Learning rate",
            "Learning rate of the first parameter group.",
            "none",
            Ask(rank("ganger_train_learning_rate", by=""), NAME),
        ),
        lines(
            "Gradient norm",
            "L2 norm of all gradients before clipping; the largest of all ranks.",
            "none",
            Ask(rank("ganger_train_gradient_norm", by=""), NAME),
        ),
        lines(
            "Progress",
            "Steps done over steps planned. It falls where a restart goes back to a checkpoint.",
            "percentunit",
            Ask(job("ganger_job_progress_ratio"), NAME),
            low=0,
            high=1,
        ),
    ]


def _goodput() -> Panels:
    worked = "ganger_train_seconds_total"
    return [
        lines(
            "Time since creation by cause",
            "The job's ledger: where its time went. The parts sum to the time since its creation.",
            "s",
            Ask(f"sum by (cause) ({job('ganger_job_seconds', by='cause')})", "{{cause}}"),
            stacked=True,
            colours=CAUSES,
            low=0,
        ),
        lines(
            "Goodput",
            "Productive time over all time since creation.",
            "percentunit",
            Ask(job("ganger_job_goodput_ratio"), NAME),
            low=0,
            high=1,
        ),
        lines(
            "What workers do",
            "Share of the time of the workers by cause, as they measure it themselves.",
            "percentunit",
            Ask(
                f"sum by (cause) (rate({worked}{{{OF_JOB}}}[$__rate_interval]))"
                f" / ignoring (cause) group_left () sum(rate({worked}{{{OF_JOB}}}[$__rate_interval]))",
                "{{cause}}",
            ),
            stacked=True,
            colours=CAUSES,
            low=0,
            high=1,
        ),
    ]


def _checkpoints() -> Panels:
    return [
        lines(
            "Age and planned interval",
            "Time since the newest checkpoint, and the planned time between two. An age far above the plan is a risk.",
            "s",
            Ask(_CHECKPOINT_AGE, f"{NAME} age"),
            Ask(job("ganger_job_checkpoint_interval_seconds"), f"{NAME} planned"),
            dashed=DASHED,
            low=0,
            width=6,
        ),
        lines(
            "Time of a save",
            "From the copy to the commit of the newest checkpoint.",
            "s",
            Ask(rank("ganger_train_checkpoint_seconds", by=""), NAME),
            low=0,
            width=6,
        ),
        lines(
            "Size",
            "Size of the newest checkpoint.",
            "bytes",
            Ask(job("ganger_job_checkpoint_bytes"), NAME),
            low=0,
            width=6,
        ),
        lines(
            "Failed saves",
            "Saves of the present attempt that the volume refused.",
            "none",
            Ask(job("ganger_job_checkpoint_failures"), NAME),
            low=0,
            width=6,
        ),
    ]
