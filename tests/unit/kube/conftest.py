"""A scripted server on loopback, and the client before it."""

import pytest

from ganger.kube.access import Access, NoToken
from ganger.kube.http import HttpCluster
from unit.kube.scripted import scripted


@pytest.fixture
async def server():
    async with scripted() as server:
        yield server


@pytest.fixture
async def cluster(server):
    async with HttpCluster(Access(url=server.url, token=NoToken()), call_seconds=0.3) as cluster:
        yield cluster
