"""`ganger version`: which Ganger this is, which one the cluster runs, and whether they fit."""

import platform
from typing import Any

import click
import msgspec

from ganger import __version__
from ganger.api.crd import definitions
from ganger.cli import arguments, checkup, figures, printing
from ganger.cli.checkup import Finding
from ganger.cli.connection import Connection
from ganger.cli.problem import Code, doing
from ganger.cli.session import Session, Target
from ganger.cli.terminal import escape
from ganger.contract import API_GROUP, API_VERSION


@click.command()
@click.option("--client", is_flag=True, help="Of this program alone, without a cluster.")
@arguments.for_people_or_scripts
@arguments.on_cluster
@arguments.pass_session
def version(session: Session, target: Target, client: bool, output: str) -> Code:
    """Tell the versions of this program, the operator and the API, and whether they fit.

    \b
    Examples:
      ganger version
      ganger version --client

    Where two of them are of different versions, a warning on stderr says what to do about it; the exit code stays 0.
    """
    found = [Finding("client", "ok", f"{__version__}, {API_GROUP}/{API_VERSION}, Python {platform.python_version()}")]
    if not client:
        found += session.with_cluster(target, _look)
    if output == "json":
        session.terminal.data(
            printing.as_json([{"about": one.about, "text": one.text, "fix": one.fix} for one in found])
        )
    else:
        for line in figures.table((), [(one.about, escape(one.text)) for one in found]):
            session.terminal.data(line)
    for one in found:
        if one.level in ("note", "mend"):
            session.terminal.message(escape(f"warning: {one.about}: {one.text}"), "yellow")
            session.terminal.message(escape(f"  fix: {one.fix}"))
    return Code.COMPLETE


async def _look(connection: Connection) -> list[Finding]:
    # It loads the client library, which --help must not.
    from ganger.cli import examination

    with doing("asking the API server for its version"):
        number = await connection.cluster.version()
    found = [checkup.server(number)]
    for one in definitions():
        found += await examination.answered(one["spec"]["names"]["kind"], examination.definition(connection, one))
    return found + await examination.answered("operator", _operator(connection))


async def _operator(connection: Connection) -> list[Finding]:
    from ganger.cli import examination

    deployments = await examination.deployments(connection)
    finding = checkup.operator(deployments, __version__)
    runs = [_runs(one) for one in deployments]
    if finding.level == "ok" and runs:
        finding = msgspec.structs.replace(finding, text=f"{runs[0]}, {finding.text}")
    return [finding]


def _runs(deployment: dict[str, Any]) -> str:
    labels = deployment["metadata"].get("labels") or {}
    return str(labels.get("app.kubernetes.io/version") or "a version that its Deployment does not tell")
