"""`--from-function`: the file that goes along, what calls it, and what is refused with its line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

SOURCE = '''\
"""Trains."""

import math


def train(lr: float, sizes=(1, 2), *, name="x"):
    print("trained", __name__, lr, sizes, name, math.floor(2.5))


def other():
    pass


if __name__ == "__main__":
    raise SystemExit("the file was run")
'''


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write files into the folder that the command is called in; the path of the last one is returned."""
    monkeypatch.chdir(tmp_path)

    def write(text=SOURCE, name="train.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return name

    return write


def sent(ganger):
    (carried,) = [item for (plural, _), item in ganger.cluster.objects.items() if plural == "configmaps"]
    (job,) = [item for (plural, _), item in ganger.cluster.objects.items() if plural == "trainingjobs"]
    return carried, job


def run(folder: Path, carried, job):
    """Run what was sent as a worker does: the files at /code, the settings in the environment."""
    folder.mkdir()
    for name, text in carried["data"].items():
        (folder / name).write_text(text)
    environ = {"PYTHONPATH": str(folder), "GANGER_CONFIG": json.dumps(job["spec"].get("config", {}))}
    words = [sys.executable, *job["spec"]["script"]]
    return subprocess.run(words, env=environ, cwd=folder.parent, capture_output=True, text=True, check=True).stdout


def test_the_file_goes_along_whole_and_the_function_is_called_with_its_arguments(ganger, write, tmp_path):
    write()

    said = ganger(
        "submit", "--from-function", "train.py:train", "--arg", "lr=1e-3", "--arg", "sizes=[3]", "--arg", "name=b"
    )

    assert (0, "train submitted\n") == (said.code, said.out), said.err
    carried, job = sent(ganger)
    assert SOURCE == carried["data"]["train_function.py"]
    assert (["-m", "train_function_entry"], {"lr": 0.001, "sizes": [3], "name": "b"}) == (
        job["spec"]["script"],
        job["spec"]["config"],
    )
    assert "trained train_function 0.001 [3] b 2\n" == run(tmp_path / "code", carried, job)
    assert ["train"] == [one["name"] for one in carried["metadata"]["ownerReferences"]]


def test_another_value_is_another_setting_and_no_other_code(ganger, write):
    write()

    found = []
    for lr in ("1", "2"):
        said = ganger("submit", "--from-function", "train.py:train", "--arg", f"lr={lr}", "--dry-run", "client")
        carried, job = yaml.safe_load_all(said.out)
        found.append((carried["metadata"]["name"], job["spec"]["config"]))

    assert found[0][0] == found[1][0]
    assert [{"lr": 1}, {"lr": 2}] == [config for _, config in found]


def test_a_module_of_this_folder_is_found_and_not_run(ganger, write, tmp_path):
    write("raise SystemExit('a package was run')", "pkg/__init__.py")
    write("raise SystemExit('a module was run')\ndef main(): pass\n", "pkg/deep/fit.py")

    said = ganger("submit", "--from-function", "pkg.deep.fit:main", "--name", "fit")

    assert (0, "fit submitted\n") == (said.code, said.out), said.err
    assert {"fit_function.py", "fit_function_entry.py"} == set(sent(ganger)[0]["data"])


def test_the_manifest_says_the_rest_and_its_config_is_given_too(ganger, write, manifest):
    write()
    base = manifest() + ""
    Path(base).write_text(Path(base).read_text() + "  config: {lr: 0.5, name: base}\n")

    said = ganger("submit", "--from-function", "train.py:train", "--arg", "name=mine", "-f", base)

    assert 0 == said.code, said.err
    spec = sent(ganger)[1]["spec"]
    assert (2, {"lr": 0.5, "name": "mine"}, False) == (spec["workers"], spec["config"], "task" in spec)
    assert "the function takes the place of spec.task of " in said.err


def test_a_marked_function_needs_no_name(ganger, write):
    write("def a(): pass\n\n# ganger: job\n@print\ndef b(): pass\n")

    assert "b submitted\n" == ganger("submit", "--from-function", "train.py").out


@pytest.mark.parametrize(
    "target, what, why",
    [
        ("train.py", "train.py has no marked function", "it has other, train"),
        ("train.py:trian", "train.py has no function trian", "it has other, train"),
        ("train.py:math", "train.py has no function math", "it has other, train"),
        ("nothing:main", "there is no module nothing to send", "there is no nothing.py in "),
        ("math:floor", "there is no module math to send", ""),
        ("train", "'train' names no function", ""),
        ("train.py:", "'train.py:' names no function", ""),
        ("a-b:c", "'a-b' is no name of a module", ""),
    ],
)
def test_what_is_no_function_is_told_with_those_that_there_are(ganger, write, target, what, why):
    write()

    said = ganger("submit", "--from-function", target)

    assert (2, f"error: {what}", []) == (said.code, said.problem[0], ganger.cluster.writes)
    assert why in said.problem[1]


@pytest.mark.parametrize(
    "source, line, text",
    [
        ("def train(:\n", 1, "Python cannot read it: invalid syntax"),
        ("import json\nimport helper\ndef train(): pass", 2, "import helper: helper.py does not go along"),
        ("def train():\n    from pack.deep import x", 2, "import pack: pack/ does not go along"),
        ("from . import x\ndef train(): pass", 1, "from . is relative to a package, and the module goes alone"),
        (
            "from ganger import Client\ndef train(): pass\nClient().submit_function(train)",
            3,
            "submit_function() is called when the module is imported, so in the job again",
        ),
    ],
)
def test_what_would_not_be_there_is_told_with_its_line_and_nothing_is_sent(ganger, write, source, line, text):
    write("", "helper.py")
    write("", "pack/__init__.py")
    write(source)

    said = ganger("submit", "--from-function", "train.py:train")

    assert 2 == said.code
    assert f"train.py:{line}: {text}" in said.err.splitlines()
    assert ("error: nothing was submitted", []) == (said.problem[0], ganger.cluster.writes)


def test_imports_that_a_job_never_makes_or_finds_in_its_image_stand_in_no_way(ganger, write):
    write("", "helper.py")
    write("{}", "yaml/data.json")
    write("print()", "msgspec/tool.py")
    write(
        "from typing import TYPE_CHECKING\nimport os, yaml, msgspec\nif TYPE_CHECKING:\n    import helper\n"
        "def train(): pass\nif __name__ == '__main__':\n    import helper\n    submit_function(train)\n"
    )

    assert 0 == ganger("submit", "--from-function", "train.py:train").code


@pytest.mark.parametrize(
    "arguments, what, fix",
    [
        ([], "train of train.py needs lr", "add --arg lr=VALUE, or give a default"),
        (["lr=1", "nmae=b"], "train of train.py takes no argument nmae", "did you mean name?"),
        (["lr=1", "zzz=1"], "train of train.py takes no argument zzz", "leave it out of --arg and of spec.config"),
    ],
)
def test_arguments_that_do_not_fit_are_told_before_anything_is_sent(ganger, write, arguments, what, fix):
    write()

    said = ganger(
        "submit", "--from-function", "train.py:train", *(word for one in arguments for word in ("--arg", one))
    )

    assert (2, f"error: {what}", f"  fix: {fix}") == (said.code, said.problem[0], said.problem[-1])
    assert [] == ganger.cluster.writes


@pytest.mark.parametrize("source", ["def train(**more): pass", "@wrap\ndef train(): pass"])
def test_what_takes_every_name_or_is_decorated_is_called_as_asked(ganger, write, source):
    write(source)

    assert 0 == ganger("submit", "--from-function", "train.py:train", "--arg", "any=1").code


@pytest.mark.parametrize(
    "source, text",
    [
        ("async def train(): pass", "is an async function"),
        ("class train: pass", "train is a class"),
        ("def train(a, /): pass", "a stands before a / and cannot be given by name"),
    ],
)
def test_what_cannot_be_called_by_name_is_told(ganger, write, source, text):
    write(source)

    said = ganger("submit", "--from-function", "train.py:train")

    assert 2 == said.code
    assert text in said.err


def test_a_file_that_no_config_map_takes_is_refused_with_its_size(ganger, write):
    write(f"def train(): return '{'y' * 1_000_000}'")

    said = ganger("submit", "--from-function", "train.py:train")

    assert (2, "error: train.py is too big") == (said.code, said.problem[0])
    assert "a ConfigMap takes 1000000 of them" in said.problem[1]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x = '\x00'"])
def test_what_is_no_text_of_python_is_told(ganger, write, tmp_path, content):
    write()
    (tmp_path / "train.py").write_bytes(content)

    assert (2, []) == (ganger("submit", "--from-function", "train.py:train").code, ganger.cluster.writes)


@pytest.mark.parametrize("spec", ["[1]", "3", "{config: [1]}", "{config: 3}"])
def test_a_manifest_that_is_none_is_told_with_its_field(ganger, write, tmp_path, spec):
    write("def train(): pass")
    (tmp_path / "job.yaml").write_text(f"apiVersion: ganger.dev/v1alpha1\nkind: TrainingJob\nspec: {spec}\n")

    said = ganger("submit", "--from-function", "train.py:train", "-f", "job.yaml")

    assert (2, "error: nothing was submitted") == (said.code, said.problem[0])
    assert "job.yaml:3: spec" in said.err


@pytest.mark.parametrize(
    "options, text",
    [
        (["--arg", "lr=1"], "--arg is an argument of a function"),
        (["--from-function", "train.py:train", "--arg", "lr"], "is no NAME=VALUE"),
        (["--from-function", "train.py:train", "--arg", "lr=1", "--arg", "lr=2"], "said twice"),
        (["--from-function", "train.py:train", "--task", "x"], "are about a notebook"),
        (["--name", "x"], "in a manifest it is metadata.name"),
    ],
)
def test_options_that_contradict_each_other_are_refused(ganger, write, options, text):
    write()

    said = ganger("submit", *options)

    assert 2 == said.code
    assert text in said.problem[0]


def test_a_function_of_a_notebook_takes_arguments_too(ganger, write, tmp_path):
    cell = {"cell_type": "code", "metadata": {}, "outputs": [], "source": "def main(n, k=1): print('main', n, k)"}
    write(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}), "try.ipynb")
    words = ("submit", "--from-notebook", "try.ipynb", "--function", "main")

    assert 0 == ganger(*words, "--arg", "n=[1, 2]").code
    assert "main [1, 2] 1\n" == run(tmp_path / "code", *sent(ganger))
    assert "takes no argument z" in ganger(*words, "--arg", "z=1").problem[0]


def test_the_function_runs_here_too(ganger, write, monkeypatch):
    write()
    monkeypatch.setattr("ganger.cli.local.LocalGang._command", lambda self: (sys.executable, *self.job.spec.script))
    monkeypatch.setattr("ganger.cli.run._check_libraries", lambda job: None)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0")

    said = ganger("run", "--from-function", "train.py:train", "--arg", "lr=2")

    assert (0, "worker-0 | trained train_function 2 (1, 2) x 2\n") == (said.code, said.out), said.err
