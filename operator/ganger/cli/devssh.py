"""`ganger dev ssh`: the ssh of this machine through the API server, with the host key of the very pod."""

import asyncio
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from ganger.api.session import DevSession
from ganger.cli import arguments, hostkeys, sessions, stdio
from ganger.cli.connection import Connection
from ganger.cli.devconnect import OPEN_SECONDS
from ganger.cli.forwarding import Forwarder
from ganger.cli.problem import Code, Problem, from_api
from ganger.cli.session import Session, Target
from ganger.cli.terminal import escape
from ganger.contract import SESSION_SSH_PORT
from ganger.kube.errors import ApiError

USER = "ganger"  # of the image pytorch-cuda-dev


@click.command()
@arguments.session_name
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
@click.option("-i", "--identity", type=click.Path(dir_okay=False), metavar="FILE", help="Private key, as for ssh.")
@click.option("--config", is_flag=True, help="Print a Host block for ~/.ssh/config, for editors and scp.")
@arguments.on_cluster
@arguments.pass_session
def ssh(
    session: Session, target: Target, name: str, command: tuple[str, ...], identity: str | None, config: bool
) -> Code:
    """Log in by SSH, run a command there, or print a Host block for editors.

    \b
    Examples:
      ganger dev ssh try
      ganger dev ssh try -- nvidia-smi
      ganger dev ssh try --config >> ~/.ssh/config    then: code --remote ssh-remote+ganger-team-try /workspace

    Nothing listens outside of the pod: ssh speaks through 'ganger dev proxy', which brings the host key of that pod.
    """

    async def body(connection: Connection) -> str:
        found = await sessions.read(connection, name)
        if found.spec.ssh is None:
            fix = f"ganger dev stop {name}, then: ganger dev up {name} --ssh-key ~/.ssh/id_ed25519.pub"
            raise Problem(f"session {name} has no SSH", "spec.ssh is not set", fix, code=Code.USAGE)
        if not (config or sessions.is_open(found)):
            raise sessions.closed(found)
        return connection.namespace

    namespace = session.with_cluster(target, body)
    settings = _settings(target, namespace, name, identity)
    host = hostkeys.alias(namespace, name)
    if config:
        session.terminal.data(f"Host {host}")
        for key, value in settings:
            session.terminal.data(escape(f"  {key} {value}"))
        return Code.COMPLETE
    program = shutil.which("ssh")
    if program is None:
        raise Problem("there is no ssh on this machine", "", "install an OpenSSH client", code=Code.USAGE)
    options = [word for key, value in settings for word in ("-o", f"{key}={value}")]
    _become(program, ["ssh", *options, host, *(("--", shlex.join(command)) if command else ())])
    return Code.COMPLETE


@click.command(hidden=True)
@arguments.session_name
@click.option("--known-hosts", type=click.Path(path_type=Path), required=True, help="Where to write the host key.")
@arguments.on_cluster
@arguments.pass_session
def proxy(session: Session, target: Target, name: str, known_hosts: Path) -> Code:
    """Carry standard input and output to the SSH port of a session, for ssh's ProxyCommand."""

    async def body(connection: Connection) -> Code:
        found = await _open(connection, name)
        key = await hostkeys.read(connection, found)
        # ssh looks into the file when the server has named its key: not before the first byte from here.
        hostkeys.write(known_hosts, hostkeys.alias(connection.namespace, name), key)

        async def pod() -> str:
            return found.status.pod

        async def write(data: bytes) -> None:
            stdio.write(data)

        forwarder = Forwarder(connection, SESSION_SSH_PORT, pod, session.terminal.message)
        try:
            await forwarder.carry(stdio.pieces(sys.stdin.fileno()), write)
        except ApiError as error:
            raise from_api(error, f"reaching SSH of session {name}") from error
        return Code.COMPLETE

    return session.with_cluster(target, body)


async def _open(connection: Connection, name: str) -> DevSession:
    """Return the session once it runs; one that is being moved is waited for. Raises Problem."""
    last = await sessions.read(connection, name)
    try:
        async with asyncio.timeout(OPEN_SECONDS):
            async for last in sessions.changes(connection, name):
                if sessions.is_open(last):
                    return last
                if last.status.ended or last.spec.suspend:
                    break
    except TimeoutError:
        pass
    raise sessions.closed(last)


def _settings(target: Target, namespace: str, name: str, identity: str | None) -> list[tuple[str, str]]:
    """Return what ssh must know, as a Host block has it."""
    file = hostkeys.path(target, namespace, name)
    # The file is named, so that both ends mean the same one whatever KUBECONFIG is when an editor comes.
    words = [*_ourselves(), "dev", "proxy", name, "--known-hosts", str(file), "-n", namespace]
    words += ["--context", target.context] if target.context else []
    words += ["--kubeconfig", str(Path(target.kubeconfig).absolute())] if target.kubeconfig else []
    words += ["--as", target.act_as] if target.act_as else []
    words += [word for group in target.act_as_groups for word in ("--as-group", group)]
    settings = [
        ("User", USER),
        ("ProxyCommand", shlex.join(words).replace("%", "%%")),
        ("HostKeyAlias", hostkeys.alias(namespace, name)),
        ("UserKnownHostsFile", f'"{file}"'),
        ("GlobalKnownHostsFile", "/dev/null"),
        ("StrictHostKeyChecking", "yes"),
        ("UpdateHostKeys", "no"),
    ]
    if identity:
        # The session's sshd lets nobody try more than three keys: those of an agent would use them up.
        settings += [("IdentityFile", f'"{Path(identity).absolute()}"'), ("IdentitiesOnly", "yes")]
    return settings


def _ourselves() -> Sequence[str]:
    """Return how this very program is called."""
    found = shutil.which("ganger")
    return [found] if found else [sys.executable, "-m", "ganger.cli"]


def _become(program: str, words: Sequence[str]) -> None:
    """Become another program: the terminal, the signals and the exit code are its own."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(program, list(words))  # noqa: S606 - no shell: the words are handed over as they are
