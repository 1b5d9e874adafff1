"""Whether sessions are served: by discovery, so that an operator that is newer than the definitions serves jobs."""

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest

from builders import T0, job
from ganger.api.observed import Metadata
from ganger.app import sessions
from ganger.app.caches import Caches
from ganger.app.sessions import Sessions
from ganger.app.settings import read
from ganger.kube.access import Access, NoToken
from ganger.kube.gate import WriteGate
from ganger.kube.http import HttpCluster
from ganger.observe.metrics import OperatorMetrics
from ganger.runtime.events import Recorder
from unit.kube.scripted import answering, page, scripted, status, streaming

ROOT = "/apis/ganger.dev"
LIST = f"{ROOT}/v1alpha1/devsessions"
WORKLOADS = "/apis/kueue.x-k8s.io/v1beta2/workloads"
QUEUE = "kueue.x-k8s.io/queue-name"
SESSION = {
    "metadata": {"name": "notes", "namespace": "team", "uid": "s", "resourceVersion": "4", "labels": {}},
    "spec": {"fromJob": "digits"},
}


class Clock:
    def now(self):
        return T0

    def monotonic(self):
        return asyncio.get_running_loop().time()


@pytest.fixture
async def server():
    async with scripted() as server:
        server.on("WATCH", streaming())
        yield server


def serve(server, *plurals, session=SESSION):
    """Let the server serve these kinds of ours from now on, and this session."""
    scripts = {
        ROOT: answering(200, {"versions": [{"groupVersion": "ganger.dev/v1alpha1"}]}),
        f"{ROOT}/v1alpha1": answering(200, {"resources": [{"name": name} for name in plurals]}),
        LIST: answering(200, page(5, session)) if "devsessions" in plurals else answering(404, status(404, "NotFound")),
    }
    for path, script in scripts.items():
        server.scripts[f"GET {path}"] = [script]


@asynccontextmanager
async def looking(server):
    async with HttpCluster(Access(url=server.url, token=NoToken()), gate=WriteGate()) as cluster:
        clock, metrics = Clock(), OperatorMetrics()
        recorder = Recorder(cluster, instance="test", clock=clock)
        found = Sessions(cluster, Caches(), read({}), recorder, clock, metrics, relist=lambda resource, namespace: None)
        found.metrics = metrics
        task = asyncio.create_task(found.run())
        try:
            yield found
        finally:
            task.cancel()
            await asyncio.wait({task})


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is awaited is in many places
            await asyncio.sleep(0.005)


async def test_sessions_whose_definition_comes_later_are_served_from_then_on(server, monkeypatch, caplog):
    monkeypatch.setattr(sessions, "LOOK_SECONDS", 0.05)
    caplog.set_level("INFO")
    serve(server, "trainingjobs")
    async with looking(server) as found:
        await asyncio.sleep(0.2)
        assert ([], 0) == (found.reflectors, len(found.cache))
        serve(server, "trainingjobs", "devsessions")
        await until(lambda: found.cache.get("team", "notes") is not None)


async def test_a_definition_that_is_gone_takes_its_sessions_along_and_is_looked_for_again(server):
    serve(server, "devsessions")
    async with looking(server) as found:
        await until(lambda: len(found.cache) == 1)
        serve(server)
        found.reflectors[0].relist()
        await until(lambda: not found.reflectors)
        assert 0 == len(found.cache)


async def test_a_session_that_lacks_its_job_looks_at_every_change_of_it(server):
    serve(server, "devsessions")
    async with looking(server) as found:
        await until(lambda: len(found.cache) == 1)
        server.on("PATCH", answering(200, SESSION))
        await found._reconciler.sync(("team", "notes"))

        assert (("team", "notes"),) == found._reconciler.waiting_for("team", "digits")
        assert () == found._reconciler.waiting_for("team", "other")


async def test_the_process_that_leads_shows_its_sessions_by_phase_and_none_afterwards(server):
    serve(server, "devsessions")
    shown = 'ganger_operator_sessions{namespace="team",phase="Pending"}'
    async with looking(server) as found:
        await until(lambda: len(found.cache) == 1)
        assert shown not in found.metrics.exposition().decode()
        stopping = asyncio.Event()
        leading = asyncio.create_task(found.lead(stopping))
        await until(lambda: f"{shown} 1" in found.metrics.exposition().decode())
        found.cache.put(found.cache.get("team", "notes"))
        assert f"{shown} 1" in found.metrics.exposition().decode(), "it is counted twice"
        stopping.set()
        await leading
        assert f"{shown} 0" in found.metrics.exposition().decode()


@pytest.mark.parametrize(
    ("own", "of_job"), [({QUEUE: "team"}, {}), ({}, {QUEUE: "team"})], ids=["its own label", "that of its job"]
)
async def test_the_first_session_with_a_queue_opens_a_watch_for_the_workloads_of_sessions(server, own, of_job):
    serve(server, "devsessions", session=SESSION | {"metadata": SESSION["metadata"] | {"labels": own}})
    server.on("GET /apis/kueue.x-k8s.io", answering(200, {"versions": [{"groupVersion": "kueue.x-k8s.io/v1beta2"}]}))
    server.on("GET /apis/kueue.x-k8s.io/v1beta2", answering(200, {"resources": [{"name": "workloads"}]}))
    server.on(f"GET {WORKLOADS}", answering(200, page(5)))
    async with looking(server) as found:
        await until(lambda: len(found.cache) == 1)
        if of_job:
            assert [] == server.seen(f"GET {WORKLOADS}")
            metadata = Metadata(name="digits", namespace="team", uid="uid-1", labels=of_job)
            found._caches.jobs.put(msgspec.structs.replace(job(), metadata=metadata))
            server.on("PATCH", answering(200, SESSION))
            await found._reconciler.sync(("team", "notes"))
        await until(lambda: server.seen(f"GET {WORKLOADS}"))

    assert {"app.kubernetes.io/managed-by=ganger,ganger.dev/session"} == {
        each.query["labelSelector"] for each in server.seen(f"GET {WORKLOADS}")
    }
