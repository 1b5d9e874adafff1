"""`ganger dev ls`: sessions, one line each."""

from collections.abc import Iterator
from datetime import datetime

import click
import msgspec
from msgspec import Raw

from ganger.api.session import DevSession
from ganger.cli import arguments, figures, jobs, printing, sessions
from ganger.cli.connection import Connection
from ganger.cli.problem import Code, doing
from ganger.cli.session import Session, Target
from ganger.cli.terminal import escape
from ganger.kube.resources import DEV_SESSIONS
from ganger.plan import sessionactivity

COLUMNS = ("NAME", "PHASE", "JOB", "DOORS", "IDLE", "CULL-IN", "AGE")
WIDE_COLUMNS = ("POD", "MESSAGE")


@click.command()
@click.option("-A", "--all-namespaces", is_flag=True, help="Sessions of every namespace.")
@click.option("--no-headers", is_flag=True, help="Leave the header line out.")
@arguments.output
@arguments.on_cluster
@arguments.pass_session
def ls(session: Session, target: Target, all_namespaces: bool, no_headers: bool, output: str) -> Code:
    """List sessions: phase, job, how long they are idle, and when they end if they stay so.

    \b
    Examples:
      ganger dev ls
      ganger dev ls -A -o wide
    """

    async def body(connection: Connection) -> tuple[list[Raw], str | None]:
        namespace = None if all_namespaces else connection.namespace
        with doing("listing sessions"):
            found, _ = await jobs.items(connection, DEV_SESSIONS, namespace)
        return found, namespace

    found, namespace = session.with_cluster(target, body)
    if output in ("json", "yaml"):
        whole = printing.listed([jobs.without_noise(item) for item in found])
        session.terminal.data(printing.as_json(whole) if output == "json" else printing.as_yaml(whole))
    elif output == "name":
        for item in found:
            session.terminal.data(escape(sessions.as_name(jobs.metadata_of(item).name)))
    elif not found:
        where = f"namespace {namespace}" if namespace is not None else "any namespace"
        session.terminal.message(f"no sessions in {where}; 'ganger dev up NAME' opens one")
    else:
        header = (("NAMESPACE",) if all_namespaces else ()) + COLUMNS + (WIDE_COLUMNS if output == "wide" else ())
        rows = [_row(session, item, wide=output == "wide", with_namespace=all_namespaces) for item in found]
        for line in figures.table(() if no_headers else header, sorted(rows)):
            session.terminal.data(line)
    return Code.COMPLETE


def _row(session: Session, item: Raw, *, wide: bool, with_namespace: bool) -> tuple[str, ...]:
    metadata = jobs.metadata_of(item)
    try:
        cells = tuple(_cells(msgspec.json.decode(item, type=DevSession), session.now(), wide=wide))
    except msgspec.ValidationError:
        # Of a newer operator: it is there, and what it is stays unknown to this version.
        cells = (metadata.name, "?", "", "", "", "", figures.age(metadata.creation_timestamp, session.now()))
        cells += ("",) * (len(WIDE_COLUMNS) if wide else 0)
    row = tuple(escape(cell) for cell in cells)
    return (escape(metadata.namespace), *row) if with_namespace else row


def _cells(one: DevSession, now: datetime, *, wide: bool) -> Iterator[str]:
    status, spec = one.status, one.spec
    yield one.metadata.name
    yield sessions.phase(one)
    yield spec.from_job or ""
    yield "+".join(word for word, there in (("jupyter", spec.jupyter), ("ssh", spec.ssh is not None)) if there)
    yield "in use" if sessionactivity.is_in_use(one, now) else figures.age(status.last_activity_time, now)
    yield figures.duration((status.cull_time - now).total_seconds()) if status.cull_time is not None else ""
    yield figures.age(one.metadata.creation_timestamp, now)
    if wide:
        yield status.pod
        yield status.message or ""
