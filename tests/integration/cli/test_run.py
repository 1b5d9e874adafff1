"""`ganger run` for real: processes of this machine, the real trainer, the examples as they are."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "jobs" / "examples"
SCRIPT = """\
apiVersion: ganger.dev/v1alpha1
kind: TrainingJob
metadata: {name: flaky, labels: {kueue.x-k8s.io/queue-name: nobody-holds-this-machine}}
spec:
  command: [sh, flaky.sh]
  workers: 2
  env: [{name: GREETING, value: hello}]
  failurePolicy: {maxRestarts: MAX, backoff: {baseSeconds: 1, capSeconds: 1}}
"""
# Worker 1 of the first attempt dies; worker 0 waits for it, as in a collective.
FLAKY = """\
echo "$GREETING from $RANK of $WORLD_SIZE, attempt $GANGER_ATTEMPT"
if [ "$GANGER_ATTEMPT" -lt 1 ]; then
  if [ "$RANK" = 1 ]; then kill -9 $$; fi
  sleep 60
fi
"""


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    """`ganger run` in a folder, its output in the files out and err there."""
    env = os.environ | {"PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'jobs'}"}
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        command = [sys.executable, "-m", "ganger.cli", "run", *arguments]
        return subprocess.Popen(command, cwd=folder, env=env, stdout=out, stderr=err, start_new_session=True)


def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    code = start(folder, *arguments).wait(120)
    return code, (folder / "out").read_text(), (folder / "err").read_text()


def wait_for(folder: Path, text: str) -> None:
    end = time.monotonic() + 90
    while text not in (folder / "out").read_text():
        assert time.monotonic() < end, (folder / "out").read_text() + (folder / "err").read_text()
        time.sleep(0.05)


def processes_with(text: str) -> list[str]:
    """Command lines of the processes that carry this text in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if text.encode() in path.read_bytes():
                found.append(path.with_name("cmdline").read_text())
        except OSError:
            continue
    return found


def test_the_smallest_example_completes(tmp_path):
    code, out, err = run(tmp_path, str(EXAMPLES / "quadratic" / "job.yaml"))

    assert 0 == code, err
    assert "worker-0 | training begins (attempt 0, 1 processes, cpu)" in out
    assert "these fields mean nothing: image" in err
    assert "quadratic is complete after" in err


def test_a_gang_of_two_trains_with_checkpoints_in_a_folder_of_the_job(tmp_path):
    code, out, err = run(tmp_path, str(EXAMPLES / "digits" / "job.yaml"))

    assert 0 == code, err
    assert "attempt 0, 2 processes" in out
    assert {"worker-0 | worker 0: Done", "worker-1 | worker 1: Done"} <= set(out.splitlines())
    kept = tmp_path / "ganger-runs" / "digits" / "checkpoints"
    assert f"checkpoints in {kept}" in err
    assert {"step_400", "step_460"} <= {path.name for path in kept.iterdir()}


def test_a_function_is_called_on_every_rank_with_the_config_and_the_arguments(tmp_path):
    (tmp_path / "train.py").write_text(
        "import os\n\ndef fit(lr, steps):\n    print('fit', __name__, lr, steps, os.environ['RANK'])\n"
    )
    (tmp_path / "base.yaml").write_text(
        "apiVersion: ganger.dev/v1alpha1\nkind: TrainingJob\nspec: {workers: 2, config: {lr: 0.5, steps: 1}}\n"
    )

    code, out, err = run(tmp_path, "--from-function", "train.py:fit", "--arg", "steps=[1, 2]", "-f", "base.yaml")

    assert 0 == code, out + err
    said = {line for line in out.splitlines() if "fit" in line}
    assert {f"worker-{rank} | fit train_function 0.5 [1, 2] {rank}" for rank in (0, 1)} == said


def test_ctrl_c_saves_a_checkpoint_and_the_same_command_goes_on_from_it(tmp_path):
    job = str(EXAMPLES / "digits" / "job.yaml")
    kept = tmp_path / "elsewhere"
    process = start(tmp_path, job, "--checkpoints", str(kept))
    wait_for(tmp_path, "checkpoint 100 committed")
    refused = tmp_path / "second"
    refused.mkdir()
    code, _, err = run(refused, job, "--checkpoints", str(kept))
    assert 5 == code
    assert "another 'ganger run' keeps its checkpoints in" in err

    process.send_signal(signal.SIGINT)

    assert 130 == process.wait(60)
    err = (tmp_path / "err").read_text()
    assert "stopping after a checkpoint" in err
    steps = sorted(int(path.name.removeprefix("step_")) for path in kept.glob("step_*"))
    assert f"digits was stopped with a checkpoint of step {steps[-1]}" in err
    assert [] == processes_with(f"GANGER_CHECKPOINT_DIR={kept}")

    code, out, err = run(tmp_path, job, "--checkpoints", str(kept))

    assert 0 == code, err
    assert f"resumed from step {steps[-1]}" in out


def test_a_failure_restarts_the_whole_gang(tmp_path):
    (tmp_path / "job.yaml").write_text(SCRIPT.replace("MAX", "1"))
    (tmp_path / "flaky.sh").write_text(FLAKY)

    code, out, err = run(tmp_path, "job.yaml")

    assert 0 == code, err
    assert {f"worker-{rank} | hello from {rank} of 2, attempt {n}" for rank in (0, 1) for n in (0, 1)} == set(
        out.splitlines()
    )
    assert "Restarting: pod flaky-0-1 ended with ProcessKilled (exit code 137)" in err
    assert "flaky is complete" in err


def test_a_job_out_of_restarts_fails_with_the_cause(tmp_path):
    (tmp_path / "job.yaml").write_text(SCRIPT.replace("MAX", "0"))
    (tmp_path / "flaky.sh").write_text(FLAKY)

    code, _, err = run(tmp_path, "job.yaml")

    assert 1 == code
    assert "flaky failed after" in err
    assert "MaxRestartsReached" in err
    assert "why: a worker was killed from outside (SIGKILL)" in err
    assert [] == processes_with("GREETING=hello")


def test_a_second_ctrl_c_ends_a_worker_that_will_not_stop(tmp_path):
    (tmp_path / "job.yaml").write_text(SCRIPT.replace("MAX", "0").replace("workers: 2", "workers: 1"))
    (tmp_path / "flaky.sh").write_text('trap "echo never" TERM\necho ready\nwhile true; do sleep 0.1; done\n')
    process = start(tmp_path, "job.yaml")
    wait_for(tmp_path, "ready")

    process.send_signal(signal.SIGINT)
    wait_for(tmp_path, "never")
    assert process.poll() is None
    process.send_signal(signal.SIGINT)

    assert 130 == process.wait(20)
    assert [] == processes_with("GREETING=hello")


@pytest.mark.parametrize(
    "entry, sentence",
    [
        ("task: nowhere:task", "there is no module 'nowhere'"),
        ("script: [absent.py]", "script 'absent.py' is not a file"),
        ("command: [absent]", "absent cannot be started: No such file or directory"),
    ],
)
def test_an_entry_that_is_not_there_is_told_in_a_sentence(tmp_path, entry, sentence):
    text = SCRIPT.replace("MAX", "0").replace("command: [sh, flaky.sh]", entry).replace("workers: 2", "workers: 1")
    (tmp_path / "job.yaml").write_text(text)

    code, out, err = run(tmp_path, "job.yaml")

    assert 1 == code
    assert sentence in err
    assert "Traceback" not in out + err
