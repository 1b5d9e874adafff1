"""Commands that read and change jobs, with a fake cluster: what they print, change and refuse."""

import asyncio
import json
import sys

import pytest
import yaml

from builders import at
from ganger.cli import main
from ganger.cli.problem import Code
from ganger.kube.errors import ServerError

PROGRESS = {"step": 50, "totalSteps": 200, "percent": "25%", "epoch": 1, "loss": "0.5", "samplesPerSecond": 1234.5}
ETA = {
    "etaTime": at(180).isoformat(),
    "etaEarliestTime": at(176).isoformat(),
    "etaLatestTime": at(300).isoformat(),
}


def test_list_prints_the_columns_of_kubectl_and_three_more(ganger):
    ganger.job(
        "b",
        Running="Test",
        phase="Running",
        workers="2/2",
        progress=PROGRESS | ETA,
        restarts={"total": 1},
        goodput={"ratio": 0.75},
    )
    ganger.job("a")

    said = ganger("list")

    assert [
        "NAME   PHASE     WORKERS   STEP     PROGRESS   LOSS   RESTARTS   AGE   ETA   SAMPLES/S   GOODPUT",
        "a      Pending   0/2                                  0          60s",
        "b      Running   2/2       50/200   25%        0.5    1          60s   2m    1234        75%",
    ] == said.out.splitlines()


def test_the_wide_list_is_that_of_kubectl(ganger):
    ganger.job("b", Running="Test", phase="Running", workers="2/2", progress=PROGRESS | ETA, goodput={"ratio": 0.75})

    header, row = ganger("list", "-o", "wide").out.splitlines()
    assert ["AGE", "ETA", "CHECKPOINT", "QUEUE", "IMAGE", "MESSAGE"] == header.split()[-6:]
    assert ["b", "Running", "2/2", "50/200", "25%", "0.5", "0", "60s", "2m"] == row.split()


def test_list_gives_scripts_json_yaml_and_names(ganger):
    ganger.job("a")

    assert ["a"] == [item["metadata"]["name"] for item in json.loads(ganger("list", "-o", "json").out)["items"]]
    assert "a" == yaml.safe_load(ganger("list", "-o", "yaml").out)["items"][0]["metadata"]["name"]
    assert "trainingjob.ganger.dev/a\n" == ganger("list", "-o", "name").out


def test_a_job_of_a_newer_operator_is_listed_with_what_is_known(ganger):
    ganger.job("new", spec={"workers": "many"})

    said = ganger("list", "--no-headers")

    assert ["new", "?", "60s"] == said.out.split()
    assert "upgrade ganger" in ganger("status", "new").problem[2]


def test_an_empty_namespace_is_a_message_and_no_data(ganger):
    said = ganger("list")

    assert (0, "", "no jobs in namespace team; 'ganger submit -f job.yaml' starts one\n") == (
        said.code,
        said.out,
        said.err,
    )


def test_status_tells_the_progress_the_cause_and_the_next_commands(ganger):
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    waits = {"type": "PodsReady", "status": "False", "reason": "Unschedulable"}
    ganger.job(phase="Pending", message="no node fits", conditions=[waits])
    pod = ganger.pod(0, phase="Pending")
    pod["status"]["conditions"] = [condition | {"message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."}]
    pod["status"]["containerStatuses"] = []
    ganger.cluster.put("pods", pod)

    said = ganger("status", "digits")

    assert 0 == said.code, said.err
    assert "Hint        no node has enough free nvidia.com/gpu" in said.out
    assert (
        "Next        ganger watch digits -n team | ganger logs -f digits -n team | ganger wait digits -n team"
        in said.out
    )


def test_status_of_a_running_job_tells_figures_and_events(ganger):
    ganger.job(Running="Test", phase="Running", workers="2/2", progress=PROGRESS)
    ganger.pod(0)
    event = {
        "metadata": {"name": "digits.1"},
        "involvedObject": {"kind": "TrainingJob", "name": "digits"},
        "reason": "Running",
        "message": "all workers run \x1b[2J",
        "lastTimestamp": "2026-01-01T12:00:30Z",
    }
    ganger.cluster.put("events", event)

    said = ganger("status", "digits")

    assert "digits is running: step 50 of 200 (25%), loss 0.5" == said.out.splitlines()[0]
    assert "step 50/200 (25%), epoch 1, loss 0.5, 1234 samples/s" in said.out
    assert "all workers run \\x1b[2J" in said.out


