"""The Python client: what it returns, what it raises, and that it leaves no thread behind."""

import asyncio
import io
import subprocess
import sys
import tarfile
import threading
import time
from datetime import UTC, datetime

import pytest

from ganger import Client, Code, LogLine, Problem, TrainingJob
from ganger.api.types import decode
from ganger.contract import ANNOTATION_STACKS
from shells import installed

SOUND = {
    "apiVersion": "ganger.dev/v1alpha1",
    "kind": "TrainingJob",
    "metadata": {"name": "digits"},
    "spec": {"task": "m:t", "workers": 2},
}


def stamped(second: int, text: str) -> str:
    return f"2026-01-01T12:00:{second:02d}.5Z {text}\n"


def test_a_manifest_is_a_path_a_dictionary_or_a_job(manifest):
    path = manifest()

    for given in (path, SOUND, decode(SOUND)):
        job = Client.validate(given)
        assert ("digits", 2) == (job.metadata.name, job.spec.workers)


def test_every_mistake_is_in_one_problem_with_its_line(manifest):
    with pytest.raises(Problem) as caught:
        Client.validate(manifest(workers="nodes"))

    assert Code.USAGE == caught.value.code
    assert "job.yaml:7: spec.nodes: unknown field; use 'workers'" in caught.value.why
    assert str(caught.value) == f"the manifest is not valid; {caught.value.why}; correct what is named"


@pytest.mark.parametrize("given", [{"spec": object()}, {"metadata": {"name": "x"}}, "nowhere.yaml", "/"])
def test_what_is_no_manifest_is_a_problem_too(given):
    with pytest.raises(Problem):
        Client.validate(given)


def test_the_objects_of_a_job_are_those_of_the_operator():
    kinds = [one["kind"] for one in Client.render(SOUND, namespace="vision")]

    assert ["Service", "Pod", "Pod"] == kinds


def test_a_job_is_submitted_read_changed_and_deleted(client, ganger):
    submitted = client.submit(SOUND)

    assert isinstance(submitted, TrainingJob)
    assert ("team", "digits") == (client.namespace, submitted.metadata.name)
    assert ["digits"] == [job.metadata.name for job in client.list()]
    client.suspend("digits")
    client.suspend("digits")
    assert client.get("digits").spec.suspend
    client.resume("digits")
    client.delete("digits")
    assert [] == client.list()
    assert [
        "create digits",
        'patch {"spec": {"suspend": true}} digits',
        'patch {"spec": {"suspend": false}} digits',
        "delete digits digits-uid",
    ] == ganger.cluster.writes


def test_a_taken_name_and_a_missing_job_are_problems_with_their_codes(client, ganger):
    ganger.job()

    with pytest.raises(Problem, match="already exists") as taken:
        client.submit(SOUND)
    with pytest.raises(Problem, match="other") as missing:
        client.get("other")

    assert (Code.USAGE, Code.NOT_FOUND) == (taken.value.code, missing.value.code)
    assert "digits" == client.submit(SOUND, if_exists="skip").metadata.name


def test_what_a_job_reports_is_typed(client, ganger):
    ganger.job(
        Running="Test",
        phase="Running",
        progress={"step": 5, "totalSteps": 10, "loss": "0.5"},
        checkpoint={"latestStep": 4, "bytes": 7},
    )

    assert "Running" == client.status("digits").phase
    assert {"step": 5, "totalSteps": 10, "loss": 0.5} == client.metrics("digits")
    assert (4, 7) == (client.checkpoint("digits").latest_step, client.checkpoint("digits").bytes)
    assert client.describe("digits").startswith("digits is running: step 5 of 10")


def test_logs_are_lines_with_worker_and_time(client, ganger):
    ganger.job(Running="Test")
    for worker in (0, 1):
        ganger.pod(worker)
    ganger.logs.pods = {"digits-0-0": [stamped(1, "a"), stamped(3, "c")], "digits-0-1": [stamped(2, "b")]}

    found = list(client.logs("digits"))

    assert ["a", "b", "c"] == [line.text for line in found]
    assert LogLine(1, "b", datetime(2026, 1, 1, 12, 0, 2, 500_000, tzinfo=UTC)) == found[1]
    assert ["b"] == [line.text for line in client.logs("digits", worker=1)]
    with pytest.raises(Problem, match="no worker 7"):
        list(client.logs("digits", worker=7))


