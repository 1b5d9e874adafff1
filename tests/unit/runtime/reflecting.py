"""A reflector against a scripted server: real HTTP on loopback, with short time-outs."""

import asyncio
import random
from contextlib import asynccontextmanager, suppress

from ganger.api.observed import Pod
from ganger.kube.access import Access, NoToken
from ganger.kube.http import HttpCluster
from ganger.kube.resources import PODS
from ganger.runtime.cache import Cache
from ganger.runtime.reflector import Reflector, Timing
from ganger.runtime.silence import NoMetrics
from unit.kube.scripted import (
    Scripted,
    answering,
    page,
    scripted,
    streaming,
)

LIST, WATCH = "GET /api/v1/pods", "WATCH /api/v1/pods"
QUICK = Timing(read_timeout=5.0, backoff_base=0.005, backoff_cap=0.02, brief=0.05, page=2)


class Counted(NoMetrics):
    def __init__(self):
        self.ended, self.events, self.lists, self.regressions = [], [], 0, 0

    def watch_ended(self, resource, reason):
        self.ended.append(reason)

    def watch_event(self, resource, kind):
        self.events.append(kind)

    def listed(self, resource, seconds):
        self.lists += 1

    def regressed(self, resource):
        self.regressions += 1


class Harness:
    def __init__(self, server: Scripted, reflector: Reflector, metrics: Counted):
        self.server = server
        self.reflector = reflector
        self.cache: Cache = reflector.cache
        self.metrics = metrics
        self.news = []
        self.cache.on_change(lambda old, new: self.news.append((old and version(old), new and version(new))))

    def versions(self):
        return {obj.metadata.name: obj.metadata.resource_version for obj in self.cache.all()}

    async def until(self, condition, seconds=2.0):
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - what is awaited is in many places
                await asyncio.sleep(0.002)

    async def reaches(self, **versions):
        with suppress(TimeoutError):
            await self.until(lambda: self.versions() == versions)
        assert versions == self.versions()

    @property
    def lists(self):
        return [r for r in self.server.requests if "watch" not in r.query]

    @property
    def watched_from(self):
        return [r.query["resourceVersion"] for r in self.server.requests if "watch" in r.query]


def version(obj):
    return f"{obj.metadata.name}@{obj.metadata.resource_version}"


@asynccontextmanager
async def reflecting(*lists, watches=(), timing=QUICK, kind=Pod, run=True, returned=lambda: None):
    async with scripted() as server, HttpCluster(Access(url=server.url, token=NoToken()), call_seconds=2) as cluster:
        server.on(LIST, *lists)
        server.on(WATCH, *watches, streaming())
        metrics = Counted()
        options = {"timing": timing, "metrics": metrics, "rng": random.Random(1), "returned": returned}
        reflector = Reflector(cluster, PODS, kind, Cache(), **options)
        task = asyncio.create_task(reflector.run()) if run else None
        try:
            yield Harness(server, reflector, metrics)
            assert task is None or not task.done(), "the reflector died"
        finally:
            if task:
                task.cancel()
                await asyncio.wait({task})


def listing(version, *items, continue_=""):
    return answering(200, page(version, *items, continue_=continue_))
