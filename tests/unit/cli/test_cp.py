"""`ganger cp`: what is asked of which pod, and what arrives; tar is the real one, run where the pod would run it."""

import asyncio
import io
import tarfile

import pytest

from ganger.api.types import decode
from ganger.cli.cp import Remote, absolute, place

CHECKPOINT = {"checkpoint": {"volume": {"size": "1Gi"}, "everySteps": 10}}
SUCCESS = b'{"metadata":{},"status":"Success"}'
EXITED = b'{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"%d"}]}}'


@pytest.fixture
def far(ganger, tmp_path, monkeypatch):
    """A running job whose pods run what they are told here; a folder that stands for its volume."""
    (tmp_path / "here").mkdir()
    (tmp_path / "far").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    ganger.job(spec=CHECKPOINT, Running="Test", phase="Running")
    ganger.pod(0)
    ganger.pod(1)

    async def pod(channels):
        words = ganger.streams.opened[-1][2]["command"]
        process = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        if "stdin" in ganger.streams.opened[-1][2]:
            while 0 not in channels.closed:
                await _tick()
        out, err = await process.communicate(channels.sent.get(0, b""))
        for at in range(0, len(out), 1000):
            channels.put(1, out[at : at + 1000])
        channels.put(2, err)
        channels.put(3, EXITED % process.returncode if process.returncode else SUCCESS)
        channels.end()

    ganger.streams.pod = pod
    return tmp_path / "far"


@pytest.mark.parametrize(
    "text, found",
    [
        ("digits:step_1", Remote("digits", "step_1")),
        ("digits:/x:y", Remote("digits", "/x:y")),
        ("digits:", Remote("digits", "")),
        ("./a:b", None),
        ("a/b:c", None),
        ("file", None),
        (":x", None),
    ],
)
def test_a_place_in_a_job_is_told_from_a_path(text, found):
    assert found == place(text)


@pytest.mark.parametrize(
    "volume, path, expected",
    [
        ({"size": "1Gi"}, "step_1", "/checkpoints/step_1"),
        ({"size": "1Gi"}, "", "/checkpoints"),
        ({"claimName": "shared"}, "step_1", "/checkpoints/digits/step_1"),
        ({"claimName": "shared", "path": "runs/a"}, "../b/x", "/checkpoints/runs/b/x"),
        ({"size": "1Gi"}, "/tmp/x/", "/tmp/x"),
    ],
)
def test_a_relative_path_is_one_of_the_checkpoints(volume, path, expected):
    job = decode({"metadata": {"name": "digits"}, "spec": {"task": "m:t", "checkpoint": {"volume": volume}}})

    assert expected == absolute(job, path)


def test_a_folder_comes_whole_into_a_folder_or_under_a_name(ganger, far):
    (far / "step_1").mkdir()
    (far / "step_1" / "data").write_bytes(b"x" * 300_000)

    said = ganger("cp", f"digits:{far}/step_1", ".")

    assert (0, f"digits:{far}/step_1 -> step_1\n") == (said.code, said.out), said.err
    assert b"x" * 300_000 == (far.parent / "here" / "step_1" / "data").read_bytes()
    assert ("digits-0-0", "exec") == ganger.streams.opened[0][:2]
    assert 0 == ganger("cp", f"digits:{far}/step_1/data", "other.bin", "--worker", "1").code
    assert "digits-0-1" == ganger.streams.opened[1][0]
    assert ["other.bin", "step_1"] == sorted(one.name for one in (far.parent / "here").iterdir())


def test_what_is_there_already_and_what_is_not_there_are_told_and_nothing_is_left(ganger, far):
    (far / "a").write_text("a")
    assert 0 == ganger("cp", f"digits:{far}/a", ".").code

    again = ganger("cp", f"digits:{far}/a", ".")
    missing = ganger("cp", f"digits:{far}/nothing", ".")
    nowhere = ganger("cp", f"digits:{far}/a", "no/folder")

    assert (2, "error: a is there already") == (again.code, again.problem[0])
    assert (3, "error: tar in digits-0-0 ended with 2") == (missing.code, missing.problem[0])
    assert "nothing: Cannot stat: No such file or directory" in missing.problem[1]
    assert (2, "error: there is no folder no") == (nowhere.code, nowhere.problem[0])
    assert ["a"] == [one.name for one in (far.parent / "here").iterdir()]


