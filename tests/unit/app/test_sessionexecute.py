"""How the keys of a session's pod are changed, and what becomes of each refusal: over real HTTP to a server."""

import pytest

from builders import T0
from ganger.app.caches import Caches
from ganger.app.memory import JobMemory
from ganger.app.sessionexecute import SessionExecutor
from ganger.kube.access import Access, NoToken
from ganger.kube.http import HttpCluster
from ganger.kube.resources import PODS
from ganger.plan.session import SessionDecision
from ganger.plan.sessionkeys import KeyChange
from ganger.runtime.consistency import Consistency
from ganger.runtime.limiter import Limiter
from sessions import KEY, pod, session
from unit.kube.scripted import answering, scripted, status
from unit.kube.scripted import pod as reply

PATH = "/api/v1/namespaces/team/pods/notes-dev-0"
SESSION = session(ssh={"authorizedKeys": [KEY]})
DECISION = SessionDecision(keys=KeyChange(pod=pod(SESSION).metadata, keys=f"{KEY}\n"))


class Clock:
    def now(self):
        return T0

    def monotonic(self):
        return 100.0


@pytest.fixture
async def server():
    async with scripted() as server:
        yield server


async def execute(server):
    """Carry the change out; what is remembered, and whether the next pass waits for the cache."""
    memory, caches = JobMemory(), Caches()
    async with HttpCluster(Access(url=server.url, token=NoToken())) as cluster:
        consistency = Consistency({PODS: caches.pods}, monotonic=lambda: 100.0, relist=lambda resource, namespace: None)
        executor = SessionExecutor(cluster, consistency, Limiter(4), None, Clock())
        await executor.execute(SESSION, DECISION, memory)
    return memory.refusal(100.0), consistency.ready(SESSION.key)


async def test_one_patch_of_that_very_pod_changes_the_annotation_alone(server):
    server.on(f"PATCH {PATH}", answering(200, reply("notes-dev-0", 9)))

    assert (None, False) == await execute(server)
    (request,) = server.requests
    annotations = {"ganger.dev/authorized-keys": f"{KEY}\n"}
    assert {"metadata": {"uid": "uid-notes-dev-0", "annotations": annotations}} == request.json


@pytest.mark.parametrize(("code", "reason"), [(404, "NotFound"), (409, "Conflict")])
async def test_a_pod_that_is_gone_or_another_one_is_left_to_the_next_pass(server, code, reason):
    server.on(f"PATCH {PATH}", answering(code, status(code, reason)))

    assert (None, True) == await execute(server)


async def test_an_operator_without_the_right_remembers_why(server):
    server.on(f"PATCH {PATH}", answering(403, status(403, "Forbidden", "you may not patch pods")))
    refusal, ready = await execute(server)

    assert ("PodForbidden", "you may not patch pods", True) == (refusal.reason, refusal.message, ready)
