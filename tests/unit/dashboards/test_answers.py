"""What Prometheus answers to the queries that are easy to get wrong, on a few samples each; asked of promtool."""

import json
import subprocess

import pytest

from ganger_dev.dashboards.queries import queries
from unit.alerts.conftest import promtool  # noqa: F401 - a fixture
from unit.dashboards.shipped import load

JOB = 'namespace="team", training_job="digits"'
WORKER = f'ganger_worker_info{{{JOB}, pod="digits-0-0", worker="0", node="n", instance="%s"}}'
HONOURED = 'DCGM_FI_DEV_GPU_UTIL{gpu="0", namespace="team", pod="digits-0-0"}'
RENAMED = (
    'DCGM_FI_DEV_GPU_UTIL{gpu="0", namespace="gpu-operator", pod="exporter-x",'
    ' exported_namespace="team", exported_pod="digits-0-0"}'
)
FREE = 'DCGM_FI_DEV_GPU_UTIL{gpu="1", namespace="gpu-operator", pod="exporter-x"}'
RUNNING = {f'ganger_job_phase{{{JOB}, phase="Running"}}': "1x200"}
SPENT = 'ganger_operator_job_seconds_total{namespace="team", cause="%s"}'
RESTARTS = 'ganger_operator_restarts_total{namespace="team", reason="NodeLost", counted="false", instance="%s"}'
CHECKPOINT = f'ganger_job_checkpoint_step{{{JOB}, instance="%s"}}'


def expr_of(board, panel, ref="A"):
    values = {"__rate_interval": "4m", "__interval": "4m", "__range": "1h"}
    (found,) = {one.expr for one in queries(load(board), values) if (one.panel, one.ref_id) == (panel, ref)}
    return found