def test_followed_logs_go_on_through_a_restart_to_the_end_of_the_job(client, ganger):
    ganger.job(Running="Test")
    ganger.pod(0)
    ganger.logs.pods = {"digits-0-0": [stamped(1, "first")], "digits-1-0": [stamped(3, "second")]}

    async def scenario():
        await asyncio.sleep(0.02)
        ganger.pod(0, phase="Failed")
        ganger.job(phase="Restarting", attempt=1)
        ganger.pod(0, attempt=1)
        await asyncio.sleep(0.02)
        ganger.pod(0, attempt=1, phase="Succeeded")
        ganger.job(Complete="Test", attempt=1)

    ganger.scenario = scenario

    assert ["first", "second"] == [line.text for line in client.logs("digits", follow=True)]


def test_followed_logs_can_be_left_at_any_line(client, ganger):
    ganger.job(Running="Test")
    ganger.pod(0)
    ganger.logs.pods = {"digits-0-0": [stamped(1, f"line {number}") for number in range(5000)]}

    found = client.logs("digits", follow=True)

    assert "line 0" == next(found).text
    found.close()
    assert "digits" == client.get("digits").metadata.name


@pytest.mark.parametrize("condition, goal", [("Complete", "complete"), ("Failed", "failed"), ("Running", "running")])
def test_waiting_returns_the_job_that_is_there(client, ganger, condition, goal):
    ganger.job()

    async def scenario():
        await asyncio.sleep(0.02)
        ganger.job(**{condition: "Test"})

    ganger.scenario = scenario

    assert client.wait("digits", goal, seconds=20).status.is_true(condition)


def test_a_job_that_ends_otherwise_a_time_that_is_over_and_no_goal_are_problems(client, ganger):
    ganger.job("failed", Failed="Test")
    ganger.job("slow", Running="Test")

    codes = []
    for call in (
        lambda: client.wait("failed"),
        lambda: client.wait("slow", seconds=0.05),
        lambda: client.wait("slow", "soon"),
        lambda: client.wait("nobody"),
    ):
        with pytest.raises(Problem) as caught:
            call()
        codes.append(caught.value.code)

    assert [Code.FAILED, Code.TIMEOUT, Code.USAGE, Code.NOT_FOUND] == codes


def test_a_job_is_watched_until_it_is_over(client, ganger):
    ganger.job(phase="Pending")

    async def scenario():
        await asyncio.sleep(0.02)
        ganger.job(Running="Test", phase="Running")
        await asyncio.sleep(0.02)
        ganger.job(Complete="Test", phase="Complete")

    ganger.scenario = scenario

    assert ["Pending", "Running", "Complete"] == [job.status.phase for job in client.watch("digits")]


def test_settings_change_while_it_trains_and_wait_for_their_step(client, ganger):
    ganger.job(Running="Test", phase="Running")

    client.set("digits", {"lr": 1e-4})
    assert ['patch {"spec": {"liveConfig": {"lr": 0.0001}}} digits'] == ganger.cluster.writes
    for wrong in ({"lr": {}}, {"lr": float("nan")}, {"a b": 1}, {"lr": object()}):
        with pytest.raises(Problem):
            client.set("digits", wrong)


def test_a_checkpoint_is_asked_for_and_waited_for(client, ganger):
    spec = {"checkpoint": {"volume": {"size": "1Gi"}, "everySteps": 10}}
    ganger.job(spec=spec, Running="Test", phase="Running", metadata={})
    ganger.pod(0)
    ganger.cluster.objects["pods", "digits-0-0"]["metadata"]["annotations"] = {"ganger.dev/control-ca": "x"}
    ganger.cluster.objects["trainingjobs", "digits"]["metadata"]["annotations"] = {}

    def save():
        time.sleep(0.05)
        ganger.job(spec=spec, Running="Test", checkpoint={"latestStep": 7, "latestTime": ganger.now.isoformat()})

    thread = threading.Thread(target=save)
    thread.start()
    job = client.request_checkpoint("digits", wait=True, seconds=20)
    thread.join()

    assert 7 == job.status.checkpoint.latest_step


