"""The supervisors of a gang in memory: they report to whoever leads, tell a failure, and begin a round when told.

Reports go where the control channel puts them; the channel itself is tested over HTTPS elsewhere.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable

from chaos.operators import Operator
from chaos.world import NAME, World
from ganger.app.process import Process
from ganger.plan.live import LiveReport, ReportedFailure

REPORT_SECONDS = 1.0


class Supervisors:
    """One for each pod that runs. fails_after_seconds: until the processes of worker 1 fail, once, in round 0."""

    def __init__(self, world: World, operators: Iterable[Operator], *, fails_after_seconds: float) -> None:
        self._world = world
        self._operators = tuple(operators)
        self._fails_after = fails_after_seconds
        self._ages: Counter[str] = Counter()
        self._rounds: Counter[str] = Counter()

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            for operator in self._operators:
                process = operator.process
                if process is not None and not operator.is_dead and process.election.is_held():
                    self._report(process)
            for pod in self._running():
                uid = pod["metadata"]["uid"]
                self._ages[uid] += 1
                self._rounds[uid] = max(self._rounds[uid], self._world.status.get("round", 0))

    def _running(self) -> list[dict]:
        pods = self._world.pods()
        return [
            pod
            for pod in pods
            if pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
        ]

    def _report(self, process: Process) -> None:
        key = (self._world.namespace, NAME)
        for pod in self._running():
            labels, uid = pod["metadata"]["labels"], pod["metadata"]["uid"]
            fails = (
                self._rounds[uid] == 0 and labels["ganger.dev/worker"] == "1" and self._ages[uid] >= self._fails_after
            )
            report = LiveReport(
                attempt=int(labels["ganger.dev/attempt"]),
                worker=int(labels["ganger.dev/worker"]),
                sequence=self._ages[uid],
                phase="Failed" if fails else "Training",
                round=self._rounds[uid],
                failure=ReportedFailure(reason="Exception", message="boom", rank=1) if fails else None,
            )
            now, heard = process.clock.now(), process.clock.monotonic()
            process.channel.reports.take(key, labels["ganger.dev/job-uid"], uid, report, now, heard)
        process._enqueue(key)
