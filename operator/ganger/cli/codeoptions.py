"""The options by which `submit` and `run` take code along: a notebook or a function, and what is taken of it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from click.shell_completion import CompletionItem
from msgspec import Struct

from ganger.cli import arguments, manifests, notebook
from ganger.cli.manifests import Document
from ganger.cli.session import Session
from ganger.cli.terminal import escape

if TYPE_CHECKING:  # generic from click 8.4 on, and at run time only there
    from ganger.cli.work import Work

    _Text = click.ParamType[str]
else:
    _Text = click.ParamType

Command = Callable[..., Any]


class Asked(Struct, frozen=True, kw_only=True):
    """What the command line says of code; "" and None where it says nothing."""

    notebook: Path | None
    function: str
    task: str
    from_function: str
    arg: tuple[str, ...]
    name: str | None


class Function(_Text):
    """FILE.py:NAME or MODULE:NAME; a shell completes the file."""

    name = "function"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return it as it is."""
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return that files may stand there."""
        return [CompletionItem(incomplete, type="file")]


def options(command: Command) -> Command:
    """Add the options, handed over as `asked`."""

    def gathered(*args: Any, **kwargs: Any) -> Any:
        asked = Asked(**{field: kwargs.pop(field) for field in Asked.__struct_fields__})
        return command(*args, asked=asked, **kwargs)

    gathered.__doc__, gathered.__name__ = command.__doc__, command.__name__
    gathered.__dict__.update(command.__dict__)
    wrapped: Command = gathered
    for decorator in (
        click.option("--name", type=arguments.ObjectName(), help="Name of the job. Default: that of the code."),
        click.option(
            "--arg",
            multiple=True,
            metavar="NAME=VALUE",
            help="Argument of the function: JSON, else a text. Repeatable.",
        ),
        click.option("--task", default="", metavar="NAME", help="The notebook's task, for the trainer's loop."),
        click.option(
            "--function", default="", metavar="NAME", help="The notebook's function, with what it needs alone."
        ),
        click.option(
            "--from-function",
            type=Function(),
            default="",
            metavar="FILE.py:NAME",
            help="Call this function; its file goes along. Or MODULE:NAME.",
        ),
        click.option(
            "--from-notebook",
            "notebook",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            metavar="FILE",
            help=f"The cells of this notebook are the code; those tagged '{notebook.TAG}' alone, if there are any.",
        ),
    ):
        wrapped = decorator(wrapped)
    return wrapped


def of(session: Session, asked: Asked, files: Sequence[str], *, mounted: bool) -> "tuple[Document, Work] | None":
    """Return the job of the code that goes along, and that code; None where none is asked for.

    mounted: the code comes from a ConfigMap. Raises UsageError, and Problem after every mistake was told.
    """
    _refuse_contradictions(asked)
    if asked.notebook is None and not asked.from_function:
        return None
    from ganger.cli import functionjob, notebookjob, work  # for these alone: --help does without

    given = work.base(files, "notebook" if asked.notebook is not None else "function")
    values = arguments_of(asked.arg)
    if asked.notebook is not None:
        made = notebookjob.work(session, asked.notebook, function=asked.function, task=asked.task, arguments=values)
    else:
        path, name = functionjob.located(asked.from_function, Path.cwd())
        spec = given[1].manifest.get("spec") if given is not None else None
        config = spec.get("config") if isinstance(spec, dict) else None
        found = functionjob.work(path, name, values, config if isinstance(config, dict) else {})
        if isinstance(found, list):
            for mistake in found:
                session.terminal.message(str(mistake))
            raise functionjob.refused(found)
        made = found
    checked, told = work.document(made, given, name=asked.name, mounted=mounted)
    if told:
        session.terminal.message(escape(told))
    documents = manifests.jobs(session, [work.only(checked)], what="nothing was submitted")
    return manifests.one(documents, what=f"a {made.what}"), made


def arguments_of(words: Sequence[str]) -> dict[str, Any]:
    """Return what `name=value` says. A value is JSON where it can be read as such, else a text. Raises UsageError."""
    found: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name.isidentifier():
            raise click.UsageError(f"--arg {word!r} is no NAME=VALUE, as in lr=1e-3 or sizes=[64,32]")
        if name in found:
            raise click.UsageError(f"--arg {name} is said twice")
        try:
            found[name] = msgspec.json.decode(text)
        except msgspec.DecodeError:
            found[name] = text
    return found


def _refuse_contradictions(asked: Asked) -> None:
    if asked.notebook is not None and asked.from_function:
        raise click.UsageError("--from-notebook and --from-function both name the code: leave one out")
    if asked.function and asked.task:
        raise click.UsageError("--function makes a script and --task a task: name one of them")
    if (asked.function or asked.task) and asked.notebook is None:
        raise click.UsageError("--function and --task are about a notebook: name it with --from-notebook")
    if asked.arg and not (asked.function or asked.from_function):
        raise click.UsageError("--arg is an argument of a function: name it with --from-function or --function")
    if asked.name is not None and asked.notebook is None and not asked.from_function:
        raise click.UsageError("--name is for code that goes along; in a manifest it is metadata.name")