def test_the_stacks_of_every_worker_are_asked_for(client, ganger):
    ganger.job(Running="Test")

    client.request_stacks("digits")

    (written,) = ganger.cluster.writes
    assert f'"{ANNOTATION_STACKS}": "2026-01-01T12:01:00Z"' in written


def test_a_failed_job_is_made_anew_and_one_that_has_not_failed_is_not(client, ganger):
    ganger.job(Failed="Test")
    ganger.job("running", Running="Test")

    assert () == client.retry("digits").status.conditions
    assert ["delete digits digits-uid", "create digits"] == ganger.cluster.writes
    with pytest.raises(Problem, match="it has not failed"):
        client.retry("running")


def test_files_of_a_job_come_here_and_go_back(client, ganger, tmp_path):
    ganger.job(spec={"checkpoint": {"volume": {"size": "1Gi"}, "everySteps": 10}}, Running="Test")
    ganger.pod(0)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("step_1")
        member.size = 5
        archive.addfile(member, io.BytesIO(b"12345"))
    sent = {}

    async def pod(channels):
        words = ganger.streams.opened[-1][2]["command"]
        if words[0] == "tar":
            channels.put(1, out.getvalue())
        else:
            while 0 not in channels.closed:
                await _tick()
            sent[words[-1]] = channels.sent[0]
        channels.put(3, b'{"status":"Success"}')
        channels.end()

    ganger.streams.pod = pod

    client.fetch("digits", "step_1", tmp_path)
    client.send(tmp_path / "step_1", "digits", "start/")

    assert b"12345" == (tmp_path / "step_1").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(sent["/checkpoints/start"])) as archive:
        assert ["step_1"] == archive.getnames()
    with pytest.raises(Problem, match="is there already"):
        client.fetch("digits", "step_1", tmp_path)


def test_it_works_where_a_loop_runs_already_as_in_a_notebook(client, ganger):
    ganger.job()

    async def cell():
        return client.get("digits").metadata.name

    assert "digits" == asyncio.run(cell())


def test_a_warning_of_the_server_is_a_warning_of_python(client, ganger):
    ganger.job()
    client.get("digits")

    with pytest.warns(UserWarning, match="the API server warns: old"):
        ganger.connection.warnings.take("old")


def test_a_client_that_is_closed_leaves_no_thread_and_says_so():
    client = Client()
    client.close()
    client.close()

    assert "ganger-client" not in {thread.name for thread in threading.enumerate()}
    for call in (lambda: client.get("digits"), lambda: next(client.watch("digits"))):
        with pytest.raises(Problem, match="the client is closed"):
            call()


def test_a_cluster_that_is_not_there_is_a_problem(tmp_path):
    with (
        Client(kubeconfig=tmp_path / "nothing") as client,
        pytest.raises(Problem, match="no way to a cluster") as caught,
    ):
        client.list()

    assert Code.REFUSED == caught.value.code


def test_the_package_stays_light_until_the_client_is_asked_for(tmp_path):
    probe = """
import sys, ganger
print(sorted({"click", "msgspec", "aiohttp", "kubernetes", "ganger.client"} & set(sys.modules)))
from ganger import Client
print(sorted({"aiohttp", "kubernetes", "rich"} & set(sys.modules)), Client.__module__)
print(hasattr(ganger, "nothing"))
"""
    done = subprocess.run(
        [sys.executable, "-c", probe], env=installed(tmp_path), capture_output=True, text=True, check=True
    )

    assert ["[]", "[] ganger.client.client", "False"] == done.stdout.splitlines()


async def _tick():
    await asyncio.sleep(0.001)
