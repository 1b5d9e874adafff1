"""The command line with a fake cluster in its session: objects in a dictionary, watches over a log of changes.

The fake stands for the real API server, against which tests/integration/cli runs the same commands.
"""

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from builders import T0, at
from ganger.api.observed import Metadata
from ganger.cli import main
from ganger.cli.connection import Connection
from ganger.cli.session import Session
from ganger.cli.terminal import Terminal
from ganger.kube.errors import AlreadyExists, NotFound
from unit.cli.devs import Sessions

MANIFEST = """\
apiVersion: ganger.dev/v1alpha1
kind: TrainingJob
metadata:
  name: digits
spec:
  task: m:t
  workers: 2
"""


def _matches(item: dict[str, Any], labels: str, fields: str) -> bool:
    wanted = dict(part.split("=", 1) for part in labels.split(",") if part)
    named = dict(part.split("=", 1) for part in fields.split(",") if part)
    has = item["metadata"].get("labels", {})
    by_name = named.get("metadata.name", named.get("involvedObject.name", item["metadata"]["name"]))
    about = item.get("involvedObject", item["metadata"])["name"]
    return all(has.get(key) == value for key, value in wanted.items()) and by_name == about


def _merged(old: Any, patch: Any) -> Any:
    """What a JSON merge patch (RFC 7386) makes of a value."""
    if not isinstance(patch, dict):
        return patch
    whole = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            whole.pop(key, None)
        else:
            whole[key] = _merged(whole.get(key), value)
    return whole


class FakeCluster:
    """Objects by plural and name, all in one namespace. `refusal` is raised by the next write."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.changes: list[tuple[str, str, dict[str, Any]]] = []  # plural, type, object; its index is the version
        self.writes: list[str] = []
        self.refusal: Exception | None = None
        self.offset_seconds = 0.0  # the server's clock minus that of the session
        self.made = asyncio.Event()  # somebody has created something

    def put(self, plural: str, manifest: dict[str, Any]) -> dict[str, Any]:
        """Create or replace an object, as somebody else would."""
        key = (plural, manifest["metadata"]["name"])
        kind = "MODIFIED" if key in self.objects else "ADDED"
        manifest = copy.deepcopy(manifest)
        manifest["metadata"].setdefault("uid", f"{key[1]}-uid")
        manifest["metadata"].setdefault("creationTimestamp", T0.isoformat())
        self.objects[key] = manifest
        self.changes.append((plural, kind, manifest))
        return manifest

    def take(self, plural: str, name: str) -> None:
        """Remove an object."""
        self.changes.append((plural, "DELETED", self.objects.pop((plural, name))))

    async def list(self, resource, namespace=None, *, label_selector="", field_selector="", limit=500, continue_=""):
        found = [
            item
            for (plural, _), item in self.objects.items()
            if plural == resource.plural and _matches(item, label_selector, field_selector)
        ]
        return json.dumps({"metadata": {"resourceVersion": str(len(self.changes))}, "items": found}).encode()

    async def watch(
        self, resource, namespace=None, *, label_selector="", field_selector="", resource_version, timeout_seconds
    ) -> AsyncIterator[bytes]:
        yield b""
        seen = int(resource_version)
        while True:
            for plural, kind, item in self.changes[seen:]:
                seen += 1
                if plural == resource.plural and _matches(item, label_selector, field_selector):
                    yield json.dumps({"type": kind, "object": item}).encode()
            await asyncio.sleep(0.002)

    async def get(self, resource, namespace, name):
        if (resource.plural, name) not in self.objects:
            raise NotFound(404, "NotFound", f'{resource.plural}.ganger.dev "{name}" not found')
        return json.dumps(self.objects[resource.plural, name]).encode()

    async def create(self, resource, namespace, manifest):
        self._write("create", manifest["metadata"]["name"])
        if (resource.plural, manifest["metadata"]["name"]) in self.objects:
            raise AlreadyExists(409, "AlreadyExists", f'trainingjobs "{manifest["metadata"]["name"]}" already exists')
        made = self.put(resource.plural, manifest)
        self.made.set()
        return Metadata(name=made["metadata"]["name"], uid=made["metadata"]["uid"])

    async def rehearse(self, resource, namespace, manifest):
        if self.refusal is not None:
            raise self.refusal
        stored = {**manifest, "metadata": {**manifest["metadata"], "uid": "stored-uid", "managedFields": []}}
        return json.dumps(stored).encode()

    async def patch(self, resource, namespace, name, patch, *, subresource=""):
        self._write(f"patch {json.dumps(patch)}", name)
        self.put(resource.plural, _merged(self.objects[resource.plural, name], patch))
        return Metadata(name=name)

    def server_offset_seconds(self) -> float:
        return self.offset_seconds

    async def delete(self, resource, namespace, name, *, uid, grace_seconds=None):
        self._write("delete", f"{name} {uid}")
        self.take(resource.plural, name)
        return Metadata(name=name)

    def _write(self, verb: str, what: str) -> None:
        if self.refusal is not None:
            error, self.refusal = self.refusal, None
            raise error
        self.writes.append(f"{verb} {what}")


class FakeLogs:
    """Logs by pod. Each entry is text, an exception to raise there, or an Event to wait for when following."""

    def __init__(self) -> None:
        self.pods: dict[str, list[Any]] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def stream(self, namespace, pod, container, *, follow=False, tail=None, since=None, previous=False):
        self.asked.append((pod, {"follow": follow, "tail": tail, "since": since}))
        key = f"{pod} previous" if previous else pod
        for part in list(self.pods.get(key, ())):
            if isinstance(part, Exception):
                self.pods[key].remove(part)  # it fails once
                raise part
            await asyncio.sleep(0)
            yield part.encode()


class FakeChannels:
    """Channels in the hands of the test: `sent` by channel, `put` what the pod sends, `end` closes."""

    def __init__(self, closes: bool) -> None:
        self.closes = closes
        self.sent: dict[int, bytes] = {}
        self.closed: set[int] = set()
        self._coming: asyncio.Queue[tuple[int, bytes] | Exception | None] = asyncio.Queue()

    async def send(self, channel: int, data: bytes) -> None:
        self.sent[channel] = self.sent.get(channel, b"") + data

    async def close(self, channel: int) -> None:
        self.closed.add(channel)

    def put(self, channel: int, data: bytes) -> None:
        self._coming.put_nowait((channel, data))

    def end(self, error: Exception | None = None) -> None:
        self._coming.put_nowait(error)

    async def messages(self):
        while (message := await self._coming.get()) is not None:
            if isinstance(message, Exception):
                raise message
            yield message


class FakeStreams:
    """Ways into pods. `pod` plays the other end of each that is opened; `refusal` is raised by the next."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, str, dict[str, Any]]] = []
        self.refusal: Exception | None = None
        self.pod: Callable[[FakeChannels], Awaitable[None]] | None = None

    @asynccontextmanager
    async def open(self, namespace, pod, subresource, query, protocols):
        if self.refusal is not None:
            error, self.refusal = self.refusal, None
            raise error
        asked = {key: [value for name, value in query if name == key] for key, _ in query}
        self.opened.append((pod, subresource, asked))
        channels = FakeChannels(closes="v5.channel.k8s.io" in protocols)
        task = asyncio.create_task(self._play(channels)) if self.pod is not None else None
        yield channels
        if task is not None:
            task.cancel()

    async def _play(self, channels: FakeChannels) -> None:
        try:
            await self.pod(channels)
        except Exception as error:  # noqa: BLE001 - a mistake of the test ends the command that it plays for
            channels.end(error)


