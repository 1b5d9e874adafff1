"""`ganger init`: what is written is valid, says what comes next, and never takes a file away."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ganger.api.validate import check_manifest
from ganger.cli import init
from ganger.cli.render import IMAGE

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("example", init.EXAMPLES)
def test_what_is_written_is_valid_and_commented(ganger, folder, example):
    assert 0 == ganger("init", "my-job", "--example", example).code

    assert (0, "my-job.yaml: my-job is valid\n", "") == vars_of(ganger("validate", "my-job.yaml"))
    text = (folder / "my-job.yaml").read_text()
    assert IMAGE == yaml.safe_load(text)["spec"]["image"]
    assert sum("#" in line for line in text.splitlines()) >= 8
    assert max(map(len, text.splitlines())) <= 120


def vars_of(said):
    return said.code, said.out, said.err


@pytest.mark.parametrize("example", init.EXAMPLES)
def test_every_field_that_a_comment_offers_is_one(example):
    text, count = re.subn(r"(?m)^( +)# ( *[a-zA-Z]+:( |$))", r"\1\2", init.manifest(example, "digits"))

    assert (True, []) == (count >= 2, check_manifest(yaml.safe_load(text))[1])


def test_a_name_is_that_of_the_job_and_of_the_file_and_the_next_commands_name_it(ganger, folder):
    said = ganger("init", "mnist")

    assert (0, "mnist.yaml written\n") == (said.code, said.out)
    assert [
        "check it with: ganger validate mnist.yaml",
        "run it here with: ganger run mnist.yaml",
        "send it to the cluster with: ganger submit mnist.yaml --watch",
    ] == said.err.splitlines()
    assert ["mnist.yaml"] == [path.name for path in folder.iterdir()]


def test_a_script_comes_with_its_code_and_with_the_command_that_gives_it_to_the_cluster(ganger, folder):
    (folder / "jobs").mkdir()
    said = ganger("init", "mine", "--example", "script", "--file", "jobs/first.yaml")

    assert "jobs/first.yaml written\njobs/train.py written\n" == said.out
    assert "kubectl create configmap mine-code --from-file=jobs/train.py" in said.err
    job = yaml.safe_load((folder / "jobs/first.yaml").read_text())
    assert {"configMap": {"name": "mine-code"}} == job["spec"]["code"]
    ast.parse((folder / "jobs/train.py").read_text())


def test_a_project_comes_with_a_task_that_works_and_a_readme_that_names_it(ganger, folder):
    said = ganger("init", "line", "--example", "project")

    assert "line.yaml written\ntask.py written\nREADME.md written\n" == said.out
    assert "kubectl create configmap line-code --from-file=task.py" in said.err
    readme = (folder / "README.md").read_text()
    assert readme.startswith("# line\n")
    assert "ganger submit line.yaml --watch" in readme
    assert "JOB-" not in readme
    source = os.pathsep.join(str(ROOT / part) for part in ("operator", "jobs"))
    environment = dict(os.environ) | {"PYTHONPATH": source}
    done = subprocess.run([sys.executable, "task.py"], env=environment, capture_output=True, text=True, timeout=120)
    assert "one forward and one backward pass work: loss" in done.stdout, done.stderr


def test_standard_output_takes_the_manifest_alone(ganger, folder):
    said = ganger("init", "--example", "command", "-f", "-")

    assert (0, "") == (said.code, said.err)
    assert "command" == yaml.safe_load(said.out)["metadata"]["name"]
    assert [] == list(folder.iterdir())


def test_nothing_is_written_where_one_of_the_files_is_there_already(ganger, folder):
    (folder / "train.py").write_text("mine\n")

    said = ganger("init", "mine", "--example", "script")

    assert (2, "") == (said.code, said.out)
    assert [
        "error: nothing was written",
        "  why: train.py is there already",
        "  fix: choose another NAME or another --file, or add --force",
    ] == said.problem
    assert ("mine\n", False) == ((folder / "train.py").read_text(), (folder / "mine.yaml").exists())

    assert 0 == ganger("init", "mine", "--example", "script", "--force").code
    assert "torch" in (folder / "train.py").read_text()


def test_a_link_to_nowhere_is_a_file_that_is_there(ganger, folder):
    (folder / "digits.yaml").symlink_to(folder / "elsewhere")

    assert 2 == ganger("init", "digits").code
    assert not (folder / "elsewhere").exists()


@pytest.mark.parametrize("name", ["Digits", "x: y", "a\nb", "../x", "9x", "a" * 41, '"x"', "x\x1b[2J"])
def test_a_name_that_no_job_can_have_is_refused_before_anything_is_written(ganger, folder, name):
    said = ganger("init", name)

    assert 2 == said.code
    assert said.problem[0].startswith("error: no job can be called '")
    assert "  fix: choose one such as digits-2" == said.problem[2]
    assert "\x1b" not in said.err
    assert [] == list(folder.iterdir())


def test_a_folder_that_is_not_there_is_told(ganger):
    said = ganger("init", "digits", "-f", "absent/digits.yaml")

    assert (1, "error: absent/digits.yaml cannot be used") == (said.code, said.problem[0])


def test_every_file_of_the_scaffold_belongs_to_an_example():
    folder = Path(init.__file__).parent / "scaffold"
    wanted = {f"{name}.yaml" for name in init.EXAMPLES} | {f"{b}.txt" for _, few in init.EXAMPLES.values() for b in few}

    assert wanted == {path.name for path in folder.iterdir()}
