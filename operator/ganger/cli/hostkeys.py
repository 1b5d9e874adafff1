"""Host keys of sessions: each has its own, told in the log of its pod, which only the API server hands out."""

import hashlib
import os
import re
from pathlib import Path

from ganger.api.session import DevSession
from ganger.cli.connection import Connection
from ganger.cli.lines import lines
from ganger.cli.podlog import split
from ganger.cli.problem import Code, Problem, doing
from ganger.cli.session import Target
from ganger.contract import SESSION_CONTAINER

# The supervisor says it before it starts anything else, so the first such line is its own.
_LINE = re.compile(r"host-key (ssh-ed25519 [A-Za-z0-9+/]+={0,2})")
LOG_LINES_MAX = 1000


async def read(connection: Connection, session: DevSession) -> str:
    """Return the host key of the session's pod, as type and base64. Raises Problem."""
    pod = session.status.pod
    count = 0
    with doing(f"reading the host key in the log of {pod}"):
        async for text in lines(connection.logs.stream(connection.namespace, pod, SESSION_CONTAINER)):
            if match := _LINE.match(split(text)[1]):
                return match[1]
            count += 1
            if count >= LOG_LINES_MAX:
                break
    name = session.metadata.name
    raise Problem(
        f"the host key of session {name} is not known",
        f"the log of {pod} does not begin with it: the log was rotated, or the image is another one",
        f"ganger dev stop {name}, then up: each start has a key of its own",
        code=Code.NOT_FOUND,
    )


def alias(namespace: str, name: str) -> str:
    """Return the name under which ssh looks for the key."""
    return f"ganger-{namespace}-{name}"


def path(target: Target, namespace: str, name: str) -> Path:
    """Return the file that has the key of this session alone: sessions of two clusters may be called the same."""
    cluster = "\0".join((target.kubeconfig or os.environ.get("KUBECONFIG", ""), target.context or ""))
    digest = hashlib.sha256(cluster.encode()).hexdigest()[:8]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "ganger" / "hosts" / f"{namespace}-{name}-{digest}"


def write(file: Path, name: str, key: str) -> None:
    """Write the file whole or not at all: several ssh may start at once."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    other = file.with_name(f"{file.name}.{os.getpid()}")
    other.write_text(f"{name} {key}\n", encoding="utf-8")
    other.replace(file)
