"""`ganger export`: the job that it makes, what it waits for, what it tells and what it refuses."""

import asyncio
import json

import msgspec
import pytest

from builders import job as typed_job
from builders import with_status
from ganger.api.status import Artifact, CheckpointStatus, ExportStatus, Failure, TrainingJobStatus
from ganger.api.validate import check_manifest
from ganger.cli import exportjob, exports
from ganger.cli.exportjob import Wish

OWN = {"checkpoint": {"volume": {"size": "1Gi"}, "everySteps": 10}, "config": {"lr": 0.1}}
SAVED = {"checkpoint": {"latestStep": 40}}
FILE = {"format": "onnx", "path": "exports/onnx/model.onnx", "sha256": "ab" * 32, "bytes": 2048, "maxAbsDiff": 2.4e-6}
FILE |= {"step": 40}


def made(ganger):
    (body,) = [
        item for (plural, name), item in ganger.cluster.objects.items() if "-export-" in name and "jobs" in plural
    ]
    return body


def options(body):
    """The options of the command, by name."""
    words = body["spec"]["command"][3:]
    return dict(zip(words[::2], words[1::2], strict=True))


def ends(ganger, *, code=0, said=None, **status):
    """The export ends so, once it was made."""

    async def scenario():
        await ganger.cluster.made.wait()
        name = made(ganger)["metadata"]["name"]
        pod = ganger.pod(0, job=name, phase="Failed" if code else "Succeeded", exit_code=code)
        pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"] = json.dumps(said or {})
        ganger.cluster.put("pods", pod)
        await asyncio.sleep(0.01)
        type_ = "Failed" if code else "Complete"
        condition = {"type": type_, "status": "True", "lastTransitionTime": "2026-01-01T12:00:00Z"} | status
        body = made(ganger) | {"status": {"phase": type_, "conditions": [condition]}}
        ganger.cluster.put("trainingjobs", body)

    ganger.scenario = scenario


def test_a_file_is_made_by_a_job_of_its_own_and_told_in_a_table(ganger):
    ganger.job(spec=OWN | {"resources": {"limits": {"memory": "2Gi", "nvidia.com/gpu": 1}}}, Running="Test", **SAVED)
    ends(ganger, said={"outcome": "Done", "artifacts": [FILE]}, reason="AllWorkersSucceeded", message="")

    said = ganger("export", "digits", "--format", "onnx", "--opset", "18")
    body = made(ganger)

    assert (0, []) == (said.code, said.problem)
    assert [
        "FORMAT   STEP   DIFFERENCE   SIZE      SHA256         PATH",
        "onnx     40     2.4e-06      2.0 KiB   abababababab   exports/onnx/model.onnx",
    ] == [line.rstrip() for line in said.out.splitlines()[-2:]]
    assert ["python", "-m", "ganger_trainer.export"] == body["spec"]["command"][:3]
    entry = {"format": "onnx", "path": "exports", "from": "Latest", "tolerance": 1e-4, "opset": 18, "step": None}
    given = options(body)
    assert ("m:t", {"lr": 0.1}, "/export/from", "/export/from", "digits", [entry]) == (
        given["--task"], json.loads(given["--config"]), given["--checkpoints"], given["--to"], given["--job"],
        json.loads(given["--exports"]),
    )  # fmt: skip
    assert {"limits": {"memory": "2Gi"}} == body["spec"]["resources"]
    assert [] == check_manifest({key: value for key, value in body.items() if key != "status"})[1]


def test_scripts_get_json_with_the_whole_digest(ganger):
    ganger.job(spec=OWN, Complete="Test", **SAVED)
    ends(ganger, said={"outcome": "Done", "artifacts": [FILE]}, reason="AllWorkersSucceeded", message="")

    said = ganger("export", "digits", "--format", "onnx", "-o", "json")

    assert [FILE] == json.loads(said.out[said.out.index("[") :])


def test_a_file_that_differs_ends_with_1_the_numbers_and_what_to_do(ganger):
    ganger.job(spec=OWN, Complete="Test", **SAVED)
    text = "onnx: largest difference 0.31 in batch 2, tolerance 0.0001"
    ends(
        ganger, code=65, said={"outcome": "UserError", "reason": "ExportDiffers"}, reason="ExportDiffers", message=text
    )

    said = ganger("export", "digits", "--format", "onnx")

    assert 1 == said.code
    assert text in said.out
    assert "why: a model file was made, but computes something else than the model" in said.err
    assert "fix: look at the difference" in said.err


