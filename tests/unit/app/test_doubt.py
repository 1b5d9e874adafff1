"""When a missing pod is asked for, and whose answer stops a restart: over real HTTP to a server that obeys."""

import pytest

from builders import job, pod
from ganger.api.status import TrainingJobStatus
from ganger.app.caches import Caches
from ganger.app.doubt import hidden_pod
from ganger.kube.access import Access, NoToken
from ganger.kube.http import HttpCluster
from ganger.plan.seen import Decision
from unit.kube.scripted import answering, scripted, status

JOB = job(workers=2)
RESTART = Decision(status=TrainingJobStatus(attempt=1))
OURS = {
    "name": "digits-0-0",
    "namespace": "team",
    "uid": "p",
    "labels": {"app.kubernetes.io/managed-by": "ganger"},
    "ownerReferences": [{"kind": "TrainingJob", "name": "digits", "uid": JOB.metadata.uid, "controller": True}],
}
NOT_FOUND = answering(404, status(404, "NotFound"))


async def asked(answer, decision=RESTART, cached=()):
    """The name of the pod that was found, and the paths that were asked for."""
    caches = Caches()
    for one in cached:
        caches.pods.put(one)
    async with scripted() as server, HttpCluster(Access(url=server.url, token=NoToken())) as cluster:
        server.on("GET", answer)
        found = await hidden_pod(cluster, caches, JOB, decision)
        return found and found.name, [request.path.rpartition("/")[2] for request in server.requests]


async def test_pod_that_only_the_cache_lacks_is_found_with_one_read():
    assert ("digits-0-0", ["digits-0-0"]) == await asked(answering(200, {"metadata": OURS}))


async def test_pod_that_is_gone_is_believed_to_be_gone():
    assert (None, ["digits-0-0"]) == await asked(NOT_FOUND)


@pytest.mark.parametrize(
    "difference",
    [{"deletionTimestamp": "2026-01-01T00:00:00Z"}, {"labels": {}}, {"ownerReferences": []}],
    ids=lambda value: next(iter(value)),
)
async def test_pod_that_a_list_would_not_show_either_stops_nothing(difference):
    assert (None, ["digits-0-0"]) == await asked(answering(200, {"metadata": OURS | difference}))


@pytest.mark.parametrize("decision", [Decision(), Decision(status=TrainingJobStatus(attempt=0))])
async def test_decision_that_ends_no_attempt_asks_nothing(decision):
    assert (None, []) == await asked(NOT_FOUND, decision)


async def test_gang_without_a_gap_asks_nothing():
    assert (None, []) == await asked(NOT_FOUND, cached=[pod(JOB, 0), pod(JOB, 1)])
