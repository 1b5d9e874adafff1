"""What a session shall be, from the options of `ganger dev up` and a manifest, checked before anything is sent."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from msgspec import Struct

from ganger.api.manifest import Located, ManifestError, load
from ganger.api.validate import check_session_manifest
from ganger.cli import arguments, publickeys
from ganger.cli.manifests import Mistake
from ganger.cli.problem import Code, Problem
from ganger.cli.session import Session
from ganger.cli.terminal import escape
from ganger.contract import API_GROUP, API_VERSION, SESSION_KIND

GPU = "nvidia.com/gpu"
Command = Callable[..., Any]


class Given(Struct, frozen=True, kw_only=True):
    """What the command line says; None and "" where it says nothing."""

    from_job: str | None
    gpus: int | None
    cpu: str
    memory: str
    image: str
    storage: str
    idle: int | None
    max_: int | None
    keys: tuple[Path, ...]
    no_ssh: bool
    no_jupyter: bool
    file: str | None


def options(function: Command) -> Command:
    """Add the options, handed over as `given`."""

    def gathered(*args: Any, **kwargs: Any) -> Any:
        given = Given(**{field: kwargs.pop(field) for field in Given.__struct_fields__})
        return function(*args, given=given, **kwargs)

    gathered.__doc__, gathered.__name__ = function.__doc__, function.__name__
    gathered.__dict__.update(function.__dict__)
    wrapped: Command = gathered
    for decorator in reversed((
        click.option("--from-job", type=arguments.JobName(), help="Image, volumes, environment, checkpoints of a job."),
        click.option("--gpus", type=click.IntRange(min=0), metavar="N", help=f"GPUs ({GPU})."),
        click.option("--cpu", default="", metavar="QUANTITY", help="CPU that is requested, as in 4 or 500m."),
        click.option("--memory", default="", metavar="QUANTITY", help="Memory, requested and the limit, as in 16Gi."),
        click.option("--image", default="", help="Image, made FROM pytorch-cuda-dev."),
        click.option("--storage", default="", metavar="SIZE", help="A claim of this size at /workspace: it stays."),
        click.option("--idle", type=arguments.Duration(), metavar="DURATION", help="End when nothing happens so long."),
        click.option("--max", "max_", type=arguments.Duration(), metavar="DURATION", help="End after so long."),
        click.option(
            "--ssh-key",
            "keys",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            multiple=True,
            metavar="FILE",
            help="Public key that may log in. Default: those of ~/.ssh.",
        ),
        click.option("--no-ssh", is_flag=True, help="No SSH."),
        click.option("--no-jupyter", is_flag=True, help="No Jupyter."),
        click.option("-f", "--filename", "file", type=click.Path(), metavar="FILE", help="A manifest of the session."),
    )):  # fmt: skip
        wrapped = decorator(wrapped)
    return wrapped


def manifest(session: Session, name: str, given: Given) -> dict[str, Any]:
    """Return the manifest of the session. Raises Problem, after every mistake was told."""
    whole, mistakes, source = checked(name, given)
    for mistake in mistakes:
        session.terminal.message(str(mistake))
    if mistakes:
        count = "a mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        raise Problem(
            f"session {name} was not made", f"{count} in {source}", "correct the lines above", code=Code.USAGE
        )
    return whole


def checked(name: str, given: Given) -> tuple[dict[str, Any], list[Mistake], str]:
    """Return the manifest of the session, its mistakes, and where it comes from. Raises UsageError and Problem."""
    if given.no_ssh and given.keys:
        raise click.UsageError("--no-ssh and --ssh-key contradict each other")
    source, located = _read(given.file, name) if given.file is not None else ("the options", Located({}, {"": 1}))
    spec = {**(located.manifest.get("spec") or {})}
    said = {
        "fromJob": given.from_job,
        "image": given.image,
        "idleSeconds": given.idle,
        "maxSeconds": given.max_,
        "jupyter": False if given.no_jupyter else None,
        "storage": {"size": given.storage} if given.storage else None,
        "ssh": {"authorizedKeys": publickeys.read(given.keys)} if given.keys else None,
        "resources": _resources(spec.get("resources") or {}, given),
    }
    spec |= {field: value for field, value in said.items() if value not in (None, "", {})}
    if given.no_ssh:
        spec.pop("ssh", None)
    whole = {"apiVersion": f"{API_GROUP}/{API_VERSION}", "kind": SESSION_KIND} | located.manifest
    whole |= {"metadata": {**(located.manifest.get("metadata") or {}), "name": name}, "spec": spec}
    _, errors = check_session_manifest(whole)
    lined = given.file is not None
    return whole, [Mistake(source, located.line(one.path) if lined else None, str(one)) for one in errors], source


def with_own_keys(session: Session, whole: dict[str, Any], given: Given) -> dict[str, Any]:
    """Return the manifest of a new session; where nothing was said of SSH, the keys of this machine may log in."""
    if given.no_ssh or given.file is not None or "ssh" in whole["spec"]:
        return whole
    keys = publickeys.own(Path.home())
    if not keys:
        session.terminal.message("no SSH: ~/.ssh has no public key that a session takes; --ssh-key names another one")
        return whole
    return whole | {"spec": whole["spec"] | {"ssh": {"authorizedKeys": keys}}}


def _resources(base: dict[str, Any], given: Given) -> dict[str, Any]:
    requests, limits = dict(base.get("requests") or {}), dict(base.get("limits") or {})
    if given.cpu:
        requests["cpu"] = given.cpu
    if given.memory:
        requests["memory"] = limits["memory"] = given.memory
    if given.gpus:
        limits[GPU] = given.gpus
    found = {name: value for name, value in (("requests", requests), ("limits", limits)) if value}
    return base | found


def _read(file: str, name: str) -> tuple[str, Located]:
    try:
        found = load(Path(file).read_bytes())
    except ManifestError as error:
        raise Problem(f"{file} cannot be read", escape(str(error)), "correct it", code=Code.USAGE) from error
    if len(found) != 1 or found[0].manifest.get("kind") != SESSION_KIND:
        fix = f"name a file with one {SESSION_KIND}"
        raise Problem(f"{file} is not one {SESSION_KIND}", f"it has {len(found)} documents", fix, code=Code.USAGE)
    named = (found[0].manifest.get("metadata") or {}).get("name", name)
    if named != name:
        why = f"it is about {named}, and the command names {name}"
        raise Problem(f"{file} cannot be used", escape(why), "use one name", code=Code.USAGE)
    return file, found[0]
