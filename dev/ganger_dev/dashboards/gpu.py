"""Board 4: what the GPUs of jobs do, as NVIDIA's dcgm-exporter sees them."""

from __future__ import annotations

from typing import Final

from ganger_dev.dashboards.board import Board, Panels, choice
from ganger_dev.dashboards.panel import OPEN_JOB, Ask, Column, lines, note, number, rows
from ganger_dev.dashboards.promql import JOB, OF_JOB, OF_NAMESPACE

_NAME: Final = "{{namespace}}/{{training_job}} worker {{worker}} GPU {{gpu}}"
_MIB: Final = 1 << 20
_IDLE_PERCENT: Final = 5
_UTIL: Final = "DCGM_FI_DEV_GPU_UTIL"
_TENSOR: Final = "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE"
_HELP: Final = """\
Everything here comes from NVIDIA's dcgm-exporter, which the GPU Operator runs on each GPU node. It says in which pod a
GPU is; `ganger_worker_info` of the operator says whose pod that is.

- **All panels are empty**: Prometheus does not scrape the exporter, or `DCGM_EXPORTER_KUBERNETES` is not `true` for it.
- **Tensor cores alone are empty**: it collects no profiling counters (`dcp-metrics-included.csv` has them).
- **GPUs are missing**: those in no pod of a chosen job are counted in the first row and not shown.
"""


def of_workers(series: str) -> str:
    """Return `series` of dcgm-exporter for the GPUs of chosen jobs, with labels `training_job` and `worker`.

    The exporter labels a GPU with the `namespace` and `pod` that use it. A scrape without honorLabels, as that of the
    GPU Operator, renames them to `exported_namespace` and `exported_pod` and puts the exporter's own in their place; a
    scrape with honorLabels keeps them. Both are served: the renamed ones go first where they exist.
    """
    named = series
    for label in ("namespace", "pod"):
        named = f'label_replace({named}, "{label}", "$1", "exported_{label}", "(.+)")'
    workers = f"max by ({JOB}, pod, worker) (ganger_worker_info{{{OF_JOB}}})"
    return f"{named} * on (namespace, pod) group_left (training_job, worker) {workers}"


def board() -> Board:
    """Return the board."""
    return Board(
        uid="ganger-gpu",
        description="GPUs of training jobs: use, tensor cores, memory, power, heat and errors, from dcgm-exporter.",
        since="now-3h",
        variables=[
            choice("namespace", "Namespace", "ganger_worker_info"),
            choice("training_job", "Training job", f"ganger_worker_info{{{OF_NAMESPACE}}}"),
        ],
        rows=[
            ("Now", _now()),
            ("Work", _work()),
            ("Memory, power and heat", _state()),
            ("Idle and faulty GPUs", _trouble()),
            ("Where the figures come from", [note("Figures of this board", "What must run for them.", _HELP)]),
        ],
    )


def _now() -> Panels:
    return [
        number(
            "GPUs of jobs", "GPUs in pods of the chosen jobs.", "none", Ask(f"count({of_workers(_UTIL)}) or vector(0)")
        ),
        number(
            "Other GPUs",
            "GPUs that the exporter sees in no pod of a chosen job: free, or in other use.",
            "none",
            Ask(f"count({_UTIL}) - (count({of_workers(_UTIL)}) or vector(0))"),
        ),
        number(
            "Mean utilisation",
            "Part of the time in which a kernel ran, mean of all GPUs of the chosen jobs.",
            "percent",
            Ask(f"avg({of_workers(_UTIL)})"),
            steps=[(None, "red"), (30, "yellow"), (70, "green")],
            decimals=0,
        ),
        number(
            "Tensor cores",
            "Part of the time in which tensor cores worked, mean of all GPUs of the chosen jobs.",
            "percentunit",
            Ask(f"avg({of_workers(_TENSOR)})"),
            decimals=1,
        ),
        number(
            "Power",
            "Power of all GPUs of the chosen jobs.",
            "watt",
            Ask(f"sum({of_workers('DCGM_FI_DEV_POWER_USAGE')})"),
        ),
        number(
            "Hottest GPU",
            "Temperature of the hottest GPU of the chosen jobs.",
            "celsius",
            Ask(f"max({of_workers('DCGM_FI_DEV_GPU_TEMP')})"),
            steps=[(None, "green"), (80, "yellow"), (87, "red")],
            decimals=0,
        ),
    ]


