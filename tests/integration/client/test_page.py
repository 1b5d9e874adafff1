"""The code of docs/python.md, run block by block against the real API server; a thread plays the operator."""

import json
import re
import threading
from pathlib import Path

import pytest

from integration.cli.conftest import ganger

pytestmark = pytest.mark.integration
__all__ = ["ganger"]
PAGE = (Path(__file__).parents[3] / "docs" / "python.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
FILE = {
    "format": "onnx",
    "path": "exports/onnx/model.onnx",
    "sha256": "ab" * 32,
    "bytes": 7,
    "maxAbsDiff": 2e-6,
    "step": 5,
}
MORE = "  config: {lr: 0.1}\n  checkpoint: {volume: {size: 1Gi}, everySteps: 10}\n"


class Operator(threading.Thread):
    """Says of every job that it runs, does what it is asked for, and completes it, as the operator would."""

    def __init__(self, ganger):
        super().__init__()
        self._ganger = ganger
        self._sessions = f"/apis/ganger.dev/v1alpha1/namespaces/{ganger.namespace}/devsessions"
        self._over = threading.Event()
        self._ages: dict[str, int] = {}
        self.error: Exception | None = None

    def run(self):
        try:
            while not self._over.wait(0.1):
                for job in self._ganger.api.get(self._ganger.jobs)["items"]:
                    self._play(job)
                for session in self._ganger.api.get(self._sessions)["items"]:
                    self._open(session)
        except Exception as error:  # noqa: BLE001 - told by the test
            self.error = error

    def stop(self):
        self._over.set()
        self.join()

    def _play(self, job):
        name, uid = job["metadata"]["name"], job["metadata"]["uid"]
        self._ages[uid] = age = self._ages.get(uid, 0) + 1
        if any(one["type"] == "Complete" for one in job.get("status", {}).get("conditions", ())):
            return
        status = {
            "phase": "Running",
            "workers": "2/2",
            "progress": {"step": age, "totalSteps": 100, "loss": f"0.{age}"},
        }
        live = job["spec"].get("liveConfig", {})
        status["liveConfig"] = [{"name": key, "value": str(value), "appliedAtStep": 7} for key, value in live.items()]
        asked = job["metadata"].get("annotations", {}).get("ganger.dev/checkpoint-requested-at")
        status["checkpoint"] = {"latestStep": age} | ({"latestTime": asked} if asked else {})
        done = age > 5 and name != "tuned"
        if done and "-export-" in name:
            self._made(job)
        self._ganger.says(
            "Complete" if done else "Running", name=name, **status | {"phase": "Complete" if done else "Running"}
        )

    def _made(self, job):
        """Leave the pod of an export, with the last word of its program."""
        name, uid, api = job["metadata"]["name"], job["metadata"]["uid"], self._ganger.api
        owner = {"apiVersion": "ganger.dev/v1alpha1", "kind": "TrainingJob", "name": name, "uid": uid}
        labels = {"ganger.dev/job-uid": uid, "ganger.dev/attempt": "0", "ganger.dev/worker": "0"}
        metadata = {"name": f"{name}-0-0", "labels": labels, "ownerReferences": [owner | {"controller": True}]}
        api.create(
            self._ganger.pods,
            {
                "metadata": metadata,
                "spec": {
                    "containers": [{"name": "trainer", "image": "i", "env": [{"name": "GANGER_ATTEMPT", "value": "0"}]}]
                },
            },
        )
        ended = {"exitCode": 0, "message": json.dumps({"outcome": "Done", "artifacts": [FILE]})}
        trainer = {"name": "trainer", "state": {"terminated": ended}, "image": "i", "imageID": "", "ready": False}
        status = {"phase": "Succeeded", "containerStatuses": [trainer | {"restartCount": 0}]}
        api.merge(f"{self._ganger.pods}/{name}-0-0/status", {"status": status})

    def _open(self, session):
        name = session["metadata"]["name"]
        if session.get("status", {}).get("phase"):
            return
        secret = {"metadata": {"name": f"{name}-dev"}, "stringData": {"token": "canary-token"}}
        self._ganger.api.create(f"/api/v1/namespaces/{self._ganger.namespace}/secrets", secret)
        status = {
            "phase": "Running",
            "start": 0,
            "pod": f"{name}-dev-0",
            "secretName": f"{name}-dev",
            "message": "open",
        }
        self._ganger.api.merge(f"{self._sessions}/{name}/status", {"status": status})


def test_the_page_does_what_it_says(ganger, monkeypatch, tmp_path, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", ganger.kubeconfig)
    Path("job.yaml").write_text(Path(ganger.manifest(more=MORE)).read_text())
    Path("train.py").write_text("def fit(lr):\n    print(lr)\n")
    monkeypatch.syspath_prepend(tmp_path)
    operator = Operator(ganger)
    operator.start()
    names: dict[str, object] = {}
    capfd.readouterr()

    try:
        for block in BLOCKS:
            exec(compile(block.replace('"team"', f'"{ganger.namespace}"'), "docs/python.md", "exec"), names)
    finally:
        operator.stop()

    said = capfd.readouterr().out
    assert operator.error is None
    assert 8 == len(BLOCKS)
    assert "digits 2\n['Service', 'PersistentVolumeClaim', 'Pod', 'Pod']\n" in said
    assert "digits is running: step" in said
    assert "Complete Progress(" in said
    assert re.search(r"search-\d is the best of \{'search-0': 0", said)
    assert "saved at step" in said
    assert "('-m', 'train_function_entry') {'lr': 0.001}\n" in said
    assert "onnx exports/onnx/model.onnx" in said
    assert re.search(r"Jupyter of try answers at http://127.0.0.1:\d+\n\['try'\]\n", said)
    assert "canary-token" not in said
    assert "there is no job nobody in namespace" in said
    assert {"digits", "fit", "search-0", "search-1", "search-2"} == {
        job["metadata"]["name"]
        for job in ganger.api.get(ganger.jobs)["items"]
        if "-export-" not in job["metadata"]["name"]
    }
