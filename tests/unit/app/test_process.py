"""One operator process from its start to its end, against a server that obeys."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from ganger.app.process import Process
from ganger.app.settings import Settings
from ganger.kube.access import Access, NoToken
from ganger.kube.gate import WriteGate
from ganger.kube.http import HttpCluster
from ganger.observe.metrics import OperatorMetrics
from unit.kube.scripted import answering, page, scripted, status, streaming
from unit.kube.scripted import pod as reply

JOBS = "/apis/ganger.dev/v1alpha1/trainingjobs"
PROFILES = "/apis/ganger.dev/v1alpha1/trainingprofiles"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/ganger-system/leases"
PODS = "/api/v1/namespaces/team/pods"
EVENTS = "/apis/events.k8s.io/v1/namespaces/team/events"
SETTINGS = Settings(namespace="ganger-system", identity="ganger-0", default_image="pytorch-cuda:v2.15")
JOB = {
    "metadata": {
        "name": "digits",
        "namespace": "team",
        "uid": "uid-1",
        "resourceVersion": "3",
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
    },
    "spec": {"task": "m:t", "workers": 1},
}


@pytest.fixture
async def server():
    async with scripted() as server:
        server.on("WATCH", streaming())
        server.on(f"GET {LEASES}/ganger-operator", answering(404, status(404, "NotFound")))
        for path in ("/api/v1/pods", "/api/v1/services", "/api/v1/persistentvolumeclaims", LEASES, PROFILES):
            server.on(f"GET {path}", answering(200, page(5)))
        server.on("POST", answering(201, reply("x", 6)))
        server.on("PATCH", answering(200, reply("x", 7)))
        yield server


@asynccontextmanager
async def running(server):
    gate, stop = WriteGate(), asyncio.Event()
    async with HttpCluster(Access(url=server.url, token=NoToken()), gate=gate) as cluster:
        process = Process(SETTINGS, cluster, gate, OperatorMetrics())
        task = asyncio.create_task(process.run(stop))
        process.stop, process.task = stop, task
        try:
            yield process
        finally:
            stop.set()
            await asyncio.wait_for(task, 5)


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is awaited is in many places
            await asyncio.sleep(0.005)


async def test_a_process_leads_works_and_gives_the_lease_back_after_its_last_write(server):
    server.on(f"GET {JOBS}", answering(200, page(5, JOB)))
    async with running(server) as process:
        await until(lambda: server.seen(f"POST {PODS}"))
        assert process.election.is_held()
    writes = [request for request in server.requests if request.method != "GET"]

    assert f"POST {LEASES}" == f"{writes[0].method} {writes[0].path}"
    assert writes[0].json["spec"]["holderIdentity"].startswith("ganger-0_")
    assert f"{LEASES}/ganger-operator" == writes[-1].path
    assert "" == writes[-1].json["spec"]["holderIdentity"]
    assert "digits-0-0" in [request.json["metadata"]["name"] for request in writes if request.path == PODS]


async def test_a_restarted_process_is_another_candidate_than_it_was(server):
    server.on(f"GET {JOBS}", answering(200, page(5)))
    names = set()
    for _ in range(2):
        async with running(server) as process:
            names.add(process.election.identity)

    assert 2 == len(names)


async def test_a_process_whose_lease_is_held_by_another_watches_and_writes_nothing(server):
    held = reply("ganger-operator", 4) | {"spec": {"holderIdentity": "other", "leaseDurationSeconds": 4}}
    server.scripts[f"GET {LEASES}/ganger-operator"] = [answering(200, held)]
    server.on(f"GET {JOBS}", answering(200, page(5, JOB)))
    async with running(server) as process:
        await until(lambda: process.trouble == "")
        await asyncio.sleep(0.05)

        assert not process.election.is_held()
    assert [] == [request for request in server.requests if request.method != "GET"]


async def test_readiness_names_what_is_missing_and_comes_with_the_last_list(server):
    release = asyncio.Event()

    async def late(request):
        await release.wait()
        await request.answer(200, page(5))

    server.on(f"GET {JOBS}", late)
    async with running(server) as process:
        await until(lambda: process.caches.pods.resource_version() == 5)
        assert "the list of trainingjobs is not in yet" == process.trouble
        assert process.is_alive
        release.set()
        await until(lambda: process.trouble == "")


async def test_a_server_that_refuses_is_told_by_readiness_and_not_by_liveness(server):
    server.on(f"GET {JOBS}", answering(200, page(5)))
    server.scripts["WATCH"] = [answering(403, status(403, "Forbidden"))]
    async with running(server) as process:
        await until(lambda: "403 Forbidden" in process.trouble)

        assert process.trouble.endswith("s: the API server answered 403 Forbidden")
        assert 1 == process.trouble.count(":")
        assert process.is_alive


async def test_passes_that_fail_are_told_in_an_event_of_the_job(server):
    server.on(f"GET {JOBS}", answering(200, page(5, JOB)))
    server.on(f"POST {PODS}", answering(405, status(405, "MethodNotAllowed", "not today")))
    async with running(server):
        await until(lambda: server.seen(f"POST {EVENTS}"))
    (event, *_) = server.seen(f"POST {EVENTS}")

    assert ("ReconcileError", "digits") == (event.json["reason"], event.json["regarding"]["name"])
    assert "not today" in event.json["note"]


async def test_events_that_wait_are_sent_before_the_lease_is_given_back(server):
    answered = []

    async def slow(request):
        await asyncio.sleep(0.1)
        await request.answer(201, reply("x", 8))
        answered.append(len(server.requests))

    server.on(f"GET {JOBS}", answering(200, page(5, JOB)))
    server.on(f"POST {PODS}", answering(405, status(405, "MethodNotAllowed", "not today")))
    server.on(f"POST {EVENTS}", slow)
    async with running(server):
        await until(lambda: server.seen(f"POST {EVENTS}"))

    assert answered
    assert f"{LEASES}/ganger-operator" == server.requests[-1].path
    assert "" == server.requests[-1].json["spec"]["holderIdentity"]
