"""`ganger diff`: what an apply of a manifest would change, and what each change does to the gang."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import click
import msgspec

from ganger.api.envelope import without_nulls
from ganger.api.types import TrainingJob
from ganger.api.validate import check_manifest
from ganger.cli import arguments, figures, jobs, manifests, printing, threeway
from ganger.cli.changes import ABSENT, Change, changes, differences
from ganger.cli.connection import Connection
from ganger.cli.manifests import Document
from ganger.cli.problem import Code, doing
from ganger.cli.session import Session, Target
from ganger.cli.submit import namespace_of, without_profiles
from ganger.cli.terminal import escape
from ganger.kube.errors import NotFound
from ganger.kube.resources import TRAINING_JOBS

VALUE_CHARS_MAX = 60
_COLOURS = {"+": "green", "-": "red", "~": "yellow"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """One job of the file against the stored one. stored: None where there is none. mistakes: of the result."""

    name: str
    namespace: str
    source: str
    stored: TrainingJob | None = None
    changes: tuple[Change, ...] = ()
    mistakes: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether the API server would refuse the apply."""
        return bool(self.mistakes) or any(one.effect in ("suspend", "refused") for one in self.changes)

    @property
    def differs(self) -> bool:
        """Whether an apply would change anything."""
        return self.stored is None or bool(self.changes)


@click.command()
@manifests.files
@click.option(
    "-o", "--output", type=click.Choice(("table", "json")), default="table", show_default=True, help="Format."
)
@arguments.on_cluster
@arguments.pass_session
def diff(session: Session, target: Target, files: tuple[str, ...], options: tuple[str, ...], output: str) -> Code:
    """Show what an apply of a manifest would change, and what that does.

    \b
    Examples:
      ganger diff -f job.yaml
      ganger diff -f job.yaml -o json

    Nothing is written; the result is that of kubectl apply. Defaults that the API server fills in are no difference,
    nor is what others have set and the file does not mention.

    \b
    0    nothing would change          1    an apply changes something
    2    an apply would be refused, or the manifest is wrong
    5    the cluster refused or is away
    """
    sources = [without_profiles(source) for source in manifests.read(files, options)]
    documents = manifests.jobs(session, sources, what="nothing was compared")

    async def body(connection: Connection) -> list[Comparison]:
        return [await _compare(connection, document, target) for document in documents]

    found = session.with_cluster(target, body)
    if output == "json":
        session.terminal.data(printing.as_json([_as_values(one) for one in found]))
    else:
        for one in found:
            _tell(session, one)
    if any(one.refused for one in found):
        return Code.USAGE
    return Code.FAILED if any(one.differs for one in found) else Code.COMPLETE


async def _compare(connection: Connection, document: Document, target: Target) -> Comparison:
    namespace = namespace_of(document, target, connection)
    one = Comparison(name=document.name, namespace=namespace, source=document.source)
    # generateName makes a job of its own at each submission.
    if not document.located.manifest["metadata"].get("name"):
        return one
    with doing(f"reading job {document.name} in namespace {namespace}"):
        try:
            body = await connection.cluster.get(TRAINING_JOBS, namespace, document.name)
        except NotFound as error:
            if not error.message.startswith("trainingjobs"):
                raise  # the namespace, or the very kind
            return one
    jobs.typed(body, TrainingJob)  # says it well where the operator is newer
    stored: dict[str, Any] = msgspec.json.decode(body)
    return compared(one, stored, without_nulls(document.located.manifest))


def compared(one: Comparison, stored: dict[str, Any], file: dict[str, Any]) -> Comparison:
    """Return the comparison of a stored job with a file. Both are read without the values of a profile. Pure."""
    result = threeway.applied(stored, file)
    # The status, and what the API server adds to metadata, is not the file's to be judged by.
    metadata = {key: value for key, value in result["metadata"].items() if key in ("name", "labels", "annotations")}
    _, errors = check_manifest(file | {"metadata": metadata, "spec": result["spec"]})
    old = msgspec.convert(stored, TrainingJob)
    if errors:
        return dataclasses.replace(one, stored=old, mistakes=tuple(str(error) for error in errors))
    kept = (path for path, *_ in differences(file, result) if path.startswith("spec"))
    return dataclasses.replace(one, stored=old, changes=tuple(changes(stored, result)), kept=tuple(kept))


def _tell(session: Session, one: Comparison) -> None:
    terminal, name = session.terminal, escape(f"{one.name} (namespace {one.namespace})")
    if one.stored is None:
        terminal.data(terminal.paint(f"{name}: there is none; it would be created", "bold"))
        return
    for mistake in one.mistakes:
        terminal.data(escape(f"{name}: {mistake}"))
    if one.changes:
        terminal.data(terminal.paint(f"{name}: {(one.stored.status.phase or 'Pending').lower()}", "bold"))
        rows = [_row(session, change) for change in one.changes]
        for line in figures.table((), rows):
            terminal.data(line)
    elif not one.mistakes:
        terminal.message(f"{name}: nothing would change")
    for path in one.kept:
        terminal.message(escape(f"{one.name}: {path} stays: the file does not mention it"))
    for line in _next(one):
        terminal.message(escape(line))


def _row(session: Session, change: Change) -> tuple[str, ...]:
    sign = session.terminal.paint(change.sign, _COLOURS[change.sign])
    old, new = (_shown(value) for value in (change.old, change.new))
    values = new if change.old is ABSENT else old if change.new is ABSENT else f"{old} -> {new}"
    return f"{sign} {escape(change.path)}", values, change.meaning


def _shown(value: Any) -> str:
    if value is ABSENT:
        return ""
    text = value if isinstance(value, str) and value else msgspec.json.encode(value).decode()
    return escape(text if len(text) <= VALUE_CHARS_MAX else f"{text[: VALUE_CHARS_MAX - 3]}...")


def _next(one: Comparison) -> Sequence[str]:
    effects = {change.effect for change in one.changes}
    where, file = f"{one.name} -n {one.namespace}", one.source if one.source != "stdin" else "-"
    if one.mistakes:
        return ("an apply would be refused: what is stored and the file do not fit together",)
    if "refused" in effects:
        return (
            f"an apply would be refused; a new job: ganger submit -f {file} -n {one.namespace} --if-exists replace",
        )
    if "suspend" in effects:
        steps = f"ganger suspend {where} && kubectl apply -f {file} -n {one.namespace} && ganger resume {where}"
        return ("an apply would be refused now; with a checkpoint in between:", f"  {steps}")
    return ()


def _as_values(one: Comparison) -> dict[str, Any]:
    found: dict[str, Any] = {"name": one.name, "namespace": one.namespace, "exists": one.stored is not None}
    found |= {"refused": one.refused, "mistakes": list(one.mistakes), "changes": []}
    for change in one.changes:
        values = {key: value for key, value in (("old", change.old), ("new", change.new)) if value is not ABSENT}
        found["changes"].append({"path": change.path, **values, "effect": change.effect, "meaning": change.meaning})
    return found
