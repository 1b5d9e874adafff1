"""A volume that is really full, and /metrics of a pod that really trains."""

import subprocess
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ganger.contract import ExitCode
from ports import free_port

pytestmark = pytest.mark.integration


@pytest.fixture
def small_volume(gangs):
    """A gang of one whose checkpoint directory holds 80 KiB, and no more."""
    gang = gangs(workers=1)
    directory = gang.directory / "checkpoints"
    directory.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=80k", "tmpfs", str(directory)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no leave to mount a small volume")
    yield gang
    gang.kill()
    subprocess.run(["umount", str(directory)], check=True)


def test_full_volume_costs_checkpoints_but_only_the_last_one_fails_the_attempt(small_volume):
    # One checkpoint of this model is some 40 KiB, and the newest valid one is never removed to make room.
    small_volume.checkpoint = {"everySteps": 5, "keepLast": 20}

    ending = small_volume.run(steps=60, width=300, stepSleep=0.01)

    assert [ExitCode.RETRYABLE] == ending.codes
    assert "CheckpointFailed" == ending.messages[0]["reason"]
    assert "No space left on device" in ending.messages[0]["message"]
    assert "training goes on" in ending.logs[0]
    assert "Traceback" not in ending.logs[0]
    steps = sorted(int(path.name[5:]) for path in (small_volume.directory / "checkpoints").glob("step_*"))
    assert [5] == steps
    assert 5 == ending.messages[0]["checkpoint"]["step"]


def test_a_pod_of_two_processes_serves_the_series_of_both_ranks(gangs):
    port = free_port()
    gang = gangs(workers=1, config={"steps": 100000, "stepSleep": 0.005})
    gang.environ = {"GANGER_METRICS_PORT": str(port), "GANGER_PROCESSES_PER_WORKER": "2"}
    gang.start().wait_for("checkpoint 10 committed")

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as reply:
        text = reply.read().decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    assert {"0", "1"} == {sample.labels["rank"] for sample in samples if sample.name == "ganger_train_loss"}
    assert all(sample.value >= 10 for sample in samples if sample.name == "ganger_train_checkpoint_step")
    assert {
        "ganger_train_step_seconds_bucket",
        "ganger_train_samples_per_second",
        "ganger_train_checkpoint_age_seconds",
    } <= {sample.name for sample in samples}
