"""Sessions and notebooks by the command line against the real API server; the test plays the operator."""

import json
import threading

import pytest
import yaml

from apiclient import wait_for

pytestmark = pytest.mark.integration
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43 + " ann@laptop"


@pytest.fixture
def dev(ganger, tmp_path, monkeypatch):
    """`ganger` in a home with one public key, and what the test's operator says of sessions."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id_ed25519.pub").write_text(KEY)
    ganger.sessions = f"/apis/ganger.dev/v1alpha1/namespaces/{ganger.namespace}/devsessions"
    yield ganger
    ganger.api.delete(ganger.sessions)


def operates(ganger, name, *, start=0, phase="Running", ended=False, unless=None):
    """Say how the session is, once it is there and `unless` does not hold of it any more. Returns the thread."""

    def body():
        def there():
            found = ganger.api.get(f"{ganger.sessions}/{name}")
            return found is not None and not (unless is not None and unless(found))

        wait_for(there, 20, name)
        one = {
            "type": "Ended",
            "status": str(ended),
            "reason": "Test",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        status = {"phase": phase, "start": start, "pod": f"{name}-dev-{start}", "message": "said", "conditions": [one]}
        if ended:
            status["endTime"] = "2026-01-01T00:00:00Z"
        ganger.api.merge(f"{ganger.sessions}/{name}/status", {"status": status})

    thread = threading.Thread(target=body)
    thread.start()
    return thread


def test_a_session_is_made_listed_stopped_started_again_and_deleted(dev):
    operator = operates(dev, "try")
    said = dev("dev", "up", "try", "--from-job", "digits", "--gpus", "1", "--storage", "1Gi", "--no-connect")
    operator.join()

    assert (0, "try runs\n") == (said.code, said.out), said.err
    stored = dev.api.get(f"{dev.sessions}/try")
    assert [KEY] == stored["spec"]["ssh"]["authorizedKeys"]
    assert "ganger" in {one["manager"] for one in stored["metadata"]["managedFields"]}
    assert ["try", "Running", "digits", "jupyter+ssh"] == dev("dev", "ls", "--no-headers").out.split()[:4]
    assert "devsession.ganger.dev/try\n" == dev("dev", "ls", "-o", "name").out
    assert (0, "try runs\n") == ((again := dev("dev", "up", "try", "--no-connect")).code, again.out)
    assert stored["metadata"]["generation"] == dev.api.get(f"{dev.sessions}/try")["metadata"]["generation"]

    assert "claim try-workspace and what is in /workspace stay" in dev("dev", "stop", "try").err
    operates(dev, "try", phase="Stopped", ended=True).join()
    operator = operates(dev, "try", start=1, unless=lambda found: found["spec"]["suspend"])
    said = dev("dev", "up", "try", "--memory", "2Gi", "--no-connect")
    operator.join()

    assert (0, "try runs\n") == (said.code, said.out), said.err
    stored = dev.api.get(f"{dev.sessions}/try")
    assert {"requests": {"memory": "2Gi"}, "limits": {"memory": "2Gi"}} == stored["spec"]["resources"]
    assert "ganger.dev/start-requested-at" in stored["metadata"]["annotations"]
    assert (0, "try deleted\n") == ((gone := dev("dev", "delete", "try", "-y")).code, gone.out)
    assert 3 == dev("dev", "connect", "try").code


def test_a_session_that_failed_is_told_and_not_waited_for(dev):
    operator = operates(dev, "bad", phase="Failed", ended=True)
    said = dev("dev", "up", "bad")
    operator.join()

    assert (1, "error: session bad is failed") == (said.code, said.err.splitlines()[-3])


def test_the_code_of_a_notebook_is_stored_owned_and_read_back(ganger, tmp_path):
    cell = {"cell_type": "code", "metadata": {}, "outputs": [], "source": "def main():\n    print('héllo')\n"}
    path = tmp_path / "try.ipynb"
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]}))

    said = ganger("submit", "--from-notebook", str(path), "--function", "main")

    assert (0, "try submitted\n") == (said.code, said.out), said.err
    job = ganger.job("try")
    maps = f"/api/v1/namespaces/{ganger.namespace}/configmaps"
    stored = ganger.api.get(f"{maps}/{job['spec']['code']['configMap']['name']}")
    assert "print('héllo')" in stored["data"]["try_notebook.py"]
    (owner,) = stored["metadata"]["ownerReferences"]
    assert (job["metadata"]["uid"], "TrainingJob") == (owner["uid"], owner["kind"])
    assert (0, "try is there already\n") == (
        (again := ganger("submit", "--from-notebook", str(path), "--function", "main", "--if-exists", "skip")).code,
        again.out,
    )
    ours = [one for one in ganger.api.items(maps) if one["metadata"].get("labels", {}).get("ganger.dev/job") == "try"]
    assert [stored["metadata"]["name"]] == [one["metadata"]["name"] for one in ours]


def test_the_server_takes_both_objects_of_a_dry_run_as_they_are_printed(ganger, tmp_path):
    path = tmp_path / "try.ipynb"
    path.write_text(json.dumps({"nbformat": 4, "cells": [{"cell_type": "code", "source": "x = 1"}]}))

    said = ganger("submit", "--from-notebook", str(path), "--dry-run", "client")

    assert (0, None) == (said.code, ganger.job("try"))
    carried, job = yaml.safe_load_all(said.out)
    ganger.api.create(f"/api/v1/namespaces/{ganger.namespace}/configmaps", carried)
    ganger.api.create(f"{ganger.jobs}", job)
    assert carried["metadata"]["name"] == ganger.job("try")["spec"]["code"]["configMap"]["name"]


def test_the_code_of_a_function_is_stored_owned_and_its_arguments_are_the_config(ganger, tmp_path):
    path = tmp_path / "train.py"
    path.write_text("def main(lr, sizes=()):\n    print('héllo', lr)\n")

    said = ganger("submit", "--from-function", f"{path}:main", "--arg", "lr=1e-3", "--arg", "sizes=[64,32]")

    assert (0, "main submitted\n") == (said.code, said.out), said.err
    job = ganger.job("main")
    assert ({"lr": 0.001, "sizes": [64, 32]}, ["-m", "train_function_entry"]) == (
        job["spec"]["config"],
        job["spec"]["script"],
    )
    maps = f"/api/v1/namespaces/{ganger.namespace}/configmaps"
    stored = ganger.api.get(f"{maps}/{job['spec']['code']['configMap']['name']}")
    assert path.read_text() == stored["data"]["train_function.py"]
    assert [job["metadata"]["uid"]] == [one["uid"] for one in stored["metadata"]["ownerReferences"]]


def test_the_pod_of_a_shell_is_one_that_the_server_takes_and_goes_with_it(ganger, tmp_path):
    profiles = f"/apis/ganger.dev/v1alpha1/namespaces/{ganger.namespace}/trainingprofiles"
    ganger.api.create(
        profiles,
        {
            "apiVersion": "ganger.dev/v1alpha1",
            "kind": "TrainingProfile",
            "metadata": {"name": "small"},
            "spec": {"nodeSelector": {"disk": "ssd"}, "resources": {"limits": {"memory": "1Gi"}}},
        },
    )
    path = ganger.manifest(more="  profile: small\n  checkpoint: {volume: {size: 1Gi}, everySteps: 10}\n")
    seen = []

    def fails():
        (pod,) = wait_for(lambda: ganger.api.items(ganger.pods), 20, "the pod")
        seen.append(pod)
        ganger.api.merge(f"{ganger.pods}/{pod['metadata']['name']}/status", {"status": {"phase": "Failed"}})

    kubelet = threading.Thread(target=fails)
    kubelet.start()
    said = ganger("shell", "-f", path)
    kubelet.join()

    assert (1, True) == (said.code, "did not start" in said.err), said.err
    (container,) = seen[0]["spec"]["containers"]
    assert ("ssd", {"memory": "1Gi"}) == (seen[0]["spec"]["nodeSelector"]["disk"], container["resources"]["limits"])
    assert [] == [one for one in ganger.api.items(ganger.pods) if "deletionTimestamp" not in one["metadata"]]
