"""The rows of board 2 that pods measure: how fast the job is, which rank holds it up, and what its GPUs do."""

from __future__ import annotations

from typing import Final

from ganger_dev.dashboards.board import Panels
from ganger_dev.dashboards.panel import Ask, Column, lines, rows
from ganger_dev.dashboards.promql import JOB, OF_JOB, job, rank, rank_rate

NAME: Final = "{{namespace}}/{{training_job}}"
DASHED: Final = ("/ (earliest|latest|planned|wanted)$/",)
_RANK: Final = f"{NAME} rank {{{{rank}}}}"
_STEPS: Final = "ganger_train_step_seconds"


def speed() -> Panels:
    """Return the row about pace, time left and what limits the pace."""

    def left(bound: str) -> Ask:
        return Ask(f"{job('ganger_job_eta_timestamp_seconds', bound=bound)} - time()", f"{NAME} {bound}")

    return [
        lines(
            "Time left",
            "Until the last step: as expected, and between what bounds four out of five jobs end.",
            "s",
            left("earliest"),
            left("expected"),
            left("latest"),
            dashed=DASHED,
            low=0,
        ),
        lines(
            "Samples per second",
            "Samples of all ranks per second.",
            "short",
            Ask(job("ganger_job_samples_per_second"), NAME),
            low=0,
        ),
        lines(
            "Tokens per second",
            "Tokens of all ranks per second, where the task says how many a sample has.",
            "short",
            Ask(rank_rate("ganger_train_tokens_total", by=""), NAME),
            low=0,
        ),
        lines(
            "Step time",
            "Wall time from step to step over all ranks.",
            "s",
            *(
                Ask(f"histogram_quantile({q}, {rank_rate(f'{_STEPS}_bucket', by='le')})", f"{NAME} p{round(100 * q)}")
                for q in (0.5, 0.95)
            ),
            low=0,
        ),
        lines(
            "Waiting for data",
            "Share of the time that the loop waits for its next batch. Above a few per cent the loader limits the job.",
            "percentunit",
            Ask(
                f"{rank_rate('ganger_train_data_wait_seconds_total', by='')} / {rank_rate(f'{_STEPS}_sum', by='')}",
                NAME,
            ),
            low=0,
        ),
        lines(
            "Model flops utilisation",
            "Flops of the model over the peak of the device, mean of all ranks; where the task tells its flops.",
            "percentunit",
            Ask(f"avg by ({JOB}) (ganger_train_mfu_ratio{{{OF_JOB}}})", NAME),
            low=0,
        ),
    ]


def workers() -> Panels:
    """Return the row about the gang: who is there, who is slow, what was restarted and changed."""
    return [
        lines(
            "Workers",
            "Workers that are ready, and those that the job wants. Training needs all of them.",
            "none",
            Ask(job("ganger_job_workers_ready"), f"{NAME} ready"),
            Ask(job("ganger_job_workers_wanted"), f"{NAME} wanted"),
            dashed=DASHED,
            low=0,
        ),
        lines(
            "Step time by rank",
            "Mean time of a step of each rank. Ranks wait for the slowest: see too which of them waits for data.",
            "s",
            Ask(f"{rank_rate(f'{_STEPS}_sum')} / {rank_rate(f'{_STEPS}_count')}", _RANK),
            low=0,
        ),
        lines(
            "Waiting for data by rank",
            "Share of the time that each rank waits for its next batch. The rank that stands out holds up the others.",
            "percentunit",
            Ask(f"{rank_rate('ganger_train_data_wait_seconds_total')} / {rank_rate(f'{_STEPS}_sum')}", _RANK),
            low=0,
        ),
        lines(
            "Spread of step times",
            "Slowest less fastest rank, over the mean of all: 0 is a gang in step.",
            "percentunit",
            Ask(_spread(), NAME),
            low=0,
        ),
        lines(
            "Restarts",
            "Restarts so far: those that count towards the limit, and those of which the job is innocent.",
            "none",
            Ask(job("ganger_job_restarts_total", by="counted", counted="true"), f"{NAME} counted"),
            Ask(job("ganger_job_restarts_total", by="counted", counted="false"), f"{NAME} not counted"),
            low=0,
        ),
        rows(
            "Live settings",
            "Settings that were changed while the job trains, and the step from which each holds.",
            {"training_job": "Job", "name": "Setting"},
            Column("Since step", "none", job("ganger_job_live_config_step", by="name"), decimals=0),
            left_out=("namespace",),
            width=8,
            height=8,
        ),
    ]


def _spread() -> str:
    mean = f"({rank_rate(f'{_STEPS}_sum')} / {rank_rate(f'{_STEPS}_count')})"
    return f"(max by ({JOB}) {mean} - min by ({JOB}) {mean}) / avg by ({JOB}) {mean}"


def gpus() -> Panels:
    """Return the row about the GPUs as the pods see them."""
    gpu = "pod, gpu"
    used, there = (rank(f"ganger_train_gpu_memory_{kind}_bytes", by=gpu) for kind in ("used", "total"))
    name = "{{pod}} GPU {{gpu}}"
    return [
        lines(
            "Utilisation",
            "Part of the time in which a kernel ran, for each GPU of the pods; where the driver's library is there.",
            "percentunit",
            Ask(rank("ganger_train_gpu_utilization_ratio", by=gpu), name),
            low=0,
            high=1,
            width=6,
        ),
        lines(
            "Memory of tensors",
            "GPU memory allocated by tensors of each rank, and its peak in this attempt.",
            "bytes",
            Ask(rank("ganger_train_gpu_memory_bytes"), f"{_RANK} now"),
            Ask(rank("ganger_train_gpu_memory_peak_bytes"), f"{_RANK} peak"),
            low=0,
            width=6,
        ),
        lines(
            "Memory in use",
            "Share of the memory of each GPU that is in use, by whomever.",
            "percentunit",
            Ask(f"{used} / {there}", name),
            low=0,
            high=1,
            width=6,
        ),
        lines(
            "Power",
            "Power that each GPU draws. It falls before utilisation does when a GPU only waits.",
            "watt",
            Ask(rank("ganger_train_gpu_power_watts", by=gpu), name),
            low=0,
            width=6,
        ),
    ]
