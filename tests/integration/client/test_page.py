"""The code of docs/python.md, run block by block against the real API server; a thread plays the operator."""

import re
import threading
from pathlib import Path

import pytest

from integration.cli.conftest import ganger

pytestmark = pytest.mark.integration
__all__ = ["ganger"]
PAGE = (Path(__file__).parents[3] / "docs" / "python.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
MORE = "  config: {lr: 0.1}\n  checkpoint: {volume: {size: 1Gi}, everySteps: 10}\n"


class Operator(threading.Thread):
    """Says of every job that it runs, does what it is asked for, and completes it, as the operator would."""

    def __init__(self, ganger):
        super().__init__()
        self._ganger = ganger
        self._over = threading.Event()
        self._ages: dict[str, int] = {}
        self.error: Exception | None = None

    def run(self):
        try:
            while not self._over.wait(0.1):
                for job in self._ganger.api.get(self._ganger.jobs)["items"]:
                    self._play(job)
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
        if asked:
            status["checkpoint"] = {"latestStep": age, "latestTime": asked}
        done = age > 5 and name != "tuned"
        self._ganger.says(
            "Complete" if done else "Running", name=name, **status | {"phase": "Complete" if done else "Running"}
        )


def test_the_page_does_what_it_says(ganger, monkeypatch, tmp_path, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", ganger.kubeconfig)
    Path("job.yaml").write_text(Path(ganger.manifest(more=MORE)).read_text())
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
    assert 5 == len(BLOCKS)
    assert "digits 2\n['Service', 'PersistentVolumeClaim', 'Pod', 'Pod']\n" in said
    assert "digits is running: step" in said
    assert "Complete Progress(" in said
    assert re.search(r"search-\d is the best of \{'search-0': 0", said)
    assert "saved at step" in said
    assert "there is no job nobody in namespace" in said
    assert {"digits", "search-0", "search-1", "search-2"} == {
        job["metadata"]["name"] for job in ganger.api.get(ganger.jobs)["items"]
    }