def test_status_tells_when_the_job_ends_where_its_time_went_and_what_failed_last(ganger):
    last = {
        "attempt": 0,
        "reason": "OOMKilled",
        "rank": 3,
        "pod": "digits-0-1",
        "node": "node-2",
        "exitCode": 137,
        "message": "too big",
        "time": at(20).isoformat(),
        "lastLines": ["Traceback", "RuntimeError: \x1b]0;x\x07"],
    }
    ganger.job(
        Running="Test",
        spec={"checkpoint": {"volume": {"size": "1Gi"}, "everySteps": 10}},
        progress=PROGRESS | ETA,
        checkpoint={"latestStep": 40, "latestTime": at(55).isoformat()},
        restarts={"total": 1, "counted": 1, "last": last},
        goodput={"ratio": 0.5, "seconds": {"productive": 30, "image": 20, "lost": 10}, "lostSteps": 12},
    )

    lines = [line[12:] for line in ganger("status", "digits").out.splitlines()]

    assert "done in 2 min, between 2 and 4 (8 times in 10)" in lines
    assert "step 40, 5s ago, claim digits-checkpoints (missing)" in lines
    assert [
        "50% of 60s went into steps that count",
        "the rest: image 20s, lost 10s",
        "12 steps were lost to failures and rollbacks",
        "1, of which 1 counted (at most 3)",
        "last: OOMKilled, exit 137, rank 3 in digits-0-1 on node-2, 40s ago (attempt 0)",
        "      too big",
        "      | Traceback",
        "      | RuntimeError: \\x1b]0;x\\x07",
    ] == lines[lines.index("50% of 60s went into steps that count") :][:8]


def test_a_job_that_is_not_there_is_three_lines_and_code_3(ganger):
    said = ganger("status", "nothing")

    assert 3 == said.code
    assert [
        "error: reading job nothing in namespace team failed",
        '  why: trainingjobs.ganger.dev "nothing" not found',
        "  fix: 'ganger list -A' shows the jobs of every namespace",
    ] == said.problem


def test_suspend_writes_one_field_once(ganger):
    ganger.job()

    assert "digits suspended\n" == ganger("suspend", "digits").out
    assert "digits is suspended already\n" == ganger("suspend", "tj/digits").out
    assert ['patch {"spec": {"suspend": true}} digits'] == ganger.cluster.writes


@pytest.mark.parametrize(
    "spec, status, told",
    [
        ({}, {}, "it keeps no checkpoints (spec.checkpoint is not set), so it will start at step 0"),
        ({"checkpoint": {"everySteps": 10}}, {}, "it saves a checkpoint and stops"),
        (
            {"checkpoint": {"everySteps": 10}},
            {"checkpoint": {"latestStep": 40}},
            "it saves a checkpoint (the newest so far is of step 40) and stops",
        ),
    ],
)
def test_suspend_says_what_is_kept(ganger, spec, status, told):
    ganger.job(spec=spec, Running="Test", **status)

    assert f"{told}; go on with: ganger resume digits -n team\n" == ganger("suspend", "digits").err


