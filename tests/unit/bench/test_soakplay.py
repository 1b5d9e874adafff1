import asyncio
import json

import pytest
from bench import soakfates, soakplay

from ganger.kube.errors import Invalid, NotFound, ServerError
from ganger.kube.resources import TRAINING_JOBS

FATES = {fate.name: fate for fate in soakfates.FATES}


class Cluster:
    """An API server that fails as often as it is told, and whose jobs are as a test says."""

    def __init__(self, *errors):
        self.errors, self.tried = list(errors), 0
        self.job = None

    async def list(self, resource, namespace, *, limit):
        return json.dumps({"items": [self.job] if resource is TRAINING_JOBS and self.job else []}).encode()

    async def create(self, resource, namespace, body):
        self.tried += 1
        if self.errors:
            raise self.errors.pop(0)
        self.job = {"metadata": body["metadata"] | {"uid": "1"}}

    def says(self, **status):
        self.job["status"] = status


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(soakplay, "LOOK_SECONDS", 0.001)


async def lived(cluster, fate, then):
    """Lead a job of that fate to its end; `then` happens once the job is there."""
    async with soakplay.View(cluster) as view:
        hand = soakplay.Hand(view, "job-0", FATES[fate], 1)
        life = asyncio.create_task(hand.live())
        await asyncio.wait({life, asyncio.create_task(view.until(lambda: view.jobs))}, return_when="FIRST_COMPLETED")
        then()
        async with asyncio.timeout(10):
            await life
        return hand.came_to()


async def test_a_job_is_submitted_until_the_server_has_it_and_gone_only_after_it_was_there():
    cluster = Cluster(NotFound(404, "NotFound", "not served yet"), ServerError(500, "", "etcd is away"))

    end = await lived(cluster, "expires", lambda: setattr(cluster, "job", None))

    assert 3 == cluster.tried
    assert FATES["expires"].end == end


async def test_the_end_is_what_the_status_says_of_phase_reason_and_restarts():
    cluster = Cluster()
    failed = {"type": "Failed", "status": "True", "reason": "MaxRestartsReached"}

    end = await lived(
        cluster,
        "exhausted",
        lambda: cluster.says(phase="Failed", conditions=[failed], restarts={"counted": 1, "total": 1}),
    )

    assert FATES["exhausted"].end == end


async def test_a_manifest_that_the_server_refuses_ends_the_soak():
    with pytest.raises(Invalid, match="spec"):
        await lived(Cluster(Invalid(422, "Invalid", "spec is wrong")), "completes", lambda: None)
