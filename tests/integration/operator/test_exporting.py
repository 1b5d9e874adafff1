"""Model files against the real API server, with pods that obey the test."""

import json
import os
import subprocess
import sys

import pytest

from apiclient import wait_for
from integration.operator.conftest import ROOT

pytestmark = pytest.mark.integration
CHECKPOINT = {"volume": {"claimName": "shared"}, "everySteps": 10}
SAID = {"outcome": "Done", "step": 40, "totalSteps": 40, "checkpoint": {"step": 40, "verified": True}}
FILE = {"format": "onnx", "path": "exports/onnx/model.onnx", "sha256": "a" * 64, "bytes": 2048, "maxAbsDiff": 2.5e-6}
MADE = json.dumps({"outcome": "Done", "artifacts": [FILE | {"step": 40}]})


def trained(world, **spec):
    """A job whose gang has ended well; its first pod for model files is there."""
    spec = {"checkpoint": CHECKPOINT, "export": [{"format": "onnx", "tolerance": 0.001}]} | spec
    world.running_job(**spec)
    world.end("digits-0-0", 0, json.dumps(SAID))
    world.end("digits-0-1", 0)
    world.wait_phase("Exporting")
    wait_for(lambda: "digits-export-0" in world.pod_names(), 15, "the pod")


def test_a_job_is_complete_when_its_files_are_made(operated):
    trained(operated)
    pod = operated.api.get(f"{operated.pods}/digits-export-0")
    operated.run("digits-export-0")
    operated.end("digits-export-0", 0, MADE)
    operated.wait_phase("Complete")
    status = operated.status()

    assert ([FILE | {"step": 40}], {"number": 0}) == (status["artifacts"], status["export"])
    assert ("True", "FilesMade") == (operated.condition("Exported")["status"], operated.condition("Exported")["reason"])
    assert {"digits-0-0", "digits-0-1", "digits-export-0"} == set(operated.pod_names())
    assert (["python", "-m", "ganger_trainer.export"], 3600) == (
        pod["spec"]["containers"][0]["args"], pod["spec"]["activeDeadlineSeconds"]
    )  # fmt: skip
    seconds = status["goodput"]["seconds"]
    assert "exporting" in seconds


def test_a_try_that_fails_is_followed_by_one_whose_verdict_is_final(operated):
    trained(operated)
    operated.end("digits-export-0", 137, reason="OOMKilled")
    wait_for(lambda: "digits-export-1" in operated.pod_names(), 15, "the second pod")
    word = {"outcome": "UserError", "reason": "ExportDiffers", "message": "onnx: 0.3 instead of 0.001"}
    operated.end("digits-export-1", 65, json.dumps(word))
    operated.wait_phase("Failed")
    status = operated.status()

    assert (1, "ExportDiffers", "onnx: 0.3 instead of 0.001") == (
        status["export"]["counted"], operated.condition("Failed")["reason"], status["message"]
    )  # fmt: skip
    assert ("restarts" not in status, 40) == (True, status["checkpoint"]["latestStep"])


def test_a_suspension_stops_the_pod_and_a_resume_makes_no_gang(operated):
    trained(operated)
    operated.run("digits-export-0")
    operated.api.merge(f"{operated.jobs}/digits", {"spec": {"suspend": True}})
    # A pod without a node goes at once: nobody has to end it.
    operated.wait_pods()
    operated.wait_phase("Suspended")
    operated.api.merge(f"{operated.jobs}/digits", {"spec": {"suspend": False}})
    operated.wait_pods("digits-export-1")
    operated.end("digits-export-1", 0, MADE)
    operated.wait_phase("Complete")


def test_ganger_export_makes_files_of_a_job_that_has_ended(operated):
    operated.running_job(checkpoint=CHECKPOINT, config={"lr": 0.1})
    operated.end("digits-0-0", 0, json.dumps(SAID))
    operated.end("digits-0-1", 0)
    operated.wait_phase("Complete")
    env = os.environ | {"KUBECONFIG": str(operated.control_plane.kubeconfig), "PYTHONPATH": str(ROOT / "operator")}
    command = [sys.executable, "-m", "ganger.cli", "export", "digits", "-n", operated.namespace, "--format", "onnx"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:

        def made():
            return next((name for name in operated.pod_names() if name.startswith("digits-export-")), "")

        wait_for(made, 30, "the pod of the export")
        args = operated.api.get(f"{operated.pods}/{made()}")["spec"]["containers"][0]["command"]
        operated.run(made())
        operated.end(made(), 0, MADE)
        out, err = process.communicate(timeout=30)

    assert (0, "exports/onnx/model.onnx") == (process.returncode, out.split()[-1]), err
    assert ["--task", "m:t", "--config", '{"lr":0.1}', "--checkpoints", "/export/from/digits"] == args[3:9]
