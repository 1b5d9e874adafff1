"""`ganger diff`: what it prints, how it ends, and that it writes nothing."""

import json
from pathlib import Path

from ganger.cli.threeway import LAST_APPLIED

RUNNING = {"Running": "Test", "phase": "Running"}


def lines(said):
    return [" ".join(line.split()) for line in said.out.splitlines()]


def add(path, text):
    Path(path).write_text(Path(path).read_text() + text)


def test_a_job_as_it_is_stored_is_no_difference(ganger, manifest):
    ganger.job(spec={"suspend": False, "processesPerWorker": "auto"}, **RUNNING)

    said = ganger("diff", "-f", manifest())

    assert (0, "", "digits (namespace team): nothing would change\n") == (said.code, said.out, said.err)
    assert [] == ganger.cluster.writes


def test_a_job_that_is_not_there_would_be_created(ganger, manifest):
    said = ganger("diff", manifest())

    assert (1, "digits (namespace team): there is none; it would be created\n") == (said.code, said.out)


def test_each_field_is_told_with_what_its_change_does(ganger, manifest):
    ganger.job(spec={"config": {"lr": 0.1, "epochs": 3}, "ttlSecondsAfterFinished": 60}, **RUNNING)
    path = manifest()
    add(path, "  config: {lr: 0.2}\n  activeDeadlineSeconds: 900\n  ttlSecondsAfterFinished: 90\n")

    said = ganger("diff", path)

    assert 1 == said.code
    assert [
        "digits (namespace team): running",
        "~ spec.config.lr 0.1 -> 0.2 holds from the next attempt on; the running gang keeps the old value",
        "+ spec.activeDeadlineSeconds 900 takes effect at once; the gang goes on",
        "~ spec.ttlSecondsAfterFinished 60 -> 90 takes effect at once; the gang goes on",
    ] == lines(said)
    assert "digits: spec.config.epochs stays: the file does not mention it\n" == said.err
    assert [] == ganger.cluster.writes


def test_what_needs_a_suspend_is_refused_and_told_how(ganger, manifest):
    ganger.job(**RUNNING)
    path = manifest(name="jobs/three.yaml")
    add(path, "  image: pytorch-cuda:v2.15\n")

    said = ganger("diff", path)

    assert 2 == said.code
    assert "+ spec.image pytorch-cuda:v2.15 refused while the job is not suspended" == lines(said)[1]
    assert [
        "an apply would be refused now; with a checkpoint in between:",
        f"  ganger suspend digits -n team && kubectl apply -f {path} -n team && ganger resume digits -n team",
    ] == said.err.splitlines()


def test_what_an_earlier_apply_said_and_the_file_does_not_is_taken_away(ganger, manifest):
    stored = ganger.job(spec={"config": {"lr": 0.1}}, **RUNNING)
    last = {"metadata": {"labels": {"team": "a"}}, "spec": {"task": "m:t", "workers": 2, "config": {"lr": 0.1}}}
    stored["metadata"] |= {"labels": {"team": "a", "own": "b"}, "annotations": {LAST_APPLIED: json.dumps(last)}}
    ganger.cluster.put("trainingjobs", stored)

    said = ganger("diff", manifest(), "-o", "json")

    found = json.loads(said.out)
    assert [("metadata.labels.team", "a", "live"), ("spec.config", {"lr": 0.1}, "next")] == [
        (one["path"], one["old"], one["effect"]) for one in found[0]["changes"]
    ]
    assert (1, False, True) == (said.code, found[0]["refused"], found[0]["exists"])


def test_what_does_not_fit_together_is_told_as_a_mistake(ganger, manifest):
    """The stored job runs a script, and nobody ever applied it: an apply adds the task beside it."""
    ganger.job(spec={"task": None, "script": ["train.py"]}, **RUNNING)

    said = ganger("diff", manifest())

    assert 2 == said.code
    assert ["digits (namespace team): spec: exactly one of task, script and command must be set"] == lines(said)
    assert "an apply would be refused: what is stored and the file do not fit together\n" == said.err


def test_a_wrong_manifest_is_compared_with_nothing(ganger, manifest):
    said = ganger("diff", manifest(workers="wrkers"))

    assert (2, "error: nothing was compared") == (said.code, said.problem[0])


def test_a_job_of_a_generated_name_is_always_new(ganger, manifest):
    ganger.job("digits", **RUNNING)

    said = ganger("diff", manifest(name="g.yaml", **{"  name": "  generateName"}))

    assert (1, "digits (namespace team): there is none; it would be created\n") == (said.code, said.out)


def test_nothing_that_a_terminal_would_obey_is_printed(ganger, manifest):
    ganger.job(spec={"config": {"x": "\x1b]0;y\x07"}}, **RUNNING)
    path = manifest()
    add(path, "  config: {x: a}\n")

    said = ganger("diff", path)

    assert "\x1b" not in said.out
    assert "\\x1b]0;y\\x07 -> a" in said.out
