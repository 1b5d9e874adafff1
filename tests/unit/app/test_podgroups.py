"""Which PodGroups are served: by discovery, and again whenever the API server may be another one."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from ganger.app import podgroups
from ganger.app.podgroups import PodGroups
from ganger.kube.access import Access, NoToken
from ganger.kube.gate import WriteGate
from ganger.kube.http import HttpCluster
from ganger.runtime.cache import Cache
from ganger.runtime.silence import NO_METRICS
from unit.kube.scripted import answering, page, scripted, status, streaming

ROOT = "/apis/scheduling.k8s.io"
GROUP = {
    "metadata": {
        "name": "digits-0", "namespace": "team", "uid": "g", "resourceVersion": "4",
        "labels": {"app.kubernetes.io/managed-by": "ganger"},
    },
}  # fmt: skip


@pytest.fixture
async def server():
    async with scripted() as server:
        server.on("WATCH", streaming())
        yield server


def answer(server, path, handler):
    """Answer the path like this from now on."""
    server.scripts[f"GET {path}"] = [handler]


def serve(server, *versions):
    """Let the server serve PodGroups in these versions, and only priority classes in v1."""
    named = [{"groupVersion": f"scheduling.k8s.io/{version}"} for version in (*versions, "v1")]
    answer(server, f"{ROOT}", answering(200, {"versions": named}))
    answer(server, f"{ROOT}/v1", answering(200, {"resources": [{"name": "priorityclasses"}]}))
    for version in ("v1beta1", "v1alpha2"):
        if version in versions:
            resources = [{"name": "podgroups"}, {"name": "podgroups/status"}]
            answer(server, f"{ROOT}/{version}", answering(200, {"resources": resources}))
            answer(server, f"{ROOT}/{version}/podgroups", answering(200, page(5, GROUP)))
        else:
            answer(server, f"{ROOT}/{version}/podgroups", answering(404, status(404, "NotFound")))


@asynccontextmanager
async def looking(server):
    cache = Cache()
    async with HttpCluster(Access(url=server.url, token=NoToken()), gate=WriteGate()) as cluster:
        groups = PodGroups(cluster, cache, (), NO_METRICS)
        groups.cache = cache
        task = asyncio.create_task(groups.run())
        try:
            yield groups
        finally:
            task.cancel()
            await asyncio.wait({task})


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is awaited is in many places
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("versions", "expected"),
    [(("v1beta1",), "v1beta1"), (("v1alpha2",), "v1alpha2"), (("v1alpha2", "v1beta1"), "v1beta1"), ((), "")],
)
async def test_the_newest_version_that_is_served_is_used(server, versions, expected):
    serve(server, *versions)
    async with looking(server) as groups:
        await groups.wait_synced()
        assert expected == groups.version
        assert bool(expected) == (groups.cache.get("team", "digits-0") is not None)


async def test_a_server_that_comes_back_newer_is_noticed_and_the_old_version_forgotten(server):
    serve(server, "v1alpha2")
    async with looking(server) as groups:
        await groups.wait_synced()
        serve(server, "v1beta1")
        groups.look()
        await until(lambda: groups.version == "v1beta1")
        serve(server)
        groups.look()
        await until(lambda: groups.version == "")
        assert 0 == len(groups.cache)
        assert groups.cache.epoch() > 0  # what was written before is not waited for


async def test_a_version_that_is_gone_is_noticed_by_the_watch_itself(server):
    serve(server, "v1alpha2")
    async with looking(server) as groups:
        await groups.wait_synced()
        serve(server, "v1beta1")
        groups.reflectors[0].relist()
        await until(lambda: groups.version == "v1beta1")


async def test_groups_that_may_not_be_read_are_none(server, monkeypatch, caplog):
    monkeypatch.setattr(podgroups, "SYNC_SECONDS", 0.1)
    serve(server, "v1beta1")
    answer(server, f"{ROOT}/v1beta1/podgroups", answering(403, status(403, "Forbidden")))
    async with looking(server) as groups:
        await groups.wait_synced()
        assert "" == groups.version
    assert "not known to the scheduler as gangs" in caplog.text


async def test_a_discovery_that_fails_is_tried_again(server, monkeypatch):
    monkeypatch.setattr(podgroups, "SYNC_SECONDS", 0.1)
    answer(server, f"{ROOT}", answering(503, status(503, "ServiceUnavailable")))
    async with looking(server) as groups:
        await groups.wait_synced()
        assert "" == groups.version
        serve(server, "v1beta1")
        await until(lambda: groups.version == "v1beta1")
