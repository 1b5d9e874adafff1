"""The operator's log: one line of JSON for each turn in the life of a job, with the job, the attempt and the rank."""

import io
import json
import logging

import pytest
from msgspec.structs import replace

from builders import job, pod, with_status
from ganger.api.status import TrainingJobStatus
from ganger.app.caches import Caches
from ganger.app.duplicates import Duplicates
from ganger.app.execute import Executor
from ganger.app.reconcile import Reconciler
from ganger.observe import logs
from ganger.plan.decide import decide
from ganger.plan.seen import Seen
from ganger.runtime.clock import ServerClock
from ganger.runtime.consistency import Consistency
from ganger.runtime.limiter import Limiter


class Silent:
    """Takes every write and says nothing of it."""

    async def apply(self, resource, namespace, name, manifest, **_):
        return replace(job().metadata, resource_version="9")

    async def create(self, resource, namespace, manifest):
        return job().metadata

    async def delete(self, *_, **__):
        return job().metadata

    def record(self, *_):
        """No event is sent."""


@pytest.fixture
def written():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure("INFO", stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:] = handlers
    root.setLevel(level)


async def test_a_restart_is_logged_with_job_attempt_and_rank(written):
    caches, clock = Caches(), ServerClock()
    consistency = Consistency(caches.by_resource, monotonic=clock.monotonic, relist=lambda resource, namespace: None)
    executor = Executor(Silent(), consistency, Limiter(), Silent(), clock.monotonic, Duplicates(lambda: 0, print))
    reconciler = Reconciler(caches, executor, Silent(), clock, "pytorch-cuda:v2.15", lambda key: None)
    plain = job(workers=1)
    running = decide(plain, Seen(pods=(pod(plain, 0),)), clock.now()).status
    assert isinstance(running, TrainingJobStatus)
    word = {"outcome": "Failed", "reason": "Exception", "message": "boom", "rank": 3}
    caches.jobs.put(with_status(plain, running))
    caches.pods.put(pod(plain, 0, exit_code=1, said=word))

    await reconciler.sync(plain.key)
    (line,) = written()

    expected = {
        "level": "warning",
        "namespace": "team",
        "job": "digits",
        "uid": "uid-1",
        "attempt": 0,
        "rank": 3,
        "pod": "digits-0-0",
        "exit_code": 1,
        "reason": "Restarting",
    }
    assert expected == {key: line.get(key) for key in expected}
    assert "boom" in line["msg"]