def test_the_time_over_leaves_the_export_alone(ganger):
    ganger.job(spec=OWN, Complete="Test", **SAVED)

    said = ganger("export", "digits", "--format", "onnx", "--timeout", "0")

    assert 4 == said.code
    assert f"'ganger wait {made(ganger)['metadata']['name']}'" in said.problem[1]


@pytest.mark.parametrize(
    "spec, status, why",
    [
        ({"task": None, "script": ["train.py"]}, SAVED, "it runs a script or a command, whose model nobody knows"),
        ({}, SAVED, "it keeps no checkpoints (spec.checkpoint is not set)"),
        (OWN, {}, "it has no checkpoint yet, as far as its status says"),
    ],
)
def test_a_job_without_a_model_is_refused_and_nothing_is_made(ganger, spec, status, why):
    ganger.job(spec=spec, **status)

    said = ganger("export", "digits", "--format", "onnx")

    assert (2, [], 3) == (said.code, ganger.cluster.writes, len(said.problem))
    assert [f"  why: {why}"] == said.problem[1:2]


@pytest.mark.parametrize(
    "options, part",
    [
        (["--format", "onnx", "--step", "3", "--best"], "leave one out"),
        (["--format", "torch-export", "--opset", "18"], "--opset is for the format onnx alone"),
        (["--format", "onnx", "--to", "Models"], "names no claim"),
        (["--format", "onnx", "--to", "models:../up"], "the folder is relative"),
        (["--format", "onnx", "--to", "models:/abs"], "the folder is relative"),
        (["--format", "tensorrt"], "'tensorrt' is not one of"),
        ([], "--format"),
    ],
)
def test_a_command_line_that_contradicts_itself_is_refused(ganger, options, part):
    said = ganger("export", "digits", *options)

    assert 2 == said.code
    assert part in said.err


# --- the manifest ---
def manifest(wish=None, **spec):
    a_job = typed_job(**OWN | spec)
    return exportjob.manifest(a_job, wish or Wish(formats=("onnx",), tolerance=1e-4), "ab12")


def test_another_claim_takes_the_files_and_the_checkpoints_cannot_be_written():
    body = manifest(Wish(formats=("onnx",), tolerance=1e-4, step=20, to=("models", "digits/v1")))

    assert [("digits-checkpoints", True), ("models", False)] == [
        (one["claim"]["claimName"], one["claim"]["readOnly"]) for one in body["spec"]["volumes"]
    ]
    assert ("/export/from", "/export/to") == (options(body)["--checkpoints"], options(body)["--to"])
    (entry,) = json.loads(options(body)["--exports"])
    assert ("digits/v1", 20) == (entry["path"], entry["step"])
    assert [] == check_manifest(body)[1]


@pytest.mark.parametrize(
    "wish, path",
    [
        ({}, "exports"),
        ({"step": 20}, "exports/step-20"),
        ({"best": True}, "exports/best"),
        ({"best": True, "to": ("models", "")}, "digits/best"),
    ],
)
def test_files_of_another_checkpoint_have_a_folder_of_their_own(wish, path):
    body = manifest(Wish(formats=("onnx",), tolerance=1e-4, **wish))

    assert [path] == [entry["path"] for entry in json.loads(options(body)["--exports"])]


def test_a_shared_claim_keeps_the_folder_of_the_job():
    volume = {"claimName": "shared", "path": "runs/digits"}
    body = manifest(checkpoint={"volume": volume, "everySteps": 10})

    assert ("/export/from/runs/digits", "/export/from/runs/digits") == (
        options(body)["--checkpoints"], options(body)["--to"]
    )  # fmt: skip
    same = manifest(
        Wish(formats=("onnx",), tolerance=1e-4, to=("shared", "out")),
        checkpoint={"volume": volume, "everySteps": 10},
    )
    assert (["shared"], "/export/from") == (
        [one["claim"]["claimName"] for one in same["spec"]["volumes"]], options(same)["--to"]
    )  # fmt: skip


def test_what_the_training_had_comes_along_but_for_gang_and_devices():
    body = manifest(
        workers=4,
        elastic={"minWorkers": 2, "maxWorkers": 4},
        resources={"requests": {"cpu": "4"}, "limits": {"nvidia.com/gpu": 8}},
        code={"configMap": {"name": "code"}},
        env=[{"name": "A", "value": "b"}],
        volumes=[{"name": "data", "claim": {"claimName": "data"}}],
        volumeMounts=[{"name": "data", "mountPath": "/data"}],
        requiredTopologyKey="rack",
    )
    spec = body["spec"]

    assert ({"requests": {"cpu": "4"}}, {"configMap": {"name": "code"}}) == (spec["resources"], spec["code"])
    assert ["data", "export-from"] == [one["name"] for one in spec["volumes"]]
    assert set() == {"workers", "elastic", "requiredTopologyKey", "checkpoint", "task", "export"} & set(spec)
    assert [] == check_manifest(body)[1]


