"""`ganger metrics` against the real API server; the test plays the operator."""

import json
import threading

import pytest

pytestmark = pytest.mark.integration


def test_figures_are_read_once_or_as_they_come(ganger):
    ganger("submit", ganger.manifest())
    ganger.says("Running", phase="Running", progress={"step": 50, "totalSteps": 200, "loss": "0.5"})

    assert {"step": 50, "totalSteps": 200, "loss": 0.5} == json.loads(ganger("metrics", "digits", "-o", "json").out)

    def train():
        ganger.says("Running", phase="Running", progress={"step": 60, "totalSteps": 200, "loss": "0.4"})
        ganger.says("Complete", phase="Complete", progress={"step": 200, "totalSteps": 200, "loss": "0.1"})

    timer = threading.Timer(1.0, train)
    timer.start()
    said = ganger("metrics", "digits", "--watch", "-o", "json")
    timer.join()

    assert (0, [50, 60, 200]) == (said.code, [json.loads(line)["step"] for line in said.out.splitlines()]), said.err
