"""`ganger checkpoints get` and `rm`: what a manifest says, and that only those of jobs that rest are deleted."""

import asyncio
import json

import pytest

from ganger_trainer.checkpoint import manifest as written

CHECKPOINT = {"checkpoint": {"volume": {"size": "1Gi"}, "everySteps": 10}}
SUCCESS = b'{"metadata":{},"status":"Success"}'
EXITED = b'{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"1"}]}}'
SAVED = written.encode(
    written.Manifest(
        format=written.FORMAT,
        job="digits",
        job_uid="u",
        attempt=2,
        step=300,
        world_size=2,
        samples=9600,
        saved_at="2026-01-01T12:00:00Z",
        score=0.25,
        files=(written.File(name="rank-00000.safetensors", size=4096, sha256="ab" * 32),),
        trees={"model": {}},
    )
)


@pytest.fixture
def far(ganger):
    """Pods that answer what `said` and `error` hold."""
    ganger.said, ganger.error = b"", b""

    async def pod(channels):
        channels.put(1, ganger.said)
        channels.put(2, ganger.error)
        channels.put(3, EXITED if ganger.error else SUCCESS)
        channels.end()

    ganger.streams.pod = pod
    return ganger


def rests(ganger, condition="Complete"):
    """A job whose workers are gone, and a cluster that starts whatever pod is made."""
    spec = CHECKPOINT | ({"suspend": True} if condition == "Suspended" else {})
    ganger.job(spec=spec, checkpoint={"latestStep": 300}, **{condition: "Test"})

    async def scenario():
        try:
            await asyncio.wait_for(ganger.cluster.made.wait(), 0.1)
        except TimeoutError:
            return  # the first of the two connections: it only looks
        ((_, name),) = [key for key in ganger.cluster.objects if key[0] == "pods"]
        state = {"running": {"startedAt": "2026-01-01T12:00:00Z"}}
        status = {"phase": "Running", "containerStatuses": [{"name": "trainer", "state": state}]}
        ganger.cluster.put("pods", ganger.cluster.objects["pods", name] | {"status": status})

    ganger.scenario = scenario


def test_what_the_manifest_of_a_checkpoint_says_is_told(far):
    far.job(spec=CHECKPOINT, Running="Test")
    far.pod(0)
    far.said = SAVED

    said = far("checkpoints", "get", "digits", "300")

    assert 0 == said.code, said.err
    assert ["cat", "/checkpoints/step_300/manifest.json"] == far.streams.opened[0][2]["command"]
    lines = said.out.splitlines()
    assert ["step", "300"] == next(line.split() for line in lines if line.startswith("step "))
    assert "bytes       4096 (4.0 KiB)" in lines
    assert ["rank-00000.safetensors", "4096", "ab" * 32] == lines[-1].split()
    found = json.loads(far("checkpoints", "get", "digits", "300", "-o", "json").out)
    assert (300, 2, 0.25, 1) == (found["step"], found["worldSize"], found["score"], len(found["files"]))


def test_a_step_that_is_not_kept_a_damaged_one_and_a_job_of_another_kind_are_told(far):
    far.job(spec=CHECKPOINT, Running="Test")
    far.pod(0)
    far.error = b"cat: /checkpoints/step_7/manifest.json: No such file or directory\n"
    missing = far("checkpoints", "get", "digits", "7")
    far.error, far.said = b"", b"{half"
    damaged = far("checkpoints", "get", "digits", "7")
    far.job(spec=CHECKPOINT | {"task": None, "script": ["x.py"]}, Running="Test")
    script = far("checkpoints", "get", "digits", "7")

    assert (3, "error: job digits has no checkpoint of step 7") == (missing.code, missing.problem[0])
    assert (1, True) == (damaged.code, "cannot be read" in damaged.problem[0])
    assert (3, "  why: a script or a command saves in a form of its own") == (script.code, script.problem[1])


@pytest.mark.parametrize("condition", ["Complete", "Failed", "Suspended"])
def test_a_checkpoint_of_a_job_that_rests_is_deleted_by_way_of_another_name(far, condition):
    rests(far, condition)
    far.said = b"/checkpoints/step_300\n"

    said = far("checkpoints", "rm", "digits", "300", "--yes")

    assert (0, "digits: checkpoint of step 300 deleted\n") == (said.code, said.out), said.err
    script = 'ls -d "$1" && mv "$1" "$1.removed" && rm -rf "$1.removed"'
    assert ["sh", "-c", script, "sh", "/checkpoints/step_300"] == far.streams.opened[0][2]["command"]
    assert ["create", "delete"] == [write.split()[0] for write in far.cluster.writes]


@pytest.mark.parametrize("condition", ["Running", "Suspended"])
def test_one_of_a_job_that_runs_or_still_stops_is_left_to_its_workers(far, condition):
    far.job(spec=CHECKPOINT | {"suspend": True}, readyWorkers=1, **{condition: "Test"})

    said = far("checkpoints", "rm", "digits", "300", "--yes")

    assert 2 == said.code
    assert "its workers see to its checkpoints themselves" in said.problem[1]
    assert [] == far.cluster.writes


def test_nothing_is_deleted_without_an_answer(far):
    rests(far)
    far.scenario = None

    said = far("checkpoints", "rm", "digits", "300")

    assert (2, "  fix: add --yes") == (said.code, said.problem[-1])
    assert [] == far.cluster.writes


@pytest.mark.parametrize(
    "arguments, text",
    [
        (("get", "digits"), "get takes the job and the step"),
        (("rm",), "rm takes the job and the step"),
        (("ls", "digits", "3"), "ls takes no STEP"),
        (("get", "digits", "3", "--yes"), "leave it out"),
    ],
)
def test_what_each_action_takes_is_told(ganger, arguments, text):
    said = ganger("checkpoints", *arguments)

    assert (2, True) == (said.code, text in said.err), said.err
