"""The record of a namespace, from watches that end, go on, and lose events."""

import asyncio
import json

import pytest

from ganger.kube.resources import PODS
from ganger_dev.gangs.recorder import LostEventsError, Recorder


def pod(name, version, **status):
    metadata = {"name": name, "resourceVersion": str(version), "labels": {"ganger.dev/job": "a"}}
    return {"metadata": metadata, "spec": {"nodeName": "n"}, "status": {"phase": "Running"} | status}


class Cluster:
    """Lists what it is told that there is, and plays each watch of pods once; other watches stay open in silence."""

    def __init__(self, *watches):
        self.watches = list(watches)
        self.items = []
        self.asked = []

    async def list(self, resource, namespace=None, *, limit=500, continue_=""):
        items = self.items if resource == PODS else []
        return json.dumps({"metadata": {"resourceVersion": "5"}, "items": items}).encode()

    async def watch(self, resource, namespace=None, *, resource_version, timeout_seconds):
        yield b""
        if resource == PODS:
            self.asked.append(resource_version)
            if self.watches:
                for type_, body in self.watches.pop(0):
                    yield json.dumps({"type": type_, "object": body}).encode()
                return
        await asyncio.Event().wait()


async def until(condition):
    async with asyncio.timeout(2):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


async def test_every_event_is_kept_and_a_watch_that_ends_goes_on_behind_its_last():
    cluster = Cluster(
        [("ADDED", pod("a-0-0", 6)), ("BOOKMARK", {"metadata": {"resourceVersion": "8"}})],
        [("MODIFIED", pod("a-0-0", 9, phase="Succeeded")), ("ADDED", pod("a-0-1", 10)), ("DELETED", pod("a-0-1", 11))],
    )
    async with Recorder(cluster, "gangs") as recorder:
        await until(lambda: len(cluster.asked) == 3)
        recorder.check()
        assert ["5", "8", "11"] == cluster.asked
        assert [6, 9, 10, 11] == [fact.version for fact in recorder.facts]
        assert {"a-0-0": "Succeeded"} == {name: fact.phase for name, fact in recorder.pods.items()}


async def test_a_record_that_ends_elsewhere_than_the_cluster_is_not_whole():
    cluster = Cluster([("ADDED", pod("a-0-0", 6)), ("ADDED", pod("a-0-1", 7))])
    async with Recorder(cluster, "gangs") as recorder:
        await until(lambda: len(recorder.facts) == 2)
        cluster.items = [pod("a-0-0", 6), pod("a-0-1", 7)]
        assert [] == await recorder.unread()
        cluster.items = [pod("a-0-0", 8), pod("a-0-2", 9)]
        assert ["pods/a-0-0", "pods/a-0-1", "pods/a-0-2"] == await recorder.unread(seconds=0)


async def test_lost_events_end_the_record():
    async with Recorder(Cluster([("ERROR", {"code": 410, "message": "too old"})]), "gangs") as recorder:
        await until(lambda: any(task.done() for task in recorder._tasks))
        with pytest.raises(LostEventsError, match="too old"):
            recorder.check()


async def test_a_namespace_that_has_pods_already_is_not_recorded():
    cluster = Cluster()
    cluster.items = [pod("a-0-0", 3)]
    with pytest.raises(ValueError, match="has pods already"):
        async with Recorder(cluster, "gangs"):
            pass
