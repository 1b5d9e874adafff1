"""The help of every command and what `render` makes of every example, word for word.

`GANGER_GOLDEN=write` rewrites the files: the diff in review is the change of behaviour.
"""

import os
from pathlib import Path

import pytest

from ganger.cli import dev, main
from ganger.cli.session import Session
from ganger.cli.terminal import Terminal

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted(path.parent.name for path in ROOT.glob("jobs/examples/*/job.yaml"))


def printed(capsys, monkeypatch, *arguments):
    monkeypatch.setenv("COLUMNS", "100")
    code = main.run(list(arguments), Session(terminal=Terminal(environ={})))
    said = capsys.readouterr()

    assert (0, "") == (code, said.err)
    return said.out


def check(name, text):
    path = Path(__file__).parent / name
    if os.environ.get("GANGER_GOLDEN") == "write":
        path.write_text(text)
    assert path.exists(), f"{name} is missing: make golden"
    assert path.read_text() == text, f"{name} differs: make golden rewrites it"


def test_there_are_examples():
    assert {"chargpt", "digits", "fashion_mnist", "quadratic"} <= set(EXAMPLES)


def test_help(capsys, monkeypatch):
    check("help.txt", printed(capsys, monkeypatch, "--help"))


@pytest.mark.parametrize("command", main.COMMANDS)
def test_help_of_a_command(capsys, monkeypatch, command):
    check(f"help-{command}.txt", printed(capsys, monkeypatch, command, "--help"))


@pytest.mark.parametrize("command", dev.COMMANDS)
def test_help_of_a_command_about_sessions(capsys, monkeypatch, command):
    check(f"help-dev-{command}.txt", printed(capsys, monkeypatch, "dev", command, "--help"))


@pytest.mark.parametrize("example", EXAMPLES)
def test_render_of_an_example(capsys, monkeypatch, example):
    monkeypatch.chdir(ROOT)
    check(f"render-{example}.yaml", printed(capsys, monkeypatch, "render", f"jobs/examples/{example}/job.yaml"))


def test_render_shows_the_pod_that_makes_model_files(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    check("render-export.yaml", printed(capsys, monkeypatch, "render", "tests/golden/cli/export.yaml"))
