"""The command line on a real cluster: submit and follow, look, and find the exit code of the job."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e
EXAMPLES = Path(__file__).parents[2] / "jobs" / "examples"


def call(namespace, *arguments):
    process = namespace.installed.ganger("-n", namespace.name, *arguments)
    out, err = process.communicate(timeout=180)
    return process.returncode, out, err


def test_submitted_job_is_watched_to_its_end_with_the_logs_of_every_worker(namespace):
    code, out, err = call(namespace, "submit", "-f", str(EXAMPLES / "digits" / "job.yaml"), "--watch")

    assert 0 == code, err
    assert {"worker-0 ", "worker-1 "} == {line.partition("|")[0] for line in out.splitlines() if "Done" in line}
    code, out, _ = call(namespace, "list")
    assert (0, True) == (code, "digits" in out and "Complete" in out)
    code, out, _ = call(namespace, "status", "digits")
    assert (0, True) == (code, "accuracy" in out)
    assert 0 == call(namespace, "wait", "digits")[0]
    code, out, err = call(namespace, "delete", "digits", "--yes")
    assert 0 == code
    assert "digits-checkpoints" in out + err


def test_job_with_a_wrong_configuration_fails_at_once_and_says_what_to_write(namespace, tmp_path):
    job = (EXAMPLES / "digits" / "job.yaml").read_text().replace("batchSize", "batchsize")
    path = tmp_path / "wrong.yaml"
    path.write_text(job)

    code, _, err = call(namespace, "submit", "-f", str(path), "--watch")

    assert 1 == code
    assert "did you mean 'batchSize'?" in err
    assert "Traceback" not in err
