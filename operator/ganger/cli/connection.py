"""The way to the API server, opened from a kubeconfig or, in a pod, from the service account.

The client library is loaded when a connection is opened and not before.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from ganger.cli.problem import Code, Problem, missing_library
from ganger.cli.terminal import escape

if TYPE_CHECKING:
    from ganger.cli.session import Target
    from ganger.kube.access import Access
    from ganger.kube.channels import Opens
    from ganger.kube.cluster import Cluster


# An API server that is there accepts within milliseconds; a person waits for the rest.
CONNECT_SECONDS = 4.0


class Logs(Protocol):
    """Where the logs of pods come from; `kube.logs.PodLogs` is the real one."""

    def stream(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        since: datetime | None = None,
        previous: bool = False,
    ) -> AsyncIterator[bytes]:
        """Yield the log in pieces; each line begins with its time and a space."""
        ...


class Warnings:
    """What the API server warns of, each once. tell: whom to, None while nobody listens."""

    def __init__(self) -> None:
        self.tell: Callable[[str], None] | None = None
        self._told: set[str] = set()

    def take(self, text: str) -> None:
        """Take one warning; it comes anew with every answer."""
        if text not in self._told and self.tell is not None:
            self._told.add(text)
            self.tell(text)


@dataclass(frozen=True, kw_only=True, slots=True)
class Connection:
    """An open cluster. namespace: the one that the person named, else that of the context.

    requests: how many the cluster was asked so far, by verb; watches, logs and the kubeconfig's own are not in it.
    """

    cluster: "Cluster"
    namespace: str
    logs: Logs
    streams: "Opens"
    requests: Counter[str] = field(default_factory=Counter)
    warnings: Warnings = field(default_factory=Warnings)


@asynccontextmanager
async def connect(target: "Target") -> AsyncIterator[Connection]:
    """Open the cluster that the person named. Raises Problem where there is no way to it."""
    try:
        from ganger.kube.channels import Streams
        from ganger.kube.http import CALL_SECONDS, HttpCluster
        from ganger.kube.logs import PodLogs

        access = await _access(target)
    except ModuleNotFoundError as error:
        raise missing_library(error.name or "aiohttp", "cli") from error
    requests: Counter[str] = Counter()

    def count(verb: str, plural: str, result: str, seconds: float) -> None:
        requests[verb] += 1

    warnings, seconds = Warnings(), float(target.seconds or CALL_SECONDS)
    opened = HttpCluster(
        access,
        call_seconds=seconds,
        connect_seconds=min(CONNECT_SECONDS, seconds),
        observe=count,
        warn=warnings.take,
    )
    async with opened as cluster, PodLogs(access) as logs, Streams(access) as streams:
        namespace = target.namespace or access.namespace
        yield Connection(
            cluster=cluster, namespace=namespace, logs=logs, streams=streams, requests=requests, warnings=warnings
        )


async def _access(target: "Target") -> "Access":
    from ganger.kube.access import AccessError, find

    try:
        found = await find(target.kubeconfig, target.context)
    except AccessError as error:
        raise _no_way(str(error), target) from error
    except ModuleNotFoundError:
        raise
    except Exception as error:
        # The loader checks little: a kubeconfig that is no kubeconfig ends in any kind of error.
        where = target.kubeconfig or "the kubeconfig"
        raise _no_way(f"{where} cannot be read as a kubeconfig ({type(error).__name__})", target) from error
    if not target.act_as:
        return found
    return replace(found, act_as=target.act_as, act_as_groups=target.act_as_groups)


def _no_way(why: str, target: "Target") -> Problem:
    why = " ".join(escape(why.replace("\n", " ")).split())
    if why.startswith("there is no kubeconfig"):
        fix = "name one with --kubeconfig or KUBECONFIG; without a cluster, 'ganger run job.yaml' runs the job here"
    elif target.context is not None:
        fix = "'kubectl config get-contexts' lists the contexts that --context may name"
    else:
        fix = "'kubectl config view' shows what is wrong with it; --kubeconfig names another one"
    return Problem("there is no way to a cluster", why, fix, code=Code.REFUSED)
