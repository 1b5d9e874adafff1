"""Argo CD's view of a job, by the script that users put into its configuration, run by a real Lua."""

import json
import subprocess
from typing import get_args

import pytest

from ganger.api.status import Phase
from unit.alerts.alerts import ROOT

SCRIPT = ROOT / "docs" / "argocd" / "health.lua"
EXPECTED = {
    "Pending": "Progressing",
    "Starting": "Progressing",
    "Running": "Healthy",
    "Restarting": "Progressing",
    "Exporting": "Progressing",
    "Suspended": "Suspended",
    "Complete": "Healthy",
    "Failed": "Degraded",
}


def literal(value):
    """A JSON value as Lua writes it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"[{json.dumps(key)}] = {literal(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value)


@pytest.fixture
def health(lua):
    def of(job):
        """Status and message, as Argo CD gets them: the script runs with the job as the global `obj`."""
        program = (
            f"obj = {literal(job)}\n"
            f"local answer = dofile({json.dumps(str(SCRIPT))})\n"
            'io.write(answer.status, "\\n", answer.message or "")'
        )
        done = subprocess.run([lua, "-"], input=program, capture_output=True, text=True, timeout=10)
        assert (0, "") == (done.returncode, done.stderr)
        return tuple(done.stdout.split("\n"))

    return of


def test_every_phase_is_expected_here():
    assert set(get_args(Phase)) == set(EXPECTED)


@pytest.mark.parametrize("phase", EXPECTED)
def test_a_phase_is_a_health(health, phase):
    job = {"metadata": {"generation": 2}, "status": {"phase": phase, "observedGeneration": 2, "message": "so it is"}}

    assert (EXPECTED[phase], f"{phase}: so it is") == health(job)


def test_a_job_without_a_message_says_its_phase(health):
    assert ("Healthy", "Running") == health({"metadata": {"generation": 1}, "status": {"phase": "Running"}})


def test_a_job_that_no_operator_has_seen_is_progressing(health):
    assert ("Progressing", "the operator has not seen this job yet") == health({"metadata": {"generation": 1}})


@pytest.mark.parametrize(
    ("phase", "expected"), [("Running", "Progressing"), ("Suspended", "Progressing"), ("Failed", "Degraded")]
)
def test_a_spec_that_is_not_acted_on_is_progressing_unless_the_job_is_over(health, phase, expected):
    job = {"metadata": {"generation": 3}, "status": {"phase": phase, "observedGeneration": 2}}

    assert expected == health(job)[0]


def test_a_phase_of_a_later_version_is_unknown(health):
    assert "Unknown" == health({"metadata": {}, "status": {"phase": "Paused"}})[0]


def test_the_page_tells_the_same():
    text = (ROOT / "docs" / "observability.md").read_text()
    rows = {"Progressing": "no status yet, Pending, Starting, Restarting, Exporting", "Healthy": "Running, Complete"}
    for health_, phases in rows.items():
        assert f"| {phases} | {health_} |" in text
    assert "| Suspended | Suspended |" in text
    assert "| Failed | Degraded |" in text
    assert "resource.customizations.health.ganger.dev_TrainingJob" in text
