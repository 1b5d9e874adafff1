"""`ganger examples`: every job that comes with Ganger is listed, printed as it is, and valid."""

import json
import zipfile
from pathlib import Path

import pytest

from ganger.cli import completion, examples
from ganger.cli.session import Session

ROOT = Path(__file__).parents[3]
NAMES = sorted(path.parent.name for path in ROOT.glob("jobs/examples/*/job.yaml"))


def test_all_are_listed_with_a_sentence_each(ganger):
    said = ganger("examples")

    assert 0 == said.code
    assert ["NAME", *NAMES] == [line.split()[0] for line in said.out.splitlines()]
    assert (
        "Handwritten digits on two CPU workers: the job of `make demo`"
        == {one["name"]: one["about"] for one in json.loads(ganger("examples", "-o", "json").out)}["digits"]
    )
    assert all(one["about"] for one in json.loads(ganger("examples", "-o", "json").out))


@pytest.mark.parametrize("name", NAMES)
def test_one_is_printed_as_it_is_and_is_valid(ganger, name, tmp_path):
    said = ganger("examples", name)

    assert (ROOT / "jobs" / "examples" / name / "job.yaml").read_text() == said.out
    (tmp_path / "job.yaml").write_text(said.out)
    assert 0 == ganger("validate", str(tmp_path / "job.yaml")).code


def test_one_that_is_not_there_is_told_with_those_that_are(ganger):
    said = ganger("examples", "nothing")

    assert (3, "error: there is no example 'nothing'") == (said.code, said.problem[0])
    assert "digits" in said.problem[1]


def test_names_are_completed():
    assert ["digits", ":4"] == completion.kubectl(["examples", "dig"], Session())


def test_an_installed_program_has_them_beside_itself(ganger, tmp_path, monkeypatch):
    (tmp_path / "examples" / "mine").mkdir(parents=True)
    (tmp_path / "examples" / "mine" / "job.yaml").write_text("# Mine. More.\n")
    with zipfile.ZipFile(tmp_path / "wheel.zip", "w") as wheel:
        wheel.write(tmp_path / "examples" / "mine" / "job.yaml", "ganger/cli/examples/mine/job.yaml")
    for home in (tmp_path, zipfile.Path(tmp_path / "wheel.zip", "ganger/cli/")):
        monkeypatch.setattr(examples.resources, "files", lambda package, home=home: home)

        assert ["mine", "Mine"] == ganger("examples").out.splitlines()[1].split()
