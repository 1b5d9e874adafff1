"""The client and the runtime against a real API server of their own, which these tests freeze and kill."""

import os
import signal
import ssl
import urllib.request
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ganger.kube.access import Access, FileToken
from ganger.kube.http import HttpCluster
from ganger_dev.control_plane import ControlPlane, start_control_plane
from ganger_dev.processes import Service


@pytest.fixture(scope="package")
def control_plane(tmp_path_factory):
    """A control plane that no other test shares."""
    plane = start_control_plane(tmp_path_factory.mktemp("hostile"), gang=False)
    yield plane
    plane.stop()


class Hostile:
    """What can happen to an API server."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane

    def signal(self, number: int) -> None:
        """Send a signal to the API server."""
        os.kill(self.plane.running()["kube-apiserver"], number)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.signal(signal.SIGKILL)
        Service(name="kube-apiserver", folder=self.plane.folder).stop()

    def start(self) -> None:
        """Start it again, at the same port and with the same etcd; returns when it is ready."""
        start_control_plane(self.plane.folder, gang=False)

    def compact(self, version: int) -> None:
        """Let etcd forget what was before the version; the API server remembers until it is killed."""
        flag = next(line for line in self._command() if line.startswith("--etcd-servers="))
        body = f'{{"revision": "{version}", "physical": true}}'.encode()
        request = urllib.request.Request(f"{flag.partition('=')[2]}/v3/kv/compaction", data=body)
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()

    def _command(self) -> list[str]:
        return Path(f"/proc/{self.plane.running()['kube-apiserver']}/cmdline").read_text().split("\0")


@pytest.fixture
def hostile(control_plane):
    return Hostile(control_plane)


@pytest.fixture
def connect(control_plane, tmp_path):
    """Connect as a user of the control plane."""

    @asynccontextmanager
    async def connect(user="ganger", **options):
        path = tmp_path / f"token-{user}"
        path.write_text(control_plane.token_for(user))
        tls = ssl.create_default_context(cafile=str(control_plane.ca))
        access = Access(url=control_plane.url, token=FileToken(path), tls=tls)
        async with HttpCluster(access, **options) as cluster:
            yield cluster

    return connect


@pytest.fixture
async def cluster(connect):
    async with connect() as cluster:
        yield cluster