def test_resume_of_a_job_in_a_queue_says_who_decides(ganger):
    job = ganger.job(spec={"suspend": True})
    job["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "team-a"}
    ganger.cluster.put("trainingjobs", job)

    assert "its queue decides when it starts" in ganger("resume", "digits").err


@pytest.mark.parametrize("condition, word", [("Complete", "complete"), ("Failed", "failed")])
def test_a_finished_job_is_neither_suspended_nor_resumed(ganger, condition, word):
    ganger.job(**{condition: "Test"})

    said = ganger("suspend", "digits")

    assert 2 == said.code
    assert f"  why: it is {word}, and that is final" in said.problem
    assert [] == ganger.cluster.writes


def test_delete_says_what_stays(ganger):
    ganger.job(spec={"checkpoint": {"volume": {"size": "1Gi"}, "everySteps": 10}})

    said = ganger("delete", "digits", "-y")

    assert (0, "digits deleted\n") == (said.code, said.out)
    assert "claim digits-checkpoints and its checkpoints stay; a job of the same name goes on from them\n" == said.err
    assert ["delete digits digits-uid"] == ganger.cluster.writes


def test_delete_without_a_terminal_asks_nobody_and_deletes_nothing(ganger):
    ganger.job()

    said = ganger("delete", "digits")

    assert 2 == said.code
    assert 3 == len(said.problem)
    assert [] == ganger.cluster.writes


@pytest.mark.parametrize(
    "condition, goal, code",
    [
        ("Complete", "complete", Code.COMPLETE),
        ("Failed", "complete", Code.FAILED),
        ("Failed", "failed", Code.COMPLETE),
        ("Complete", "failed", Code.FAILED),
        ("Complete", "running", Code.COMPLETE),
        ("Running", "running", Code.COMPLETE),
    ],
)
def test_wait_sees_the_change_and_its_code_mirrors_it(ganger, condition, goal, code):
    ganger.job()

    async def scenario():
        await asyncio.sleep(0.01)
        ganger.job(phase="Running", **{condition: "Test"})

    ganger.scenario = scenario

    assert code == ganger("wait", "digits", "--for", goal).code


def test_wait_tells_a_job_that_was_deleted_and_a_time_that_is_over(ganger):
    ganger.job()

    async def scenario():
        await asyncio.sleep(0.01)
        ganger.cluster.take("trainingjobs", "digits")

    ganger.scenario = scenario
    assert "error: job digits was deleted before it was complete" == ganger("wait", "digits").problem[0]

    ganger.scenario = None
    ganger.job()
    said = ganger("wait", "digits", "--timeout", "0s")
    assert 4 == said.code
    assert "  fix: 'ganger status digits' tells what it waits for" in said.problem


@pytest.mark.parametrize("text", ["A", "a_b", "-a", "a" * 254, "a b", "../x"])
def test_a_name_that_kubernetes_would_refuse_never_reaches_it(ganger, text):
    said = ganger("status", "--", text)

    assert 2 == said.code
    assert "is no name of Kubernetes" in said.err


def test_colours_are_a_matter_of_the_terminal_and_of_the_environment(ganger):
    ganger.job(Running="Test", phase="Running")

    assert "\x1b" not in ganger("list").out
    ganger.environ = {"FORCE_COLOR": "1"}
    assert "\x1b[32mRunning\x1b[0m" in ganger("list").out
    ganger.environ = {"FORCE_COLOR": "1", "NO_COLOR": "1"}
    assert "\x1b" not in ganger("list").out


def test_an_error_that_nobody_foresaw_is_three_lines_and_a_traceback_only_with_debug(ganger, monkeypatch):
    ganger.job()
    monkeypatch.setattr("ganger.cli.report.page", lambda seen: 1 / 0)

    said = ganger("status", "digits")
    assert [
        "error: ganger itself failed",
        "  why: ZeroDivisionError: division by zero",
        "  fix: run it again with --debug and report what it shows",
    ] == said.problem
    assert "Traceback" not in said.err
    assert "Traceback" in ganger("status", "digits", "--debug").err


def test_a_server_in_trouble_is_told_as_such(ganger):
    ganger.job()
    ganger.cluster.refusal = ServerError(500, "InternalError", "etcdserver: leader changed")

    said = ganger("suspend", "digits")

    assert 5 == said.code
    assert "  fix: the API server has trouble: try again in a moment" in said.problem


def test_a_reader_that_hangs_up_is_no_error(ganger, monkeypatch):
    ganger.job()

    def closed(*_):
        raise BrokenPipeError

    monkeypatch.setattr("ganger.cli.terminal.Terminal.data", closed)
    monkeypatch.setattr("os.dup2", lambda *_: None)
    monkeypatch.setattr(sys.stdout, "fileno", lambda: 1, raising=False)

    assert main.PIPE_CLOSED == ganger("list").code
