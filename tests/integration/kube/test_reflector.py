"""The reflector beside a real API server that freezes, dies and forgets."""

import asyncio
import json
import signal
from contextlib import asynccontextmanager

import pytest

from ganger.api.observed import Pod
from ganger.kube.errors import Gone
from ganger.kube.resources import PODS, SERVICES
from ganger.runtime.cache import Cache
from ganger.runtime.reflector import Reflector, Timing
from ganger.runtime.silence import NoMetrics

pytestmark = pytest.mark.integration
QUICK = Timing(read_timeout=60.0, backoff_cap=0.5, page=2)


def pod(name):
    spec = {"containers": [{"name": "c", "image": "x"}], "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"test": "yes"}}, "spec": spec}


class Reflected(NoMetrics):
    """A running reflector of the pods of one namespace."""

    def __init__(self, cluster, namespace, timing):
        self.ended, self.lists, self.kinds = [], 0, []
        self.cache = Cache()
        self.reflector = Reflector(
            cluster, PODS, Pod, self.cache, namespace=namespace, label_selector="test=yes", timing=timing, metrics=self
        )

    def watch_ended(self, resource, reason):
        self.ended.append(reason)

    def watch_event(self, resource, kind):
        self.kinds.append(kind)

    def listed(self, resource, seconds):
        self.lists += 1

    @property
    def names(self):
        return {found.metadata.name for found in self.cache.all()}

    async def until(self, condition, seconds=10.0):
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - what is awaited is in many places
                await asyncio.sleep(0.02)


@asynccontextmanager
async def reflecting(cluster, namespace, timing=QUICK):
    reflected = Reflected(cluster, namespace, timing)
    task = asyncio.create_task(reflected.reflector.run())
    try:
        await asyncio.wait_for(reflected.reflector.wait_synced(), 10)
        yield reflected
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_pages_then_changes_are_followed(cluster, namespace):
    written = {name: await cluster.create(PODS, namespace, pod(name)) for name in "abcde"}
    async with reflecting(cluster, namespace) as reflected:
        assert set("abcde") == reflected.names
        await cluster.create(PODS, namespace, pod("f"))
        await cluster.delete(PODS, namespace, "a", uid=written["a"].uid, grace_seconds=0)
        meta = await cluster.patch(PODS, namespace, "b", {"metadata": {"annotations": {"x": "y"}}})
        await reflected.until(lambda: reflected.names == set("bcdef"))
        await reflected.until(lambda: reflected.cache.resource_version(namespace) >= int(meta.resource_version))

        assert {"x": "y"} == reflected.cache.get(namespace, "b").metadata.annotations
        assert 1 == reflected.lists
        assert [] == reflected.ended


async def test_a_watch_that_the_server_ends_is_resumed_without_a_list(cluster, namespace):
    # No bookmark is waited for: the server promises none for a certain moment, and a fresh one often sends none.
    async with reflecting(cluster, namespace, Timing(watch_min=1.0, watch_max=1.1)) as reflected:
        await reflected.until(lambda: reflected.ended.count("closed") == 2)
        await cluster.create(PODS, namespace, pod("after"))
        await reflected.until(lambda: reflected.names == {"after"})

        assert {"closed"} == set(reflected.ended)
        assert 1 == reflected.lists


async def test_a_frozen_server_is_noticed_and_the_watch_resumed_without_a_list(connect, namespace, hostile):
    async with connect(call_seconds=1.0) as cluster:
        timing = Timing(read_timeout=1.0, backoff_cap=0.5)
        async with reflecting(cluster, namespace, timing) as reflected:
            hostile.signal(signal.SIGSTOP)
            try:
                await reflected.until(lambda: {"stalled", "unreachable"} & set(reflected.ended))
            finally:
                hostile.signal(signal.SIGCONT)
            await cluster.create(PODS, namespace, pod("after"))
            await reflected.until(lambda: reflected.names == {"after"})

            assert 1 == reflected.lists


async def test_a_killed_server_is_waited_for_and_what_it_forgot_is_listed(cluster, namespace, hostile):
    for name in "abc":
        await cluster.create(PODS, namespace, pod(name))
    continue_ = json.loads(await cluster.list(PODS, namespace, limit=2))["metadata"]["continue"]
    async with reflecting(cluster, namespace) as reflected:
        # Written elsewhere, so that the pods' watch does not know of the version that etcd keeps.
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 1}]}}
        newest = await cluster.create(SERVICES, namespace, service)
        hostile.compact(int(newest.resource_version))
        hostile.kill()
        try:
            await reflected.until(lambda: reflected.reflector.trouble)
            assert "unreachable" in reflected.ended
            assert set("abc") == reflected.names
        finally:
            await asyncio.to_thread(hostile.start)
        await reflected.until(lambda: reflected.lists == 2, 20.0)
        await cluster.create(PODS, namespace, pod("after"))
        await reflected.until(lambda: reflected.names == set("abc") | {"after"})

        assert 1 == reflected.ended.count("gone")
        assert 2 == reflected.lists
        assert "" == reflected.reflector.trouble
    with pytest.raises(Gone):
        await cluster.list(PODS, namespace, limit=2, continue_=continue_)
