"""The help of every command: it has examples, and each of them is one that the command takes."""

import inspect
import re
import shlex

import click
import pytest

from ganger.cli import dev, main
from ganger.cli.main import cli
from ganger.cli.session import Session

EVERY = [(name,) for name in main.COMMANDS if name != "dev"] + [("dev", name) for name in dev.COMMANDS]


def examples(command):
    """The command lines of its help, without what is told behind them."""
    kept = [paragraph for paragraph in inspect.cleandoc(command.help).split("\n\n") if paragraph.startswith("\b")]
    found = re.findall(r"\b(ganger [a-z].*)$", "\n".join(kept), re.MULTILINE)
    return [re.split(r"  +|\)'| [|>]+ |$", line)[0] for line in found]


def parsed(ctx, words):
    """Parse the words as the program does, and call nothing."""
    group = ctx.command
    group.parse_args(ctx, words)
    name, command, rest = group.resolve_command(ctx, [*ctx._protected_args, *ctx.args])
    if isinstance(command, click.Group):
        return parsed(click.Context(command, info_name=name, parent=ctx), rest)
    return command.make_context(name, rest, parent=ctx)


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_every_command_has_examples_and_takes_them(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "try.ipynb").touch()
    group = cli if len(words) == 1 else dev.dev
    command = group.get_command(click.Context(group), words[-1])

    lines = [line for line in examples(command) if shlex.split(line)[1 : 1 + len(words)] == list(words)]

    assert lines, f"the help of {' '.join(words)} has no example"
    for line in lines:
        # With its settings: the option of the help is made at the first parse, and kept by the command for ever.
        with click.Context(cli, info_name="ganger", obj=Session(), **cli.context_settings) as ctx:
            parsed(ctx, shlex.split(line)[1:])


@pytest.mark.parametrize(
    "word, hint",
    [("list", "; it is 'ganger dev ls'"), ("conect", "; did you mean 'connect'?"), ("qqq", "")],
)
def test_a_command_of_sessions_that_there_is_not_is_told_with_the_one_that_is_meant(ganger, word, hint):
    said = ganger("dev", word)

    assert (2, f"error: there is no command {word!r}{hint}") == (said.code, said.problem[0])


def test_the_first_sentence_of_a_command_is_that_of_the_table():
    for group, commands in ((cli, main.COMMANDS), (dev.dev, dev.COMMANDS)):
        for name, (_, sentence) in commands.items():
            said = " ".join(group.get_command(click.Context(group), name).help.split("\n\n")[0].split())
            assert said.startswith(sentence), f"{name}: {said}"
