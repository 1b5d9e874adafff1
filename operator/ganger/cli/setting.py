"""`ganger set`: change settings of a job while it trains, or take them back (spec.liveConfig)."""

import asyncio
import math
import re
from collections.abc import Mapping
from typing import Any

import click
import msgspec

from ganger.api.rules import CONFIG_KEY
from ganger.api.types import TrainingJob
from ganger.cli import arguments, jobs
from ganger.cli.connection import Connection
from ganger.cli.live import one_job
from ganger.cli.problem import Code, Problem, doing
from ganger.cli.reporting import DEAF, LISTEN, is_deaf
from ganger.cli.sentence import sentence
from ganger.cli.session import Session, Target
from ganger.cli.terminal import escape
from ganger.contract import LIVE_CONFIG_BYTES_MAX
from ganger.kube.resources import TRAINING_JOBS
from ganger.plan import settings
from ganger.plan.gang import attempt_of

Changes = dict[str, Any]  # None takes a name out
_ALLOWED = "a number, a word, true, false or a list"
_ALREADY = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)  # also .5 and 5., which are no JSON


def changes_of(words: tuple[str, ...]) -> Changes:
    """Return what `name=value` and `name-` ask for. Pure; raises click.UsageError.

    A value is JSON where it can be read as such, else a text; a number may be written as people write it.
    """
    found: Changes = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals and word.endswith("-"):
            name = word[:-1]
        elif not equals:
            raise click.UsageError(f"{word!r} is neither name=value nor name-, as in lr=1e-4 or lr-")
        _check_name(name)
        if name in found:
            raise click.UsageError(f"{name} is said twice")
        found[name] = _value(name, text) if equals else None
    return found


def _value(name: str, text: str) -> Any:
    if not text:
        raise click.UsageError(f"{name} has no value: write {name}=VALUE, or {name}- to take it out")
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        value = float(text) if _ALREADY.fullmatch(text) else text
    if value is None or not _can_be(value):
        raise click.UsageError(f"{name}={text} cannot be set: a value is {_ALLOWED}; {name}- takes it out")
    return value


def _can_be(value: Any) -> bool:
    return not isinstance(value, dict) and not (isinstance(value, float) and not math.isfinite(value))


def _check_value(name: str, value: Any) -> None:
    if not _can_be(value):
        raise click.UsageError(f"{name}={value!r} cannot be set: a value is {_ALLOWED}; None takes it out")


def _check_name(name: str) -> None:
    if re.fullmatch(CONFIG_KEY, name, re.ASCII) is None:
        raise click.UsageError(f"{name!r} is no name of a setting: letters, digits and '_', such as clipNorm")


def checked(settings_: Mapping[str, Any]) -> Changes:
    """Return settings as plain JSON values; None takes a name out. Pure; raises Problem for what can be none."""
    try:
        found: Changes = msgspec.json.decode(msgspec.json.encode(dict(settings_)))
        for name, value in settings_.items():
            _check_name(name)
            if value is not None:
                _check_value(name, value)
    except (TypeError, click.UsageError) as error:
        raise Problem("the settings cannot change so", str(error), code=Code.USAGE) from error
    return found


@click.command(name="set")
@arguments.job_name
@click.argument("changes", nargs=-1, required=True, metavar="NAME=VALUE|NAME-...")
@click.option("--wait", "waits", is_flag=True, help="Wait until all workers train with it, and say since which step.")
@click.option(
    "--timeout", type=arguments.Duration(), metavar="DURATION", help="Give up after, as in 10m. Default: never."
)
@arguments.on_cluster
@arguments.pass_session
def set_(
    session: Session, target: Target, name: str, changes: tuple[str, ...], waits: bool, timeout: int | None
) -> Code:
    """Change settings of a job while it trains, on all workers after one step.

    \b
    Examples:
      ganger set digits lr=1e-4 --wait
      ganger set digits lr-

    \b
    lr=1e-4   trains with this value from a step on that the workers agree on
    lr-       takes it out: the value of spec.config is back

    lr and clipNorm can change in every task; what else can, its Config says. What it refuses is told in the condition
    LiveConfigRefused, and training goes on.
    """
    wanted = changes_of(changes)
    if timeout is not None and not waits:
        raise click.UsageError("--timeout ends a --wait: add it")

    async def body(connection: Connection) -> Code:
        job, deaf = await send(connection, session, name, wanted, waits=waits)
        for line in _asked(wanted):
            session.terminal.data(f"{name}: {escape(line)}")
        if not waits:
            session.terminal.message(_next(job, deaf=deaf))
            return Code.COMPLETE
        try:
            async with asyncio.timeout(timeout):
                held = await answered(connection, job, wanted, session)
        except TimeoutError:
            raise Problem(
                f"job {name} does not train with it after {timeout} s",
                "",
                f"'ganger status {name}' tells how it is; the wish still stands",
                code=Code.TIMEOUT,
            ) from None
        steps = {value.name: value for value in held.status.live_config}
        for key in wanted:
            since = f"{key} is as in spec.config"
            if key in steps:
                since = f"{key}={steps[key].value} holds from step {steps[key].applied_at_step} on"
            session.terminal.data(f"{name}: {escape(since)}")
        return Code.COMPLETE

    return session.with_cluster(target, body)