def answer(promtool, folder, series, expr, minute, expected):  # noqa: F811 - the fixture, handed on
    """What promtool finds wrong with the expectation: nothing, or its report."""
    samples = [{"labels": f"{{{labels}}}", "value": value} for labels, value in expected.items()]
    asked = {"expr": expr, "eval_time": f"{minute}m", "exp_samples": samples}
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [asked],
    }
    path = folder / "test.yaml"
    path.write_text(json.dumps({"tests": [test]}))
    done = subprocess.run([promtool, "test", "rules", str(path)], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


CASES = {
    "a GPU finds its job where the scrape renamed its labels": (
        ("ganger-gpu", "Mean utilisation"), {WORKER % "a": "1x5", RENAMED: "40x5"}, 5, {"": 40},
    ),
    "a GPU finds its job where the scrape honoured its labels": (
        ("ganger-gpu", "Mean utilisation"), {WORKER % "a": "1x5", HONOURED: "40x5"}, 5, {"": 40},
    ),
    "while the lead passes, two operators speak of a worker and the join still holds": (
        ("ganger-gpu", "Mean utilisation"), {WORKER % "a": "1x5", WORKER % "b": "1x5", RENAMED: "40x5"}, 5, {"": 40},
    ),
    "a GPU in no pod is not of a job": (
        ("ganger-gpu", "GPUs of jobs"), {WORKER % "a": "1x5", RENAMED: "40x5", FREE: "0x5"}, 5, {"": 1},
    ),
    "and counts as another": (
        ("ganger-gpu", "Other GPUs"), {WORKER % "a": "1x5", RENAMED: "40x5", FREE: "0x5"}, 5, {"": 1},
    ),
    "without jobs every GPU is another": (("ganger-gpu", "Other GPUs"), {FREE: "0x5"}, 5, {"": 1}),
    "an idle share is of time, not of utilisation": (
        ("ganger-gpu", "Idle GPUs by job", "B"),
        {WORKER % "a": "1x61", RENAMED: "0x29 100x30"}, 59, {JOB: 0.5},
    ),
    "the first restart of a reason is seen though its counter is born with it": (
        ("ganger-fleet", "Restarts per hour by reason"), {RESTARTS % "a": "_x90 1x10"}, 95, {'reason="NodeLost"': 1},
    ),
    "an hour later it is over": (
        ("ganger-fleet", "Restarts per hour by reason"), {RESTARTS % "a": "_x90 1x100"}, 170, {},
    ),
    "no restart is counted twice": (
        ("ganger-fleet", "Restarts per hour by reason"),
        {RESTARTS % "a": "3x100", RESTARTS % "b": "_x90 2x10"}, 95, {'reason="NodeLost"': 2},
    ),
    "a new checkpoint makes a mark": (
        ("ganger-job", "Checkpoints", "Anno"), {CHECKPOINT % "a": "50x9 100x9"}, 11, {JOB: 100},
    ),
    "the first one too": (("ganger-job", "Checkpoints", "Anno"), {CHECKPOINT % "a": "_x9 100x9"}, 11, {JOB: 100}),
    "an old one makes none": (("ganger-job", "Checkpoints", "Anno"), {CHECKPOINT % "a": "50x9 100x20"}, 20, {}),
    "a change of leader makes none": (
        ("ganger-job", "Checkpoints", "Anno"),
        {CHECKPOINT % "a": "100x9 stale", CHECKPOINT % "b": "_x9 100x9"}, 11, {},
    ),
    "GPUs are ready as far as workers are": (
        ("ganger-fleet", "GPUs ready"),
        RUNNING | {f"ganger_job_gpus{{{JOB}}}": "8x5", f"ganger_job_workers_ready{{{JOB}}}": "1x5",
                   f"ganger_job_workers_wanted{{{JOB}}}": "4x5"}, 5, {"": 2},
    ),
    "a suspended job asks for none": (
        ("ganger-fleet", "GPUs asked for"),
        {f'ganger_job_phase{{{JOB}, phase="Suspended"}}': "1x5", f"ganger_job_gpus{{{JOB}}}": "8x5"}, 5, {"": 0},
    ),
    "lost time was productive before, and is taken off once": (
        ("ganger-fleet", "Goodput of the last hour"),
        {SPENT % "productive": "0+48x200", SPENT % "queued": "0+12x200", SPENT % "lost": "0+18x200"}, 120, {"": 0.5},
    ),
    "without losses too": (
        ("ganger-fleet", "Goodput of the last hour"), {SPENT % "productive": "0+60x200"}, 120, {"": 1},
    ),
    "a cause counts a job once, even one that was deleted": (
        ("ganger-fleet", "Jobs hit by each cause"),
        {f'ganger_job_failure_info{{{JOB}, reason="OOMKilled", rank="{rank}"}}': "_x10 1x10 stale" for rank in (0, 1)},
        60, {'reason="OOMKilled"': 1},
    ),
    "a job without restarts has none": (
        ("ganger-fleet", "Jobs", "G"),
        {f'ganger_job_restarts_total{{{JOB}, counted="{counted}"}}': "0x5" for counted in ("true", "false")},
        5, {JOB: 0},
    ),
    "only running jobs have a checkpoint at risk": (
        ("ganger-fleet", "Oldest checkpoints"),
        RUNNING | {f"ganger_job_checkpoint_timestamp_seconds{{{JOB}}}": "0x5",
                   'ganger_job_checkpoint_timestamp_seconds{namespace="team", training_job="done"}': "0x5",
                   'ganger_job_phase{namespace="team", training_job="done", phase="Complete"}': "1x5"},
        5, {JOB: 300},
    ),
    "no job at all is a zero, not an empty panel": (("ganger-fleet", "Running"), {}, 5, {"": 0}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_prometheus_answers(promtool, tmp_path, case):  # noqa: F811
    asked, series, minute, expected = CASES[case]

    assert "" == answer(promtool, tmp_path, series, expr_of(*asked), minute, expected)


def test_a_wrong_answer_is_reported(promtool, tmp_path):  # noqa: F811
    assert "expr" in answer(promtool, tmp_path, {"a": "1x5"}, "a", 5, {'__name__="a"': 2})
