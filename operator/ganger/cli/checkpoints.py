"""`ganger checkpoints`: what jobs have saved, as their status says, and the volumes that deleted jobs have left."""

import sys

import click
import msgspec

from ganger.api.types import TrainingJob
from ganger.cli import arguments, figures, jobs, keepings, printing
from ganger.cli.connection import Connection
from ganger.cli.keepings import Keeping
from ganger.cli.problem import Code, Problem, doing
from ganger.cli.session import Session, Target
from ganger.cli.terminal import escape
from ganger.contract import LABEL_MANAGED_BY, MANAGED_BY
from ganger.kube.errors import NotFound
from ganger.kube.resources import CLAIMS, TRAINING_JOBS


@click.command()
@click.argument("action", type=click.Choice(("ls", "get", "rm", "prune")))
@click.argument("name", type=arguments.JobName(), required=False)
@click.argument("step", type=click.IntRange(min=0), required=False)
@click.option("-y", "--yes", is_flag=True, help="rm, prune: do not ask.")
@arguments.for_people_or_scripts
@arguments.on_cluster
@arguments.pass_session
def checkpoints(
    session: Session, target: Target, action: str, name: str | None, step: int | None, yes: bool, output: str
) -> Code:
    """List what jobs have saved, or remove the volumes of deleted jobs.

    \b
    Examples:
      ganger checkpoints ls
      ganger checkpoints get digits 300
      ganger checkpoints prune

    \b
    ls              newest step, age, size and claim of a job, or of all; and
                    the volumes that are left of jobs which are gone
    get NAME STEP   what the manifest of one checkpoint says: files, hashes
    rm NAME STEP    delete one, of a job that does not run: asks first
    prune           delete the volumes of jobs which are gone, or of that NAME:
                    asks first

    What ls tells is what the workers have reported; get and rm look into the volume, through a worker or a pod that is
    deleted afterwards. Which checkpoints of a job stay is said in spec.checkpoint.keep, and its workers see to it.
    """
    if yes and action not in ("rm", "prune"):
        raise click.UsageError("--yes answers the question of rm and prune: leave it out")
    if action in ("get", "rm"):
        return _one(session, target, action, name, step, yes=yes, output=output)
    if step is not None:
        raise click.UsageError(f"{action} takes no STEP")
    found = session.with_cluster(target, lambda connection: _look(connection, name))
    if action == "prune":
        return _prune(session, target, [one for one in found if one.is_left], name, yes=yes)
    if name is not None and not found:
        raise Problem(
            f"nothing is known of checkpoints of {name}",
            "there is no such job that keeps any (spec.checkpoint), and no volume of one",
            "'ganger checkpoints ls' lists those of the namespace",
            code=Code.NOT_FOUND,
        )
    if output == "json":
        session.terminal.data(printing.as_json([keepings.as_values(one) for one in found]))
        return Code.COMPLETE
    if not found:
        session.terminal.message("no job keeps checkpoints here, and no volume of one is left")
        return Code.COMPLETE
    rows = [tuple(escape(cell) for cell in keepings.row(one, session.now())) for one in found]
    for line in figures.table(keepings.COLUMNS, rows):
        session.terminal.data(line)
    _more(session, found)
    return Code.COMPLETE


def _one(
    session: Session, target: Target, action: str, name: str | None, step: int | None, *, yes: bool, output: str
) -> Code:
    # It loads what reads volumes, which ls needs nothing of.
    from ganger.cli import inspection

    if name is None or step is None:
        raise click.UsageError(f"{action} takes the job and the step: ganger checkpoints {action} NAME STEP")
    if action == "get":
        return inspection.get(session, target, name, step, output)
    return inspection.remove(session, target, name, step, yes=yes)


async def _look(connection: Connection, name: str | None) -> list[Keeping]:
    with doing("listing the volumes of jobs"):
        claims, _ = await jobs.items(
            connection, CLAIMS, connection.namespace, label_selector=f"{LABEL_MANAGED_BY}={MANAGED_BY}"
        )
    # Later than the claims: of a job that was made in between the claim is no leftover.
    with doing("listing jobs"):
        bodies, _ = await jobs.items(connection, TRAINING_JOBS, connection.namespace)
    present = [jobs.typed(body, TrainingJob) for body in bodies]
    found = keepings.keepings(present, [msgspec.json.decode(claim) for claim in claims])
    return [one for one in found if name in (None, one.name)]


def _more(session: Session, found: list[Keeping]) -> None:
    """Tell what does not fit into a row."""
    for one in found:
        point = one.job.status.checkpoint if one.job is not None else None
        if point is not None and point.quarantined:
            names = ", ".join(point.quarantined)
            session.terminal.message(escape(f"{one.name}: damaged and never loaded: {names}"))
    if any(one.is_left for one in found):
        session.terminal.message(
            "a job of the same name goes on from what is left; 'ganger checkpoints prune' deletes it"
        )


def _prune(session: Session, target: Target, left: list[Keeping], name: str | None, *, yes: bool) -> Code:
    if not left:
        of = f"of {name} " if name is not None else ""
        session.terminal.message(f"nothing to prune: no volume {of}is left of a job that is gone")
        return Code.COMPLETE
    for one in left:
        session.terminal.message(
            escape(f"{one.claim_name}: {keepings.volume(one.claim)}, of job {one.name}, which is gone")
        )
    if not yes:
        _ask(len(left))

    async def body(connection: Connection) -> None:
        # Between the question and the answer somebody may have started a job that goes on from them.
        again = {one.claim_name for one in await _look(connection, name) if one.is_left}
        for one in left:
            assert one.claim is not None
            if one.claim_name not in again:
                session.terminal.message(escape(f"{one.claim_name} stays: it is in use, or gone"))
                continue
            with doing(f"deleting claim {one.claim_name}"):
                try:
                    uid = one.claim["metadata"]["uid"]
                    await connection.cluster.delete(CLAIMS, connection.namespace, one.claim_name, uid=uid)
                except NotFound:
                    continue
            session.terminal.data(escape(f"{one.claim_name} deleted"))

    session.with_cluster(target, body)
    return Code.COMPLETE


def _ask(count: int) -> None:
    volumes = "this volume" if count == 1 else f"these {count} volumes"
    if not sys.stdin.isatty():
        raise Problem(
            "nothing was deleted",
            "prune asks first, and there is no terminal to answer from",
            "add --yes",
            code=Code.USAGE,
        )
    if not click.confirm(f"Delete {volumes} with every checkpoint in it?", default=False, err=True):
        raise Problem("nothing was deleted", code=Code.FAILED)