async def send(
    connection: Connection, session: Session, name: str, wanted: Changes, *, waits: bool = False
) -> tuple[TrainingJob, bool]:
    """Ask for the settings. Returns the job as it was, and whether its workers hear of it only at their next start.

    Raises Problem where they cannot change, or where waits is True and nobody would say that they did.
    """
    job = await jobs.job(connection, name)
    _refuse(job, wanted, session, waits=waits)
    deaf = await _is_deaf(connection, job)
    if deaf and waits:
        raise Problem(f"nobody tells which step job {name} changes at", DEAF, LISTEN, code=Code.USAGE)
    with doing(f"changing settings of job {name}"):
        await connection.cluster.patch(TRAINING_JOBS, connection.namespace, name, {"spec": {"liveConfig": wanted}})
    return job, deaf


def _refuse(job: TrainingJob, wanted: Changes, session: Session, *, waits: bool) -> None:
    """Raise the problem of a job whose settings cannot change."""
    name, spec = job.metadata.name, job.spec
    what = f"settings of job {name} cannot change"
    if job.status.finished:
        why = escape(sentence(job, session.now()))
        raise Problem(what, why, f"'ganger status {name}' tells how it ended", code=Code.USAGE)
    if spec.task is None:
        why = "nothing tells a script or a command of them"
        raise Problem(what, why, "use spec.task, or suspend it and change what it is started with", code=Code.USAGE)
    whole = {key: value for key, value in (spec.live_config | wanted).items() if value is not None}
    if len(msgspec.json.encode(whole)) > LIVE_CONFIG_BYTES_MAX:
        why = f"spec.liveConfig may have {LIVE_CONFIG_BYTES_MAX} bytes as JSON"
        raise Problem(what, why, "take names out that are no longer needed, as in lr-", code=Code.USAGE)
    if waits and spec.suspend:
        fix = f"leave --wait out: it holds from 'ganger resume {name}' on"
        raise Problem("--wait would wait for ever", f"job {name} is suspended", fix, code=Code.USAGE)


async def _is_deaf(connection: Connection, job: TrainingJob) -> bool:
    """Whether its workers cannot be reached, where that can be seen: who may change jobs may not always read pods."""
    try:
        pods = await jobs.pods(connection, job)
    except Problem:
        return False
    return is_deaf(pod for pod in pods if attempt_of(pod) == job.status.attempt)


def _asked(wanted: Changes) -> list[str]:
    return [
        f"{name} as in spec.config requested" if value is None else f"{name}={settings.text(value)} requested"
        for name, value in wanted.items()
    ]


def _next(job: TrainingJob, *, deaf: bool) -> str:
    name = f"{job.metadata.name} -n {job.metadata.namespace}"
    if deaf:
        return f"it holds from the next start on: {DEAF}"
    if not job.status.is_true("Running") or job.spec.suspend:
        return "it holds from the first step of its next start on"
    return f"workers take it in at the next agreed step; see since which: ganger status {name}"


async def answered(connection: Connection, job: TrainingJob, wanted: Changes, session: Session) -> TrainingJob:
    """Return the job once all workers train with what is wanted. Raises Problem where they refuse or stop."""
    name, mine = job.metadata.name, False
    async for now in one_job(connection, name, uid=job.metadata.uid):
        live = now.spec.live_config
        present = all(live.get(key) == value for key, value in wanted.items())
        if mine and not present:
            fix = f"'kubectl get tj {name} -o yaml' shows what is asked for now"
            raise Problem(f"somebody else changed the settings of job {name}", "", fix)
        mine = mine or present
        if not present:
            continue
        text = settings.refused(now.status) or ""
        if any(key in live and settings.told(key, live[key]) in text for key in wanted):
            fix = f"set another value, or take it out: ganger set {name} {' '.join(f'{key}-' for key in wanted)}"
            raise Problem(f"job {name} does not take it; it trains on as before", escape(text), fix)
        steps = {value.name: value for value in now.status.live_config}
        if all(_holds(steps.get(key), value) for key, value in wanted.items()):
            return now
        if now.status.finished:
            why = escape(sentence(now, session.now()))
            raise Problem(f"job {name} ended before it was said", why, f"'ganger status {name}' tells how")
    raise Problem(
        f"job {name} was deleted before it was said", "", "'ganger list' shows what is left", code=Code.NOT_FOUND
    )


def _holds(told: Any, value: Any) -> bool:
    if told is None or value is None:
        return told is value
    try:
        return bool(msgspec.json.decode(told.value) == value)
    except msgspec.DecodeError:
        return False
