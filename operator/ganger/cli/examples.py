"""`ganger examples`: the jobs that come with Ganger, to be run as they are or to start from."""

from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from ganger.cli import arguments, figures, printing
from ganger.cli.problem import Code, Problem
from ganger.cli.session import Session
from ganger.cli.terminal import escape

if TYPE_CHECKING:  # generic from click 8.4 on, and at run time only there
    _Text = click.ParamType[str]
else:
    _Text = click.ParamType


class Example(_Text):
    """The name of an example, which a shell completes."""

    name = "example"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return it as it is."""
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the names."""
        return [CompletionItem(name) for name, _ in found() if name.startswith(incomplete)]


@click.command()
@click.argument("name", type=Example(), required=False)
@arguments.for_people_or_scripts
@arguments.common
@arguments.pass_session
def examples(session: Session, name: str | None, output: str) -> Code:
    """List the jobs that come with Ganger, or print the manifest of one.

    \b
    ganger examples digits | ganger run -           on this machine
    ganger examples digits | ganger submit -f -     on the cluster
    ganger examples digits > mine.yaml              to start from
    """
    listed = dict(found())
    if name is not None:
        if name not in listed:
            fix = f"'ganger examples' lists them: {', '.join(listed)}"
            raise Problem(f"there is no example {escape(name)!r}", "", fix, code=Code.NOT_FOUND)
        session.terminal.data(listed[name].rstrip("\n"))
        return Code.COMPLETE
    rows = [(one, about(text)) for one, text in listed.items()]
    if output == "json":
        session.terminal.data(printing.as_json([{"name": one, "about": what} for one, what in rows]))
        return Code.COMPLETE
    for line in figures.table(("NAME", "WHAT"), rows):
        session.terminal.data(line)
    session.terminal.message("run one here with: ganger examples NAME | ganger run -")
    return Code.COMPLETE


def found() -> Iterator[tuple[str, str]]:
    """Yield name and manifest of each, by name."""
    for folder in sorted(_home().iterdir(), key=lambda one: one.name):
        manifest = folder / "job.yaml"
        if manifest.is_file():
            yield folder.name, manifest.read_text(encoding="utf-8")


def about(manifest: str) -> str:
    """Return the first sentence of the comment that a manifest begins with. Pure."""
    lines = []
    for line in manifest.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    return " ".join(lines).partition(". ")[0].rstrip(".")


def _home() -> Traversable:
    """Return where they are: beside this module where it was installed, else in the source tree."""
    beside = resources.files("ganger.cli") / "examples"
    return beside if beside.is_dir() else Path(__file__).parents[3] / "jobs" / "examples"
