"""The command line on a real cluster: submit and follow, look, and find the exit code of the job."""

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from apiclient import wait_for

pytestmark = pytest.mark.e2e
SYSTEM = "ganger-system"
EXAMPLES = Path(__file__).parents[2] / "jobs" / "examples"


def call(namespace, *arguments):
    offline = arguments[0] == "init"
    process = namespace.installed.ganger(*(() if offline else ("-n", namespace.name)), *arguments)
    out, err = process.communicate(timeout=180)
    return process.returncode, out, err


def test_submitted_job_is_watched_to_its_end_with_the_logs_of_every_worker(namespace, tmp_path):
    code, out, err = call(namespace, "submit", "-f", str(EXAMPLES / "digits" / "job.yaml"), "--watch")

    assert 0 == code, err
    assert {"worker-0 ", "worker-1 "} == {line.partition("|")[0] for line in out.splitlines() if "Done" in line}
    code, out, _ = call(namespace, "list")
    assert (0, True) == (code, "digits" in out and "Complete" in out)
    code, out, _ = call(namespace, "status", "digits")
    assert (0, True) == (code, "accuracy" in out)
    assert 0 == call(namespace, "wait", "digits")[0]
    assert "Done" in call(namespace, "logs", "digits", "--grep", "Done", "--timestamps", "--rank", "1")[1]
    code, out, err = call(namespace, "report", "digits", "-f", str(tmp_path / "r.tgz"))
    assert (0, False) == (code, "not in it" in err), err
    with tarfile.open(tmp_path / "r.tgz") as archive:
        found = {one.name.partition("/")[2]: archive.extractfile(one).read().decode() for one in archive}
    assert {"logs/digits-0-0.log", "logs/digits-0-1.log", "claim.yaml", "doctor.txt"} <= set(found)
    assert "accuracy" in found["status.txt"]
    assert any(path.startswith(f"operator/{SYSTEM}/ganger-") and "digits" in text for path, text in found.items())
    code, out, err = call(namespace, "delete", "digits", "--yes")
    assert 0 == code
    assert "digits-checkpoints" in out + err


def test_files_of_a_job_come_here_and_go_back_while_it_trains_and_while_it_rests(namespace, tmp_path):
    job = (EXAMPLES / "digits" / "job.yaml").read_text().replace("epochs: 20", "epochs: 2000")
    (tmp_path / "long.yaml").write_text(job)
    assert 0 == call(namespace, "submit", str(tmp_path / "long.yaml"))[0]
    code, out, err = call(namespace, "wait", "digits", "--for", "checkpoint=100", "--timeout", "2m")
    assert (0, True) == (code, "digits has a checkpoint of step" in out), err

    # In a worker that trains.
    (tmp_path / "note.txt").write_text("from here\n")
    code, out, err = call(namespace, "cp", str(tmp_path / "note.txt"), "digits:notes/", "--worker", "1")
    assert 0 == code, err
    assert 0 == call(namespace, "suspend", "digits")[0]
    assert 0 == call(namespace, "wait", "digits", "--for", "suspended", "--timeout", "2m")[0]

    # In a pod of its own, which the namespace's Pod Security (restricted) admits.
    assert 0 == call(namespace, "cp", "digits:", str(tmp_path / "all"))[0]
    assert "from here\n" == (tmp_path / "all" / "notes" / "note.txt").read_text()
    step = max(int(path.name[5:]) for path in (tmp_path / "all").glob("step_*") if path.name[5:].isdecimal())
    code, out, err = call(namespace, "checkpoints", "get", "digits", str(step), "-o", "json")
    assert 0 == code, err
    for file in json.loads(out)["files"]:
        copied = tmp_path / "all" / f"step_{step}" / file["name"]
        assert file["sha256"] == hashlib.sha256(copied.read_bytes()).hexdigest()
    code, out, err = call(namespace, "checkpoints", "rm", "digits", str(step), "--yes")
    assert 0 == code, err
    assert 3 == call(namespace, "checkpoints", "get", "digits", str(step))[0]
    left = f"{namespace.pods_path}?labelSelector=ganger.dev/files-of=digits"
    wait_for(lambda: not namespace.api.items(left), 30, "the pods that showed the volumes are gone")
    assert 0 == call(namespace, "delete", "digits", "--yes")[0]


def test_job_with_a_wrong_configuration_fails_at_once_and_says_what_to_write(namespace, tmp_path):
    job = (EXAMPLES / "digits" / "job.yaml").read_text().replace("batchSize", "batchsize")
    path = tmp_path / "wrong.yaml"
    path.write_text(job)

    code, _, err = call(namespace, "submit", "-f", str(path), "--watch")

    assert 1 == code
    assert "did you mean 'batchSize'?" in err
    assert "Traceback" not in err


def test_the_chart_leaves_nothing_to_mend(namespace):
    code, out, err = call(namespace, "doctor", "-o", "json")
    levels = {one["about"]: one["level"] for one in json.loads(out)}

    assert 0 == code, out + err
    assert {"ok"} == {levels[about] for about in ("TrainingJob", "TrainingProfile", "operator", "lease", "admission")}


def test_the_script_of_init_trains_on_the_cluster_and_leaves_what_prune_takes(namespace, tmp_path):
    path = tmp_path / "mine.yaml"
    assert 0 == call(namespace, "init", "mine", "--example", "script", "-f", str(path))[0]
    path.write_text(path.read_text().replace("pytorch-cuda:v2.15", namespace.installed.image))
    code_from = f"--from-file={tmp_path / 'train.py'}"
    namespace.installed.kubectl("create", "configmap", "mine-code", "-n", namespace.name, code_from)

    code, out, err = call(namespace, "submit", "-f", str(path), "--watch")

    assert 0 == code, out + err
    assert "weight 2.9" in out or "weight 3.0" in out, out
    assert 300 == json.loads(call(namespace, "metrics", "mine", "-o", "json")[1])["step"]
    code, out, _ = call(namespace, "diff", "-f", str(path))
    assert (0, "") == (code, out)
    assert 0 == call(namespace, "delete", "mine", "--yes")[0]
    assert "job is gone" in call(namespace, "checkpoints", "ls", "mine")[1]
    assert (0, "mine-checkpoints deleted\n") == call(namespace, "checkpoints", "prune", "mine", "--yes")[:2]
