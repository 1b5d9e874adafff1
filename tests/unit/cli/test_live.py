"""The watch of a connection that went silent: it is opened again, whatever its reader does meanwhile."""

import asyncio

from ganger.api.types import TrainingJob
from ganger.cli import jobs, live
from ganger.cli.connection import Connection
from ganger.kube.resources import TRAINING_JOBS


async def test_a_reader_that_is_busy_when_the_end_of_a_watch_is_overdue_is_not_cancelled(ganger, monkeypatch):
    monkeypatch.setattr(live, "WATCH_SECONDS", 0.05)
    monkeypatch.setattr(live, "SILENCE_SECONDS", 0.01)
    ganger.job()
    connection = Connection(cluster=ganger.cluster, namespace="team", logs=ganger.logs, streams=ganger.streams)
    changes = live.live(connection, TRAINING_JOBS, jobs.reader(TrainingJob))
    assert {"digits"} == set(await anext(changes))
    ganger.job(message="seen by the watch")
    assert {"digits"} == set(await anext(changes))

    await asyncio.sleep(0.15)  # the time of the watch is over

    ganger.job(name="second")
    assert {"digits", "second"} == set(await anext(changes))
