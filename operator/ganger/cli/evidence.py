"""What is gathered for a report: each part for itself, so that what may not be read leaves the rest whole."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import Raw

from ganger import __version__
from ganger.cli import examination, figures, jobs, printing, status
from ganger.cli import report as pages
from ganger.cli.connection import Connection
from ganger.cli.lines import lines
from ganger.cli.problem import Problem, from_api
from ganger.cli.redaction import HIDDEN, Redactor
from ganger.cli.seen import CORE_EVENTS
from ganger.cli.session import Session
from ganger.cli.status import claim_of
from ganger.contract import CONTAINER, LABEL_JOB_UID
from ganger.kube.errors import ApiError
from ganger.kube.resources import CLAIMS, PODS

LOG_CHARACTERS_MAX = 5_000_000  # of one log
PODS_MAX = 64
README = """\
What `ganger report` gathered about the job {name} of namespace {namespace} at {time}, with ganger {version}.

job.yaml          the job, with its status          status.txt      the page of `ganger status`
pods.yaml         its pods                          events.txt      events of both
claim.yaml        the claim of its checkpoints      logs/           of each worker; .previous: the container before
operator/         what the operator logged of it    versions.txt, doctor.txt

Values under names that sound like secrets, and tokens of known forms, were replaced by {hidden}. No Secret was read.
"""


@dataclass
class Evidence:
    """Texts by their paths. missing: what could not be read, and why. hidden: how many values were replaced."""

    parts: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    @property
    def hidden(self) -> int:
        """How many values were replaced."""
        return sum(text.count(HIDDEN) for path, text in self.parts.items() if path != "README.txt")


async def gather(connection: Connection, session: Session, name: str, tail: int) -> Evidence:
    """Return what is to be known of the job. tail: lines of each log. Raises Problem where there is no such job."""
    found, redactor = Evidence(), Redactor()
    stored: dict[str, Any] = msgspec.json.decode(await jobs.read(connection, name))
    uid = stored["metadata"]["uid"]
    collector = _Collector(connection, session, redactor, found, name, tail)
    found.parts["job.yaml"] = printing.as_yaml(redactor.manifest(stored)) + "\n"
    await collector.part("pods", collector.pods(uid))
    await collector.part("events", collector.events())
    await collector.part("claim", collector.claim())
    await collector.part("status", collector.page())
    await collector.part("logs", collector.logs())
    await collector.part("operator", collector.operator())
    await collector.part("doctor", collector.doctor())
    # Last, so that what any part has told of is hidden in every one.
    found.parts = {path: redactor.text(text) for path, text in found.parts.items()}
    where = {"name": name, "namespace": connection.namespace, "version": __version__, "hidden": HIDDEN}
    found.parts = {"README.txt": README.format(time=f"{session.now():%Y-%m-%dT%H:%M:%SZ}", **where)} | found.parts
    return found


class _Collector:
    """Gathers the parts one after another. Each method adds what it finds to the evidence."""

    def __init__(
        self, connection: Connection, session: Session, redactor: Redactor, found: Evidence, name: str, tail: int
    ) -> None:
        self._connection = connection
        self._session = session
        self._redactor = redactor
        self._found = found
        self._name = name
        self._tail = tail
        self._pods: list[dict[str, Any]] = []

    async def part(self, what: str, gathering: Awaitable[None]) -> None:
        """Gather one part, or say why it is missing."""
        try:
            await gathering
        except ApiError as error:
            problem = from_api(error, what)
            self._found.missing.append(f"{what}: {problem.why}")
        except Problem as problem:
            self._found.missing.append(f"{what}: {problem.what} {problem.why}".rstrip())

    async def pods(self, uid: str) -> None:
        bodies = await self._list(PODS, label_selector=f"{LABEL_JOB_UID}={uid}")
        self._pods = bodies[:PODS_MAX]
        if len(bodies) > PODS_MAX:
            self._found.missing.append(f"pods: {len(bodies) - PODS_MAX} of {len(bodies)}, the last by name")
        self._keep("pods.yaml", printing.as_documents(self._redactor.manifest(one) for one in self._pods))

    async def events(self) -> None:
        names = [self._name, *(one["metadata"]["name"] for one in self._pods)]
        rows = []
        for one in await self._list(CORE_EVENTS):
            about = one.get("involvedObject") or {}
            if about.get("name") in names or str(about.get("name", "")).startswith(f"{self._name}-"):
                when = (
                    one.get("lastTimestamp") or one.get("eventTime") or one["metadata"].get("creationTimestamp") or ""
                )
                message = str(one.get("message", "")).replace("\n", " ")
                rows.append((str(when), str(one.get("reason", "")), f"{about.get('kind')}/{about['name']}", message))
        self._keep("events.txt", "\n".join(figures.table((), sorted(rows))) if rows else "none")

    async def claim(self) -> None:
        job = await jobs.job(self._connection, self._name)
        if claim_of(job):
            body = await self._connection.cluster.get(CLAIMS, self._connection.namespace, claim_of(job))
            self._keep("claim.yaml", printing.as_yaml(self._redactor.manifest(msgspec.json.decode(body))))

    async def page(self) -> None:
        seen = await status.look(self._connection, self._name, self._session)
        self._keep("status.txt", "\n".join(pages.page(seen)))

    async def logs(self) -> None:
        for pod in self._pods:
            name = pod["metadata"]["name"]
            for one in (pod.get("status") or {}).get("containerStatuses") or ():
                if one.get("name") != CONTAINER:
                    continue
                if (one.get("state") or {}).get("waiting") is None:
                    await self._log(f"logs/{name}.log", self._connection.namespace, name, CONTAINER)
                if one.get("restartCount"):
                    path = f"logs/{name}.previous.log"
                    await self._log(path, self._connection.namespace, name, CONTAINER, previous=True)

    async def operator(self) -> None:
        for deployment in await examination.deployments(self._connection):
            home = deployment["metadata"]["namespace"]
            path = f"operator/{home}"
            self._keep(f"{path}/deployment.yaml", printing.as_yaml(self._redactor.manifest(deployment)))
            found, _ = await jobs.items(self._connection, PODS, home, label_selector=examination.OPERATOR)
            for pod in map(_decoded, found):
                name, container = pod["metadata"]["name"], pod["spec"]["containers"][0]["name"]
                await self._log(f"{path}/{name}.log", home, name, container, only=self._is_about)

    async def doctor(self) -> None:
        found = await examination.examine(self._connection, self._session, None)
        rows = [(one.level, one.about, one.text, one.fix) for one in found]
        self._keep("doctor.txt", "\n".join(figures.table((), rows)))
        told = [f"{one.about}: {one.text}" for one in found if one.about in ("API server", "operator")]
        self._keep("versions.txt", "\n".join([f"client: {__version__}", *told]))

    async def _list(self, resource: Any, label_selector: str = "") -> list[dict[str, Any]]:
        found, _ = await jobs.items(
            self._connection, resource, self._connection.namespace, label_selector=label_selector
        )
        return [_decoded(one) for one in found]

    async def _log(
        self,
        path: str,
        namespace: str,
        pod: str,
        container: str,
        *,
        previous: bool = False,
        only: Callable[[str], bool] = lambda line: True,
    ) -> None:
        kept, size = [], 0
        stream = self._connection.logs.stream(namespace, pod, container, tail=self._tail, previous=previous)
        try:
            async for line in lines(stream):
                if only(line) and size < LOG_CHARACTERS_MAX:
                    kept.append(line)
                    size += len(line)
        except ApiError as error:
            self._found.missing.append(f"{path}: {from_api(error, path).why}")
            return
        self._keep(path, "\n".join(kept))

    def _is_about(self, line: str) -> bool:
        """Whether a line of an operator's log is about the job, or a trouble that is about none."""
        try:
            found = msgspec.json.decode(line.partition(" ")[2])
        except msgspec.DecodeError:
            return False
        if not isinstance(found, dict):
            return False
        if "job" in found:
            return (found["job"], found.get("namespace")) == (self._name, self._connection.namespace)
        return found.get("level") in ("warning", "error", "critical")

    def _keep(self, path: str, text: str) -> None:
        self._found.parts[path] = text.rstrip("\n") + "\n"


def _decoded(body: Raw) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(body)
    return found