def _work() -> Panels:
    return [
        lines(
            "Utilisation",
            "Part of the time in which a kernel ran. 100 % says that a GPU was busy, not that it was used well.",
            "percent",
            Ask(of_workers(_UTIL), _NAME),
            low=0,
            high=100,
        ),
        lines(
            "Tensor cores",
            "Part of the time in which tensor cores worked: what matrix products get out of the GPU.",
            "percentunit",
            Ask(of_workers(_TENSOR), _NAME),
            low=0,
            high=1,
        ),
        lines(
            "Clock",
            "Clock of the multiprocessors. It falls when heat or power limits the GPU.",
            "hertz",
            Ask(f"1e6 * {of_workers('DCGM_FI_DEV_SM_CLOCK')}", _NAME),
            low=0,
        ),
    ]


def _state() -> Panels:
    used, free = of_workers("DCGM_FI_DEV_FB_USED"), of_workers("DCGM_FI_DEV_FB_FREE")
    return [
        lines("Memory in use", "Memory in use on each GPU.", "bytes", Ask(f"{_MIB} * {used}", _NAME), low=0, width=6),
        lines("Memory free", "Memory left on each GPU.", "bytes", Ask(f"{_MIB} * {free}", _NAME), low=0, width=6),
        lines(
            "Power",
            "Power that each GPU draws. It falls before utilisation does when a GPU only waits for others.",
            "watt",
            Ask(of_workers("DCGM_FI_DEV_POWER_USAGE"), _NAME),
            low=0,
            width=6,
        ),
        lines(
            "Temperature",
            "Temperature of each GPU.",
            "celsius",
            Ask(of_workers("DCGM_FI_DEV_GPU_TEMP"), _NAME),
            width=6,
        ),
    ]


def _trouble() -> Panels:
    def of_jobs(series: str) -> str:
        return f"avg by ({JOB}) ({of_workers(series)})"

    return [
        rows(
            "Idle GPUs by job",
            f"Over the time range shown. A GPU is idle while its utilisation is below {_IDLE_PERCENT} %.",
            {"training_job": "Job", "namespace": "Namespace"},
            Column("GPUs", "none", f"count by ({JOB}) ({of_workers(_UTIL)})", decimals=0),
            Column(
                "Idle",
                "percentunit",
                of_jobs(f"avg_over_time(({_UTIL} < bool {_IDLE_PERCENT})[$__range:1m])"),
                colours=((None, "green"), (0.1, "yellow"), (0.3, "red")),
                decimals=0,
            ),
            Column("Utilisation", "percent", of_jobs(f"avg_over_time({_UTIL}[$__range])"), decimals=0),
            Column("Tensor cores", "percentunit", of_jobs(f"avg_over_time({_TENSOR}[$__range])"), decimals=1),
            Column("Power of a GPU", "watt", of_jobs("avg_over_time(DCGM_FI_DEV_POWER_USAGE[$__range])"), decimals=0),
            links={"training_job": OPEN_JOB},
            height=8,
        ),
        rows(
            "XID errors",
            "GPUs whose newest XID error is not 0. NVIDIA's list of XID errors says which are the program's fault.",
            {"training_job": "Job", "namespace": "Namespace", "worker": "Worker", "gpu": "GPU"},
            Column(
                "XID",
                "none",
                f"max by ({JOB}, worker, gpu) ({of_workers('DCGM_FI_DEV_XID_ERRORS')}) > 0",
                colours=((None, "red"),),
                decimals=0,
            ),
            links={"training_job": OPEN_JOB},
            height=6,
        ),
    ]
