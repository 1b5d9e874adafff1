"""Completion: the words of this program without loading its commands, and the names of the cluster or nothing."""

import asyncio
import shutil
import subprocess
import sys

import pytest

from ganger.cli import completing, completion
from ganger.cli.main import COMMANDS
from ganger.cli.session import Session
from ganger.kube.errors import Forbidden
from shells import installed, tab


@pytest.fixture
def complete(ganger):
    """What kubectl reads for these words; the last one is being typed."""
    ganger.targets = []

    def connect(target):
        ganger.targets.append(target)
        return ganger._connect(target)

    # As with a kubeconfig that only the client library can read; the quick way has tests of its own.
    return lambda *words: completion.kubectl(words, Session(connect=connect, names=lambda target, plural: None))


@pytest.fixture
def program(tmp_path):
    """A PATH with the programs as they are installed, and nothing of this machine's."""
    return installed(tmp_path)


def test_commands_come_with_their_sentence(complete):
    assert [f"status\t{COMMANDS['status'][1]}", ":4"] == complete("stat")
    assert [*COMMANDS] == [line.split("\t")[0] for line in complete("")[:-1]]
    assert [":4"] == complete("nothing-begins-so")


def test_names_of_jobs_are_completed_wherever_a_job_is_named(complete, ganger):
    for name in ("digits", "digits-2", "other"):
        ganger.job(name)

    for command in ("status", "logs", "watch", "wait", "suspend", "resume", "delete", "request"):
        assert ["digits", "digits-2", ":4"] == complete(command, "dig"), command
    assert ["other", ":4"] == complete("checkpoints", "ls", "o")
    assert [] == ganger.cluster.writes


def test_the_namespace_of_the_line_is_asked_before_and_behind_the_command(complete, ganger):
    complete("status", "-n", "vision", "")
    complete("-n", "speech", "--context", "prod", "status", "")

    assert [("vision", None), ("speech", "prod")] == [(one.namespace, one.context) for one in ganger.targets]


def test_namespaces_are_completed_too(complete, ganger):
    ganger.cluster.put("namespaces", {"metadata": {"name": "vision"}})

    assert ["vision", ":4"] == complete("status", "-n", "v")


def test_choices_options_and_files_are_completed(complete):
    assert ["checkpoint", "stacks", ":4"] == complete("request", "digits", "")
    assert ["--tail\tOnly the last N lines of each worker.", ":4"] == complete("logs", "--tai")
    assert [":0"] == complete("submit", "-f", "")
    assert [":0"] == complete("validate", "")
    assert [":0"] == complete("list", "--kubeconfig", "")


def test_a_cluster_that_does_not_let_or_does_not_answer_leaves_the_line_alone(complete, ganger, monkeypatch, capsys):
    async def forbidden(*_, **__):
        raise Forbidden(403, "Forbidden", "no")

    async def silent(*_, **__):
        await asyncio.sleep(60)

    monkeypatch.setattr(completing, "PATIENCE_SECONDS", 0.05)
    for answer in (forbidden, silent):
        ganger.cluster.list = answer
        assert [":4"] == complete("status", "")
    assert ("", "") == capsys.readouterr()


@pytest.mark.parametrize("line, whole", [("ganger stat", "ganger status"), ("ganger logs --tai", "ganger logs --tail")])
def test_a_real_bash_completes_with_the_tab_key(program, line, whole):
    assert whole == tab(program, line)


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_another_shell_takes_its_script_and_completes(program, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed here: its script is not run")
    if shell == "fish":
        script = "ganger completion fish | source; complete -C 'ganger stat'"
    else:  # outside of a line editor zsh knows no compadd: what it would be given is printed instead
        script = (
            "compdef() { :; }; _describe() { print -l -- $completions_with_descriptions; }; compadd() { print $3; };"
            "source <(ganger completion zsh); words=(ganger stat); CURRENT=2; _ganger_completion"
        )
    done = subprocess.run([shell, "-c", script], env=program, capture_output=True, text=True, timeout=60)

    assert (0, True) == (done.returncode, done.stdout.startswith("status")), done.stdout + done.stderr


def test_a_completion_of_words_loads_no_client_library(program):
    probe = (
        "import sys; from ganger.cli.completion import *\n"
        "for words in (['stat'], ['logs', '--t']): kubectl(words, Session())\n"
        "print(sorted({'aiohttp', 'kubernetes', 'torch', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], env=program, capture_output=True, text=True, check=True)

    assert "[]\n" == done.stdout
