"""`ganger diff` beside the real `kubectl apply`: what it says would happen is what the API server then does."""

import json
import os
import subprocess

import pytest
import yaml

from ganger_dev import binaries

pytestmark = pytest.mark.integration
CHECKPOINT = {"volume": {"size": "1Gi"}, "everySteps": 10}
BASE = {"task": "m:t", "workers": 2, "checkpoint": CHECKPOINT}
ELASTIC = BASE | {"elastic": {"minWorkers": 1, "maxWorkers": 4}}
# From what is stored to what the file says, and how `ganger diff` ends: 0 the same, 1 accepted, 2 refused.
CASES = [
    (BASE, BASE, 0),
    (BASE, BASE | {"suspend": False, "env": []}, 0),
    (BASE, BASE | {"activeDeadlineSeconds": 60}, 1),
    (BASE, BASE | {"config": {"lr": 0.5}}, 1),
    (BASE | {"config": {"lr": 0.5, "a": 1}}, BASE | {"config": {"lr": 0.5}}, 1),
    (BASE, BASE | {"image": "other:v1"}, 2),
    (BASE, BASE | {"sharedMemory": "auto"}, 2),
    (BASE | {"nodeSelector": {"gpu": "a"}}, BASE, 2),
    (BASE, BASE | {"workers": 3}, 2),
    (ELASTIC, ELASTIC | {"workers": 3}, 1),
    (ELASTIC, ELASTIC | {"workers": 9}, 2),
    (BASE | {"suspend": True}, BASE | {"suspend": True, "image": "other:v1"}, 1),
    (BASE | {"suspend": True}, BASE | {"image": "other:v1"}, 1),
    (BASE, BASE | {"checkpoint": CHECKPOINT | {"volume": {"size": "2Gi"}}}, 2),
    (BASE | {"suspend": True}, BASE | {"suspend": True, "checkpoint": CHECKPOINT | {"volume": {"size": "2Gi"}}}, 2),
    (BASE, {key: value for key, value in BASE.items() if key != "task"} | {"script": ["train.py"]}, 2),
]


@pytest.fixture
def apply(ganger, tmp_path):
    """`kubectl apply -f`: whether it was accepted."""

    def call(path):
        command = [str(binaries.ensure("kubectl")["kubectl"]), "apply", "-n", ganger.namespace, "-f", path]
        env = os.environ | {"KUBECONFIG": ganger.kubeconfig, "HOME": str(tmp_path)}
        return subprocess.run(command, env=env, capture_output=True, text=True)

    return call


@pytest.fixture
def file(tmp_path):
    def write(name, spec, **metadata):
        path = tmp_path / f"{name}.yaml"
        job = {"apiVersion": "ganger.dev/v1alpha1", "kind": "TrainingJob", "spec": spec}
        path.write_text(yaml.safe_dump(job | {"metadata": {"name": "digits"} | metadata}))
        return str(path)

    return write


@pytest.mark.parametrize("stored, wanted, code", CASES)
def test_the_end_of_a_diff_is_that_of_the_apply(ganger, apply, file, stored, wanted, code):
    assert 0 == apply(file("old", stored)).returncode
    before, path = ganger.job(), file("new", wanted)

    said = ganger("diff", "-f", path, "-o", "json")

    assert before == ganger.job(), "nothing was written"
    applied = apply(path)
    assert (code, code != 2) == (said.code, applied.returncode == 0), said.out + said.err + applied.stderr
    if code == 1:
        (told,) = json.loads(said.out)
        old, new = before["spec"], ganger.job()["spec"]
        changed = {key for key in old | new if old.get(key) != new.get(key)}
        assert changed == {one["path"].split(".")[1] for one in told["changes"]}
        # And then there is nothing left to tell.
        assert 0 == ganger("diff", path).code


def test_what_others_have_set_stays_and_is_told(ganger, apply, file):
    assert 0 == apply(file("job", BASE)).returncode
    ganger("suspend", "digits")

    said = ganger("diff", file("job", BASE))

    assert 0 == said.code
    assert "digits: spec.suspend stays: the file does not mention it" in said.err


def test_a_job_of_submit_is_compared_too_and_labels_count(ganger, file):
    ganger("submit", file("job", BASE))

    said = ganger("diff", file("job", BASE, labels={"team": "vision"}))

    assert 1 == said.code, said.err
    assert "+ metadata.labels.team   vision   takes effect at once" in said.out