def test_a_worker_cannot_write_outside_of_the_place_that_was_named(ganger, far):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../../evil"))

    async def pod(channels):
        channels.put(1, out.getvalue())
        channels.put(3, SUCCESS)
        channels.end()

    ganger.streams.pod = pod

    said = ganger("cp", "digits:step_1", ".")

    assert (1, "error: /checkpoints/step_1 of digits cannot be unpacked") == (said.code, said.problem[0])
    assert ["far", "here"] == sorted(one.name for one in far.parent.iterdir())
    assert [] == list((far.parent / "here").iterdir())


def test_a_file_goes_under_a_name_or_into_a_folder_which_is_made(ganger, far):
    here = far.parent / "here"
    (here / "start").mkdir()
    (here / "start" / "weights").write_bytes(b"w" * 200_000)

    said = ganger("cp", "start", f"digits:{far}/runs/")

    assert (0, f"start -> digits:{far}/runs/start\n") == (said.code, said.out), said.err
    assert b"w" * 200_000 == (far / "runs" / "start" / "weights").read_bytes()
    assert 0 == ganger("cp", "start/weights", f"digits:{far}/best.pt").code
    assert b"w" * 200_000 == (far / "best.pt").read_bytes()
    assert 3 == ganger("cp", "nothing", f"digits:{far}/x").code


def test_where_no_worker_runs_a_pod_of_its_own_shows_the_volumes_and_is_gone_afterwards(ganger, far):
    (far / "a").write_text("a")
    ganger.job(spec=CHECKPOINT, Complete="Test")
    for worker in (0, 1):
        ganger.pod(worker, phase="Succeeded")

    async def scenario():
        await ganger.cluster.made.wait()
        (name,) = [name for plural, name in ganger.cluster.objects if plural == "pods" and "-files-" in name]
        made = ganger.cluster.objects["pods", name]
        mounts = made["spec"]["containers"][0]["volumeMounts"]
        assert {"name": "ganger-checkpoints", "mountPath": "/checkpoints", "readOnly": True} in mounts
        state = {"running": {"startedAt": "2026-01-01T12:00:00Z"}}
        ganger.cluster.put(
            "pods", made | {"status": {"phase": "Running", "containerStatuses": [{"name": "trainer", "state": state}]}}
        )

    ganger.scenario = scenario

    said = ganger("cp", f"digits:{far}/a", ".")

    assert (0, "a") == (said.code, (far.parent / "here" / "a").read_text()), said.err
    assert ["create", "delete"] == [write.split()[0] for write in ganger.cluster.writes]
    assert {"digits-0-0", "digits-0-1"} == {name for plural, name in ganger.cluster.objects if plural == "pods"}


def test_a_pod_that_does_not_start_is_told_with_what_it_waits_for_and_is_gone(ganger, far, monkeypatch):
    monkeypatch.setattr("ganger.cli.entry.START_SECONDS", 0.1)
    ganger.job(spec=CHECKPOINT, Complete="Test")
    for worker in (0, 1):
        ganger.pod(worker, phase="Succeeded")

    said = ganger("cp", "digits:a", ".")

    assert 4 == said.code
    assert "after 0.1 s" in said.problem[1]
    assert "delete" == ganger.cluster.writes[-1].split()[0]


@pytest.mark.parametrize("arguments", [("a", "b"), ("digits:a", "other:b")])
def test_one_of_the_two_is_in_a_job(ganger, arguments):
    said = ganger("cp", *arguments)

    assert (2, True) == (said.code, "one of the two is NAME:PATH" in said.err)


def test_a_name_that_is_none_is_refused_before_it_reaches_a_url(ganger, far):
    assert 2 == ganger("cp", "Di_gits:x", ".").code


async def _tick():
    await asyncio.sleep(0.001)