def test_a_job_in_a_queue_asks_the_same_queue():
    a_job = typed_job(**OWN)
    labels = {"kueue.x-k8s.io/queue-name": "team-a", "other": "x"}
    a_job = msgspec.structs.replace(a_job, metadata=msgspec.structs.replace(a_job.metadata, labels=labels))
    body = exportjob.manifest(a_job, Wish(formats=("onnx",), tolerance=1e-4), "ab12")

    assert {"name": "digits-export-ab12", "labels": {"kueue.x-k8s.io/queue-name": "team-a"}} == body["metadata"]


def test_the_longest_name_stays_a_name():
    a_job = typed_job(name="a" * 27 + "-" + "b" * 12, **OWN)
    body = exportjob.manifest(a_job, Wish(formats=("onnx",), tolerance=1e-4), "ab12")

    assert "a" * 27 + "-export-ab12" == body["metadata"]["name"]
    assert [] == check_manifest(body)[1]


# --- the pages ---
def test_the_pages_tell_how_far_the_files_are():
    a_job = typed_job(**OWN, export=[{"format": "onnx"}, {"format": "safetensors"}])
    failure = Failure(reason="OOMKilled", pod="digits-export-0", message="worker used more")
    files = (Artifact(format="onnx", path="exports/onnx/model.onnx", sha256="cd" * 32, step=40),)
    point = CheckpointStatus(latest_step=40)

    def said(**status):
        return exports.lines(with_status(a_job, TrainingJobStatus(checkpoint=point, **status)))

    assert [] == exports.lines(typed_job())
    assert ["onnx, safetensors, when the training is done"] == said()
    assert ["onnx, safetensors, by pod digits-export-0"] == said(export=ExportStatus(number=0))
    assert [
        "onnx, safetensors, by pod digits-export-1",
        "last: OOMKilled in digits-export-0: worker used more",
    ] == said(export=ExportStatus(number=1, last=failure))
    assert "cdcdcdcdcdcd" in said(export=ExportStatus(number=1), artifacts=files)[1]


def test_status_shows_the_pod_and_the_files_and_names_the_failure_of_the_export(ganger):
    failure = {"reason": "ExportDiffers", "pod": "digits-export-0", "message": "0.3 instead of 1e-4"}
    old = {"total": 1, "counted": 1, "last": {"reason": "OOMKilled", "pod": "digits-0-1"}}
    ganger.job(
        spec=OWN | {"export": [{"format": "onnx"}]},
        Failed="ExportDiffers",
        phase="Failed",
        export={"number": 0, "last": failure},
        restarts=old,
    )
    pod = ganger.pod(0, phase="Failed", exit_code=65)
    pod["metadata"] |= {"name": "digits-export-0"}
    pod["metadata"]["labels"]["ganger.dev/worker"] = "export-0"
    ganger.cluster.put("pods", pod)
    ganger.cluster.take("pods", "digits-0-0")

    said = ganger("status", "digits")

    assert "Files       onnx: not made" in said.out
    assert "last: ExportDiffers in digits-export-0: 0.3 instead of 1e-4" in said.out
    assert "export-0   Failed (exit 65)" in said.out
    assert "Hint        a model file was made, but computes something else than the model" in said.out
    assert "last: OOMKilled in digits-0-1" in said.out


def test_the_log_of_the_pod_comes_with_those_of_the_workers(ganger):
    ganger.job(spec=OWN, Complete="Test")
    ganger.pod(0, phase="Succeeded")
    pod = ganger.pod(1, phase="Succeeded")
    pod["metadata"] |= {"name": "digits-export-0", "uid": "x"}
    pod["metadata"]["labels"]["ganger.dev/worker"] = "export-0"
    ganger.cluster.put("pods", pod)
    ganger.cluster.take("pods", "digits-0-1")
    ganger.logs.pods = {
        "digits-0-0": ["2026-01-01T12:00:01Z trained\n"],
        "digits-export-0": ["2026-01-01T12:00:02Z onnx made\n"],
    }

    assert ["worker-0 | trained", "export   | onnx made"] == ganger("logs", "digits").out.splitlines()
