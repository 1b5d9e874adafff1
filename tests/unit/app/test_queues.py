"""The operator's end of Kueue against a server that obeys: when it asks, what it reads, and what it writes."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from builders import job
from ganger.api.queueing import Workload
from ganger.app import queues as room
from ganger.app.caches import Caches
from ganger.app.queues import Queues
from ganger.contract import LABEL_JOB
from ganger.kube.access import Access, NoToken
from ganger.kube.errors import Conflict
from ganger.kube.gate import WriteGate
from ganger.kube.http import HttpCluster
from ganger.kube.resources import WORKLOADS
from ganger.plan.quota import Change, queue
from ganger.runtime.consistency import Consistency
from ganger.runtime.silence import NO_METRICS
from unit.kube.scripted import answering, page, scripted, status, streaming
from unit.plan.queueing import queued, workload

GROUP = "/apis/kueue.x-k8s.io"
LIST = f"{GROUP}/v1beta2/workloads"
OF_TEAM = f"{GROUP}/v1beta2/namespaces/team/workloads"
CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"
SERVED = {"versions": [{"groupVersion": "kueue.x-k8s.io/v1beta2"}]}
RESOURCES = {"resources": [{"name": "workloads"}, {"name": "workloads/status"}]}
FLAVOR = {"metadata": {"name": "spot"}, "spec": {"nodeLabels": {"pool": "spot"}}}


@pytest.fixture
async def server():
    async with scripted() as server:
        server.on("WATCH", streaming())
        server.on(f"GET {GROUP}", answering(200, SERVED))
        server.on(f"GET {GROUP}/v1beta2", answering(200, RESOURCES))
        server.on(f"GET {LIST}", answering(200, page(5)))
        server.on(f"GET {GROUP}/v1beta2/resourceflavors/spot", answering(200, FLAVOR))
        server.on(f"GET {CLASSES}", answering(200, {"items": []}))
        yield server


def made(cluster, caches, consistency, enqueue):
    """The queues of jobs."""
    more = {"queue_of": queue, "enqueue": enqueue, "metrics": NO_METRICS}
    return Queues(cluster, caches.jobs, LABEL_JOB, (), consistency, **more)


@asynccontextmanager
async def running(server):
    """Queues that run, with the caches that they look at and the keys that they woke."""
    caches, woken = Caches(), []
    async with HttpCluster(Access(url=server.url, token=NoToken()), gate=WriteGate()) as cluster:
        consistency = Consistency({}, monotonic=lambda: 0.0, relist=lambda resource, namespace: None)
        queues = made(cluster, caches, consistency, woken.append)
        task = asyncio.create_task(queues.run())
        try:
            yield queues, caches, woken
        finally:
            task.cancel()
            await asyncio.wait([task])


async def until(true):
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 - real sockets have no event of ours
            await asyncio.sleep(0.001)


async def test_nothing_is_asked_before_a_job_has_a_queue(server):
    async with running(server) as (queues, caches, _):
        caches.jobs.put(job())
        for _ in range(20):
            await asyncio.sleep(0)

        assert None is await queues.seen(job())
    assert [] == server.requests


async def test_the_first_job_with_a_queue_opens_the_watch_and_is_woken_when_it_is_in(server):
    async with running(server) as (queues, caches, woken):
        caches.jobs.put(queued())
        before = (await queues.seen(queued())).state
        await until(lambda: woken)

        assert ("Unknown", "Served") == (before, (await queues.seen(queued())).state)
    assert [("team", "digits")] == woken
    assert {"app.kubernetes.io/managed-by=ganger,ganger.dev/job"} == {
        each.query["labelSelector"] for each in server.seen(f"GET {LIST}")
    }


async def test_where_kueue_is_not_served_it_is_asked_for_until_it_is(server, monkeypatch):
    monkeypatch.setattr(room, "RETRY_SECONDS", 0.01)
    server.scripts[f"GET {GROUP}"] = [answering(404, status(404, "NotFound"))]
    async with running(server) as (queues, caches, woken):
        caches.jobs.put(queued())
        await until(lambda: woken)
        assert "Absent" == (await queues.seen(queued())).state
        woken.clear()
        server.scripts[f"GET {GROUP}"] = [answering(200, SERVED)]
        states = []
        # A list that took longer than RETRY_SECONDS is told of before its end.
        while states[-1:] != ["Served"]:
            await until(lambda: woken)
            woken.clear()
            states.append((await queues.seen(queued())).state)

        assert {"Unknown", "Served"} >= set(states)


async def test_without_the_right_to_list_the_job_is_told_of_the_value_that_gives_it(server, monkeypatch):
    monkeypatch.setattr(room, "RETRY_SECONDS", 0.05)
    server.scripts[f"GET {LIST}"] = [answering(403, status(403, "Forbidden"))]
    async with running(server) as (queues, caches, woken):
        caches.jobs.put(queued())
        await until(lambda: woken)
        seen = await queues.seen(queued())

    assert ("Unknown", "WaitingForQueue") == (seen.state, seen.trouble[0])
    assert "set operator.kueue=true in the chart's values" in seen.trouble[1]


@asynccontextmanager
async def served(server, found: Workload | None = None):
    async with running(server) as (queues, caches, woken):
        caches.jobs.put(queued())
        await until(lambda: woken)
        if found is not None:
            queues._workloads.put(found)
        yield queues


async def test_the_flavors_of_an_admission_are_read_once(server):
    a_job = queued()
    async with served(server, workload(a_job, admitted=True)) as queues:
        first, second = await queues.seen(a_job), await queues.seen(a_job)

    assert {"pool": "spot"} == first.flavors["spot"].spec.node_labels
    assert first.flavors == second.flavors
    assert 1 == len(server.seen(f"GET {GROUP}/v1beta2/resourceflavors/spot"))


async def test_a_flavor_that_is_not_there_is_said(server):
    server.scripts[f"GET {GROUP}/v1beta2/resourceflavors/spot"] = [answering(404, status(404, "NotFound"))]
    a_job = queued()
    async with served(server, workload(a_job, admitted=True)) as queues:
        seen = await queues.seen(a_job)

    assert "ResourceFlavorNotFound" == seen.trouble[0]
    assert "there is no ResourceFlavor spot" in seen.trouble[1]


@pytest.mark.parametrize(
    "classes, named, expected",
    [
        ([], None, ("", 0)),
        ([("low", 5, False), ("usual", 7, True)], None, ("usual", 7)),
        ([("low", 5, False), ("usual", 7, True)], "low", ("low", 5)),
    ],
)
async def test_the_priority_is_that_of_the_pods_class_or_of_the_clusters_default(server, classes, named, expected):
    items = [{"metadata": {"name": name}, "value": value, "globalDefault": default} for name, value, default in classes]
    server.scripts[f"GET {CLASSES}"] = [answering(200, {"items": items})]
    async with served(server) as queues:
        priority = (await queues.seen(queued(priorityClassName=named))).priority

    assert expected == (priority.name, priority.value)


async def test_kueues_own_class_comes_first_and_one_that_is_not_there_is_said(server):
    server.on(
        f"GET {GROUP}/v1beta2/workloadpriorityclasses/high",
        answering(200, {"metadata": {"name": "high"}, "value": 9}),
        answering(404, status(404, "NotFound")),
    )
    a_job = queued({"kueue.x-k8s.io/priority-class": "high"}, priorityClassName="low")
    async with served(server) as queues:
        found, lost = await queues.seen(a_job), await queues.seen(a_job)

    assert ("kueue.x-k8s.io", "WorkloadPriorityClass", "high", 9) == (
        found.priority.group,
        found.priority.kind,
        found.priority.name,
        found.priority.value,
    )
    assert "WorkloadPriorityClassNotFound" == lost.trouble[0]


async def test_a_status_is_merged_into_the_version_that_was_seen(server):
    a_job = queued()
    found = workload(a_job, admitted=True)
    path = f"{OF_TEAM}/{found.metadata.name}/status"
    server.on(f"PATCH {path}", answering(409, status(409, "Conflict")))
    change = Change(verb="status", body={"metadata": {"resourceVersion": "7"}}, target=found.metadata)
    async with served(server, found) as queues:
        with pytest.raises(Conflict):
            await queues.write(a_job, change)

    (request,) = server.seen(f"PATCH {path}")
    assert {"metadata": {"resourceVersion": "7"}} == json.loads(request.body)
    assert "application/merge-patch+json" == request.headers["content-type"]


async def test_a_workload_that_is_there_or_gone_already_is_no_error(server):
    a_job = queued()
    found = workload(a_job)
    server.on(f"POST {OF_TEAM}", answering(409, status(409, "AlreadyExists")))
    async with served(server) as queues:
        await queues.write(a_job, Change(verb="create", body={"metadata": {"name": found.metadata.name}}))
        await queues.write(a_job, Change(verb="delete", target=found.metadata))
        await queues.write(a_job, Change(verb="patch", target=found.metadata))

    assert ["POST", "DELETE", "PATCH"] == [each.method for each in server.requests if each.method != "GET"]


def test_writes_to_workloads_are_waited_for():
    consistency = Consistency({}, monotonic=lambda: 0.0, relist=lambda resource, namespace: None)
    queues = made(None, Caches(), consistency, lambda key: None)
    a_job = queued()
    found = workload(a_job)
    consistency.wrote(a_job.key, WORKLOADS, found.metadata)
    before = consistency.ready(a_job.key)
    queues._workloads.put(found)

    assert (False, True) == (before, consistency.ready(a_job.key))