@dataclass
class Said:
    """What one call printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def problem(self) -> list[str]:
        """The lines of the problem that it ended with."""
        return [line for line in self.err.splitlines() if line.startswith(("error: ", "  why: ", "  fix: "))]


NOW = at(60)


@dataclass
class Command:
    """`ganger` as a person calls it, with everything around it in the hands of the test."""

    capsys: Any
    cluster: FakeCluster = field(default_factory=FakeCluster)
    logs: FakeLogs = field(default_factory=FakeLogs)
    streams: FakeStreams = field(default_factory=FakeStreams)
    scenario: Callable[[], Awaitable[None]] | None = None
    now: Any = NOW
    environ: dict[str, str] = field(default_factory=dict)
    connection: Connection | None = None

    def __call__(self, *arguments: str) -> Said:
        session = Session(terminal=Terminal(environ=self.environ), connect=self._connect, now=lambda: self.now)
        code = main.run(list(arguments), session)
        said = self.capsys.readouterr()
        return Said(code, said.out, said.err)

    @asynccontextmanager
    async def _connect(self, target):
        task = asyncio.create_task(self.scenario()) if self.scenario is not None else None
        self.connection = Connection(
            cluster=self.cluster, namespace=target.namespace or "team", logs=self.logs, streams=self.streams
        )
        yield self.connection
        if task is not None:
            await task

    def job(self, name: str = "digits", spec: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
        """Put a job into the cluster; `condition=reason` sets a condition that is true."""
        conditions = [
            {"type": type_, "status": "True", "reason": status.pop(type_), "message": "", "lastTransitionTime": _T}
            for type_ in ("Running", "Complete", "Failed", "Suspended")
            if type_ in status
        ]
        return self.cluster.put(
            "trainingjobs",
            {
                "metadata": {"name": name, "namespace": "team", "uid": f"{name}-uid"},
                "spec": {"task": "m:t", "workers": 2} | (spec or {}),
                "status": {"conditions": conditions, "phase": "Pending"} | status,
            },
        )

    def pod(self, worker: int, *, attempt: int = 0, phase: str = "Running", job: str = "digits", exit_code: int = 0):
        """Put a pod of the job into the cluster."""
        state = {
            "Running": {"running": {"startedAt": _T}},
            "Pending": {"waiting": {"reason": "ContainerCreating"}},
            "Succeeded": {"terminated": {"exitCode": 0}},
            "Failed": {"terminated": {"exitCode": exit_code or 1, "reason": "Error"}},
        }[phase]
        return self.cluster.put(
            "pods",
            {
                "metadata": {
                    "name": f"{job}-{attempt}-{worker}",
                    "namespace": "team",
                    "uid": f"pod-{attempt}-{worker}",
                    "labels": {
                        "ganger.dev/job-uid": f"{job}-uid",
                        "ganger.dev/attempt": str(attempt),
                        "ganger.dev/worker": str(worker),
                    },
                    "ownerReferences": [{"uid": f"{job}-uid", "controller": True}],
                },
                "status": {"phase": phase, "containerStatuses": [{"name": "trainer", "state": state}]},
            },
        )


_T = T0.isoformat()


@pytest.fixture
def ganger(capsys, monkeypatch):
    monkeypatch.setattr("ganger.cli.podlog.PAUSE_SECONDS", 0.001)
    return Command(capsys)


@pytest.fixture
def manifest(tmp_path):
    """Write a manifest, changed by replacements, and return its path."""

    def write(text: str = MANIFEST, name: str = "job.yaml", **replacements: str) -> str:
        for old, new in replacements.items():
            text = text.replace(f"{old}: ", f"{new}: ")
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home without keys."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    (tmp_path / ".ssh").mkdir()
    return tmp_path


@pytest.fixture
def sessions(ganger, home):
    return Sessions(ganger)
