"""`ganger doctor`: whether the cluster has what Ganger needs, and what to do where it has not."""

import click

from ganger.cli import arguments, figures, printing
from ganger.cli.checkup import Finding
from ganger.cli.connection import Connection
from ganger.cli.problem import Code, Problem
from ganger.cli.session import Session, Target
from ganger.cli.terminal import escape

_WORDS = {"ok": ("ok", "green"), "note": ("note", "yellow"), "mend": ("mend", "red"), "unknown": ("?", "dim")}


@click.command()
@click.option(
    "--operator-namespace",
    type=arguments.Namespace(),
    metavar="NAME",
    help="Where the operator is. Default: all namespaces are asked, which takes the right to.",
)
@click.option(
    "-o", "--output", type=click.Choice(("table", "json")), default="table", show_default=True, help="Format."
)
@arguments.on_cluster
@arguments.pass_session
def doctor(session: Session, target: Target, operator_namespace: str | None, output: str) -> Code:
    """Check the cluster for what Ganger needs; each trouble with its remedy.

    \b
    Examples:
      ganger doctor
      ganger doctor -n team --operator-namespace ganger-system

    Every question is asked once, as the present user, about the namespace of the context or of -n; nothing is written.

    \b
    ok     as it should be             note   some jobs cannot run, or run worse
    mend   jobs cannot run before      ?      the present user may not ask

    \b
    0    nothing is to mend            1    something is
    """

    async def body(connection: Connection) -> tuple[list[Finding], int]:
        # It loads the client library, which --help must not.
        from ganger.cli import examination

        found = await examination.examine(connection, session, operator_namespace)
        return found, sum(connection.requests.values())

    try:
        found, requests = session.with_cluster(target, body)
    except Problem as problem:
        if problem.code != Code.REFUSED:
            raise
        found, requests = [Finding("kubeconfig", "mend", problem.why, problem.fix)], 0
    if output == "json":
        session.terminal.data(printing.as_json([_as_values(one) for one in found]))
    else:
        for line in _page(session, found):
            session.terminal.data(line)
    wrong = [one for one in found if one.level == "mend"]
    notes = sum(one.level == "note" for one in found)
    word = f"{len(wrong)} to mend" if wrong else "nothing to mend"
    summary = f"{word}, {notes} note{'s' * (notes != 1)}; {requests} requests"
    session.terminal.message(summary, *(("red", "bold") if wrong else ("green", "bold")))
    return Code.FAILED if wrong else Code.COMPLETE


def _page(session: Session, found: list[Finding]) -> list[str]:
    rows = []
    for one in found:
        word, colour = _WORDS[one.level]
        rows.append((session.terminal.paint(word, colour), one.about, escape(one.text)))
    lines = []
    for one, line in zip(found, figures.table((), rows), strict=True):
        lines.append(line)
        if one.fix and one.level != "ok":
            lines.append(escape(f"       -> {one.fix}"))
    return lines


def _as_values(one: Finding) -> dict[str, str]:
    return {"about": one.about, "level": one.level, "text": one.text, "fix": one.fix}
